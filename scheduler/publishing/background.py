"""Steps that are run again and again, and whose failure ends nothing else."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from scheduler.db.posts import StaleStateError
from scheduler.db.uow import DatabaseUnavailableError

log = structlog.get_logger()


async def repeat(
    seconds: float, stopping: asyncio.Event, step: Callable[[], Awaitable[None]]
) -> None:
    """Run the step, wait, and again, until `stopping`."""
    while not stopping.is_set():
        await guarded(step)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stopping.wait()


async def guarded(step: Callable[[], Awaitable[None]]) -> None:
    """Run a step whose loss is harmless: the next one finds in the database what it left."""
    try:
        await step()
    except StaleStateError as exc:
        log.info("step.overtaken", why=str(exc))
    except DatabaseUnavailableError as exc:
        log.warning("database.unavailable", why=str(exc))
    except Exception:  # a bug in one step must not end the others
        log.exception("step.failed")
