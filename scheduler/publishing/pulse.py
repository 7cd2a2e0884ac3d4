"""A worker's sign of life in the database, so that others notice when it falls silent."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Final
from uuid import UUID

import structlog

from scheduler.clock import monotonic_s
from scheduler.db import alerts
from scheduler.db.uow import DatabaseUnavailableError, UnitOfWork, UnitOfWorkFactory
from scheduler.ids import new_id
from scheduler.publishing.engine import Engine

log = structlog.get_logger()

_EVERY_S: Final = 10.0
#: An engine sweeps once a second; one that has not for so long hangs, although this loop still turns.
_HANGS_AFTER_S: Final = 30.0
_NOT_YET_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """The signs of one worker, as long as its engine sweeps."""

    open_uow: UnitOfWorkFactory
    engine: Engine
    sign_id: UUID = field(default_factory=new_id)

    async def run(self, stopping: asyncio.Event) -> None:
        """Give signs until `stopping`; then take leave, so that nobody worries."""
        while not stopping.is_set():
            pause_s = await self.beat()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await stopping.wait()
        await _guarded(self.open_uow, partial(alerts.sign_off, sign_id=self.sign_id))

    async def beat(self) -> float:
        """Give a sign if all is well; answers in how many seconds to ask again."""
        if monotonic_s() - self.engine.last_sweep_s > _HANGS_AFTER_S:
            return _NOT_YET_S
        sign = partial(alerts.sign, sign_id=self.sign_id, worker=self.engine.worker)
        await _guarded(self.open_uow, sign)
        return _EVERY_S


async def _guarded(
    open_uow: UnitOfWorkFactory, step: Callable[[UnitOfWork], Awaitable[None]]
) -> None:
    """A sign that is lost costs nothing; whatever goes wrong here must not end the worker."""
    try:
        async with open_uow() as uow:
            await step(uow)
    except DatabaseUnavailableError as exc:
        log.warning("pulse.waits", why=str(exc))
    except Exception:  # the worker publishes whether or not it can say that it lives
        log.exception("pulse.failed")
