"""Looks after the fact: what came of a doubtful send, and whether what is public is what was approved."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

import structlog

from adapters.base import ReadBack
from adapters.errors import AdapterError, UnavailableError
from scheduler.clock import utc_now
from scheduler.db.posts import StaleStateError
from scheduler.db.uow import DatabaseUnavailableError, UnitOfWorkFactory
from scheduler.publishing.group import GATHER_S, GroupCommit
from scheduler.services import looks, sign_ins
from scheduler.services.kit import Kit
from scheduler.services.looks import Look

log = structlog.get_logger()

#: Shorter than the time for which other workers leave the delivery alone.
_LOOK_S: Final = 50


@dataclass(slots=True)
class Looker:
    """Looks at deliveries whose time has come, any number at a time; their transactions are shared."""

    open_uow: UnitOfWorkFactory
    kit: Kit
    _start: GroupCommit[UUID, Look | None] = field(init=False)
    _read_back: GroupCommit[tuple[Look, Sequence[ReadBack]], None] = field(init=False)

    def __post_init__(self) -> None:
        kit = self.kit
        self._start = GroupCommit(self.open_uow, lambda uow, ids: looks.start(uow, kit, ids))
        self._read_back = GroupCommit(self.open_uow, looks.record_read_back, GATHER_S)

    async def look_at(self, delivery_id: UUID) -> None:
        """Ask the platform, outside of any transaction, and record what it shows."""
        look = await self._start(delivery_id)
        if look is None:
            return
        try:
            async with asyncio.timeout(_LOOK_S):
                await self._look(look)
        except (StaleStateError, DatabaseUnavailableError):
            raise
        except AdapterError as exc:
            error = exc
        except TimeoutError:  # the platform, or a database that keeps a renewed session waiting
            error = UnavailableError("no answer within the time-out", code="timeout")
        except Exception as exc:  # also a look that fails in a new way comes to a person in the end
            log.exception("look.failed")
            error = UnavailableError(f"broke off: {type(exc).__name__}", code="internal_error")
        else:
            return
        async with self.open_uow() as uow:
            await looks.record_no_answer(uow, look, error)

    async def _look(self, look: Look) -> None:
        adapter = self.kit.platform(look.platform)
        if adapter.needs_refresh(look.credentials, utc_now()):
            renewed = await sign_ins.require(
                self.open_uow, self.kit, look.claimed.account_id, instead_of=look.credentials
            )
            look = replace(look, credentials=renewed)
        if look.in_doubt:
            found = await adapter.find(
                look.credentials, look.bodies[0], look.key, look.since, look.taken
            )
            async with self.open_uow() as uow:
                await looks.record_found(uow, look, found)
        else:  # part by part
            seen = [
                await adapter.read_back(look.credentials, body, published)
                for body, published in zip(look.bodies, look.receipts, strict=True)
            ]
            await self._read_back((look, seen))
