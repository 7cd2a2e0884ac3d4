"""Looks after the fact: what came of a doubtful send, and whether what is public is what was approved."""

import asyncio
from dataclasses import replace
from typing import Final

import structlog

from adapters.base import Adapter
from adapters.errors import AdapterError, UnavailableError
from scheduler.clock import utc_now
from scheduler.db.posts import StaleStateError
from scheduler.db.uow import DatabaseUnavailableError, UnitOfWorkFactory
from scheduler.services import looks, sign_ins
from scheduler.services.kit import Kit
from scheduler.services.looks import Look

log = structlog.get_logger()

#: Shorter than the time for which other workers leave the delivery alone.
_LOOK_S: Final = 50


async def look_after(open_uow: UnitOfWorkFactory, kit: Kit, look: Look) -> None:
    """Ask the platform, outside of any transaction, and record what it shows."""
    try:
        async with asyncio.timeout(_LOOK_S):
            await _look(open_uow, kit, look)
    except (StaleStateError, DatabaseUnavailableError):
        raise
    except AdapterError as exc:
        error = exc
    except Exception as exc:  # also a look that fails in a new way comes to a person in the end
        log.exception("look.failed")
        error = UnavailableError(f"broke off: {type(exc).__name__}", code="internal_error")
    else:
        return
    async with open_uow() as uow:
        await looks.record_no_answer(uow, look, error)


async def _look(open_uow: UnitOfWorkFactory, kit: Kit, look: Look) -> None:
    adapter = kit.platform(look.platform)
    if adapter.needs_refresh(look.credentials, utc_now()):
        renewed = await sign_ins.require(
            open_uow, kit, look.claimed.account_id, instead_of=look.credentials
        )
        look = replace(look, credentials=renewed)
    if look.in_doubt:
        found = await adapter.find(
            look.credentials, look.bodies[0], look.key, look.since, look.taken
        )
        async with open_uow() as uow:
            await looks.record_found(uow, look, found)
    else:
        await _read_back(open_uow, adapter, look)


async def _read_back(open_uow: UnitOfWorkFactory, adapter: Adapter, look: Look) -> None:
    """Compare what the platform shows with what was approved, part by part."""
    seen = [
        await adapter.read_back(look.credentials, body, published)
        for body, published in zip(look.bodies, look.receipts, strict=True)
    ]
    async with open_uow() as uow:
        await looks.record_read_back(uow, look, seen)
