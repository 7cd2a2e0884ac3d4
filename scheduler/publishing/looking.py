"""Looks after the fact: what came of a doubtful send, and whether what is public is what was approved."""

from adapters.errors import AdapterError
from scheduler.clock import utc_now
from scheduler.db.uow import UnitOfWorkFactory
from scheduler.services import outcomes
from scheduler.services.kit import Kit
from scheduler.services.outcomes import Look


async def look_up(open_uow: UnitOfWorkFactory, kit: Kit, look: Look) -> None:
    """Find out whether an unknown delivery is public; absent, it may go again."""
    adapter = kit.platform(look.platform)
    try:
        credentials = look.credentials
        if adapter.needs_refresh(credentials, utc_now()):
            credentials = await adapter.refresh(credentials)
        found = await adapter.find(credentials, look.bodies[0], look.key, look.since)
    except AdapterError as exc:
        async with open_uow() as uow:
            await outcomes.record_no_answer(uow, look, exc)
        return
    async with open_uow() as uow:
        await outcomes.record_found(uow, look, found)


async def read_back(open_uow: UnitOfWorkFactory, kit: Kit, look: Look) -> None:
    """Compare what the platform shows with what was approved, part by part."""
    adapter = kit.platform(look.platform)
    try:
        credentials = look.credentials
        if adapter.needs_refresh(credentials, utc_now()):
            credentials = await adapter.refresh(credentials)
        seen = [
            await adapter.read_back(credentials, body, published)
            for body, published in zip(look.bodies, look.receipts, strict=True)
        ]
    except AdapterError as exc:
        async with open_uow() as uow:
            await outcomes.record_no_answer(uow, look, exc)
        return
    async with open_uow() as uow:
        await outcomes.record_read_back(uow, look, seen)
