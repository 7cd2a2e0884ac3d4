"""A worker's sign of life in the database, so that others notice when it falls silent."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

import structlog

from scheduler.clock import monotonic_s
from scheduler.db import alerts
from scheduler.db.uow import DatabaseUnavailableError, UnitOfWork, UnitOfWorkFactory
from scheduler.ids import new_id
from scheduler.publishing.engine import Engine

log = structlog.get_logger()

EVERY_S: Final = 10.0
#: An engine sweeps once a second; one that has not for so long hangs, although this loop still turns.
_HANGS_AFTER_S: Final = 30.0
_NOT_YET_S: Final = 1.0


async def keep(
    open_uow: UnitOfWorkFactory, worker: str, engine: Engine, stopping: asyncio.Event
) -> None:
    """Give signs until `stopping`, as long as the engine sweeps; then take leave, so that nobody worries."""
    sign_id = new_id()
    while not stopping.is_set():
        pause_s = _NOT_YET_S
        if monotonic_s() - engine.last_sweep_s < _HANGS_AFTER_S:
            await _guarded(open_uow, partial(alerts.sign, sign_id=sign_id, worker=worker))
            pause_s = EVERY_S
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await stopping.wait()
    await _guarded(open_uow, partial(alerts.sign_off, sign_id=sign_id))


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
