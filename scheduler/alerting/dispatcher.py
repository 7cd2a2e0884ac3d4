"""Tells people: looks for what is to be told and sends it, beside the publishing and never in its way.

It runs in every worker and every web process. What it sends it claims in the database, so that two of them do not send
the same; one that dies leaves its claim, and another sends again, with the same id.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from scheduler.alerting.errors import NotArrivedError
from scheduler.alerting.ways import Channel, open_channels
from scheduler.app import App
from scheduler.db.uow import DatabaseUnavailableError, UnitOfWorkFactory
from scheduler.services import alerts
from scheduler.services.alerts import Outgoing

log = structlog.get_logger()

_LOOK_S: Final = 1.0
_SWEEP_S: Final = 10.0
_AT_ONCE: Final = 4
#: How long a shutdown waits for what is under way; the rest is sent again by somebody else.
_GRACE_S: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispatcher:
    open_uow: UnitOfWorkFactory
    channels: Sequence[Channel]
    sweep_s: float = _SWEEP_S

    async def run(self, stopping: asyncio.Event) -> None:
        """Find and send until `stopping`; each channel goes at its own pace."""
        async with asyncio.TaskGroup() as group:
            sweep = partial(alerts.find_situations, self.open_uow)
            tasks = [group.create_task(_every(self.sweep_s, stopping, sweep))]
            for channel in self.channels:
                serve = partial(self._serve, channel, stopping)
                tasks.append(group.create_task(_every(_LOOK_S, stopping, serve)))
            await stopping.wait()
            await asyncio.wait(tasks, timeout=_GRACE_S)
            for task in tasks:
                task.cancel()

    async def _serve(self, channel: Channel, stopping: asyncio.Event) -> None:
        """Send what is due, a few at once, until nothing is."""
        more = True
        while more and not stopping.is_set():
            taken = await alerts.take(self.open_uow, channel.way, limit=_AT_ONCE)
            more = len(taken) == _AT_ONCE
            async with asyncio.TaskGroup() as group:
                for outgoing in taken:
                    step = partial(deliver, self.open_uow, channel, outgoing)
                    group.create_task(_guarded(step))


async def deliver(open_uow: UnitOfWorkFactory, channel: Channel, outgoing: Outgoing) -> None:
    """Send one message and write what came of it; no transaction is open while it is under way."""
    way, number = channel.way, str(outgoing.id)
    try:
        note = await channel.send(outgoing)
    except NotArrivedError as exc:
        log.warning("alert.not_sent", target=way.target, alert=number, why=str(exc))
        record = alerts.record_gone if exc.gone else alerts.record_failed
        async with open_uow() as uow:
            await record(uow, way, outgoing, error=str(exc))
        return
    log.info("alert.sent", target=way.target, alert=number, attempt=outgoing.attempt)
    async with open_uow() as uow:
        await alerts.record_sent(uow, way, outgoing, note=note)


@asynccontextmanager
async def alerting(app: App) -> AsyncIterator[None]:
    """Tell people while the block runs.

    Raises:
        SettingsError: the settings of the alerts cannot be used.
    """
    async with open_channels(app.settings) as channels:
        stopping = asyncio.Event()
        running = asyncio.ensure_future(
            Dispatcher(open_uow=app.open_uow, channels=channels).run(stopping)
        )
        try:
            yield
        finally:
            stopping.set()
            await running


async def _every(
    seconds: float, stopping: asyncio.Event, step: Callable[[], Awaitable[None]]
) -> None:
    while not stopping.is_set():
        await _guarded(step)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stopping.wait()


async def _guarded(step: Callable[[], Awaitable[None]]) -> None:
    """Nothing that fails here may end the process beside which it runs; the next round tries again."""
    try:
        await step()
    except DatabaseUnavailableError as exc:
        log.warning("alerts.wait", why=str(exc))
    except Exception:  # a bug in one message must not silence the others
        log.exception("alerts.failed")
