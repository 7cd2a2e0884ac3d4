"""A worker's process: what worker.py runs, on the simulated parts; and what it logs."""

import asyncio
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import Context, copy_context
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog

from scheduler.clock import HOST_CLOCK, HostClock
from scheduler.ids import ID_BYTES
from scheduler.publishing.engine import Engine
from scheduler.publishing.sequencer import Sequencer
from tests.simulation.loop import PROCESS, Process

if TYPE_CHECKING:
    from tests.simulation.run import Run


class Worker:
    """A worker's process: what worker.py runs, on the simulated parts."""

    def __init__(self, run: "Run", name: str) -> None:
        self.run = run
        self.process = Process(name, skew_s=run.rng.choice((0.0, -400.0, 400.0)))
        self.stopping = asyncio.Event()
        run.loop.processes.append(self.process)
        context = self._context()
        self.task = run.loop.create_task(self._work(), name=name, context=context)
        run.bell.listeners[name] = lambda: run.loop.create_task(
            self.engine.nudge(), context=context
        )

    def _context(self) -> Context:
        run, process = self.run, self.process
        context = copy_context()
        clock = HostClock(
            utc_now=lambda: run.wall() + timedelta(seconds=process.skew_s),
            monotonic_s=run.loop.time,
        )
        context.run(PROCESS.set, process)
        context.run(HOST_CLOCK.set, clock)
        context.run(ID_BYTES.set, run.rng.randbytes)
        return context

    async def _work(self) -> None:
        run = self.run
        open_uow = run.ministry.open_uow("worker")
        open_uow.instance = run.instance  # type: ignore[assignment]
        open_uow.ring = run.bell.ring
        kit = run.ministry.kit({run.adapter.platform: run.adapter})
        self.engine = Engine(open_uow, kit, worker=self.process.name)
        sequencer = Sequencer(open_uow, run.log_keys, owner=self.process.name)  # type: ignore[arg-type]
        sealing = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(sequencer.run(sealing))
            await self.engine.run(self.stopping)
            sealing.set()
        run.worker_ended(self)


@contextmanager
def captured(run: "Run") -> Iterator[None]:
    """What the product logs, for the canaries and to see what has crashed."""
    before = structlog.get_config()

    def keep(_logger: object, method: str, event: MutableMapping[str, Any]) -> str:
        crash = ""
        if event.pop("exc_info", False):
            error = sys.exc_info()[1]
            crash = f"{event['event']} {type(error).__name__}: {error}"
            run.crashes[f"{event['event']} {type(error).__name__}"] += 1
        run.logged.append(f"{event} {crash}")
        if crash or method in {"warning", "error"}:
            run.say(f"{PROCESS.get().name} logs {event['event']} {event.get('why', '')} {crash}")
        raise structlog.DropEvent

    structlog.configure(processors=[keep])
    try:
        yield
    finally:
        structlog.configure(**before)
