"""The worker process: builds the engine, the sequencer and arq's worker, and runs them side by side."""

import asyncio
import gc
import signal
from datetime import timedelta
from typing import Final

import uvloop

from adapters.registry import build
from scheduler import doorbell
from scheduler.alerting.dispatcher import alerting
from scheduler.app import App, application, redis_url
from scheduler.logs import configure_logs
from scheduler.publishing.engine import Engine
from scheduler.publishing.preflight import Preflight
from scheduler.publishing.pulse import Pulse
from scheduler.publishing.renewing import Renewer
from scheduler.publishing.sequencer import Sequencer
from scheduler.publishing.vitals import Vitals
from scheduler.settings import Settings

#: A group of deliveries makes some thousands of short-lived objects.
_MANY_OBJECTS: Final = 20_000


async def work(app: App, stopping: asyncio.Event) -> None:
    """Publish until `stopping`; what is in flight is finished, what is only claimed is given back."""
    engine = Engine(app.open_uow, app.kit, worker=app.name)
    sequencer = Sequencer(app.open_uow, app.log_keys, owner=app.name)
    vitals = Vitals(app, engine)
    ahead = timedelta(minutes=app.settings.preflight_minutes)
    preflight = Preflight(app.open_uow, app.kit, ahead)
    sealing = asyncio.Event()
    bell = doorbell.connect(redis_url(app.settings), app.kit.ring.derive("jobs"))
    async with asyncio.TaskGroup() as group:
        group.create_task(sequencer.run(sealing))
        group.create_task(doorbell.answer(bell, engine.nudge, stopping))
        group.create_task(vitals.run(stopping))
        group.create_task(Pulse(app.open_uow, engine).run(sealing))
        async with asyncio.TaskGroup() as recording:
            recording.create_task(Renewer(app.open_uow, app.kit).run(stopping))
            recording.create_task(preflight.run(stopping))
            await engine.run(stopping)
        sealing.set()  # their last records are sealed too
    await bell.aclose(close_connection_pool=True)


def _spare_what_stays() -> None:
    """Keep the collector off what is loaded for good: in a burst it walked all of that for every few deliveries."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_MANY_OBJECTS, 20, 50)


async def run(settings: Settings) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with application(settings, service="worker", platforms=build) as app, alerting(app):
        _spare_what_stays()
        await work(app, stopping)


def main() -> None:
    settings = Settings()
    configure_logs(settings.log_level)
    uvloop.run(run(settings))


if __name__ == "__main__":
    main()
