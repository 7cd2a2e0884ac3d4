"""Looks after the fact: what came of a doubtful send, and whether what is public is what was approved."""

from dataclasses import replace

from adapters.base import Adapter
from adapters.errors import AdapterError
from scheduler.clock import utc_now
from scheduler.db.uow import UnitOfWorkFactory
from scheduler.services import outcomes
from scheduler.services.kit import Kit
from scheduler.services.outcomes import Look


async def look_after(open_uow: UnitOfWorkFactory, kit: Kit, look: Look) -> None:
    """Ask the platform, outside of any transaction, and record what it shows."""
    adapter = kit.platform(look.platform)
    try:
        if adapter.needs_refresh(look.credentials, utc_now()):
            look = replace(look, credentials=await adapter.refresh(look.credentials))
        if look.in_doubt:
            found = await adapter.find(look.credentials, look.bodies[0], look.key, look.since)
            async with open_uow() as uow:
                await outcomes.record_found(uow, look, found)
        else:
            await _read_back(open_uow, adapter, look)
    except AdapterError as exc:
        async with open_uow() as uow:
            await outcomes.record_no_answer(uow, look, exc)


async def _read_back(open_uow: UnitOfWorkFactory, adapter: Adapter, look: Look) -> None:
    """Compare what the platform shows with what was approved, part by part."""
    seen = [
        await adapter.read_back(look.credentials, body, published)
        for body, published in zip(look.bodies, look.receipts, strict=True)
    ]
    async with open_uow() as uow:
        await outcomes.record_read_back(uow, look, seen)
