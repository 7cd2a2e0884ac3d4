"""How a worker shows that it lives: the watchdog's food, and its own figures where Prometheus is let in.

Nothing here is needed to publish, and nothing here may keep anything from being published.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final

import structlog
from aiohttp import web
from prometheus_client import (
    CollectorRegistry,
    Gauge,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from scheduler.app import App
from scheduler.clock import monotonic_s
from scheduler.notify import Notifier, Watchdog
from scheduler.publishing.engine import Engine
from scheduler.settings import ServiceManager

log = structlog.get_logger()

#: A sweep comes every second; a database may keep one waiting for as long as its locks may (8 and 10 s).
_STALE_S: Final = 15.0


@dataclass(slots=True)
class Vitals:
    """The signs of life of one worker."""

    app: App
    engine: Engine
    watchdog: Watchdog = field(init=False)
    _began_s: float = field(default_factory=monotonic_s)

    def __post_init__(self) -> None:
        self.watchdog = Watchdog(Notifier(ServiceManager.find()), self._look)

    async def run(self, stopping: asyncio.Event) -> None:
        """Beat, and answer whoever asks for the figures, until `stopping`."""
        runner = await self._listen()
        try:
            await self.watchdog.run(stopping)
        finally:
            if runner is not None:
                await runner.cleanup()

    def render(self) -> bytes:
        """The worker's own figures in Prometheus's text format."""
        registry = CollectorRegistry()
        for name, meaning, value in (
            ("sweep_age_seconds", "Since the last healthy sweep.", self._sweep_age_s()),
            ("loop_lag_seconds", "How much too late the event loop woke up.", self.watchdog.lag_s),
            ("well", "Whether the watchdog is being fed.", not self.watchdog.trouble),
        ):
            Gauge(f"chancery_worker_{name}", meaning, registry=registry).set(float(value))
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        return generate_latest(registry)

    async def _look(self) -> str:
        if not self.engine.last_sweep_s:
            return "waiting for the first sweep"
        age_s, watchdog_s = self._sweep_age_s(), self.watchdog.notifier.manager.watchdog_s
        if age_s > min(_STALE_S, (watchdog_s or 2 * _STALE_S) / 2):
            return f"no healthy sweep for {age_s:.0f} s"
        return ""

    def _sweep_age_s(self) -> float:
        return monotonic_s() - (self.engine.last_sweep_s or self._began_s)

    async def _listen(self) -> web.AppRunner | None:
        """Open the listener, if it is wanted; without it the worker publishes all the same."""
        address = self.app.settings.metrics_address
        if address is None:
            return None

        async def show(_request: web.Request) -> web.Response:
            return web.Response(
                body=self.render(), headers={"Content-Type": "text/plain; version=0.0.4"}
            )

        site = web.Application()
        site.router.add_get("/metrics", show)
        runner = web.AppRunner(site, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, *address).start()
        except OSError as exc:
            log.warning("metrics.unavailable", why=exc.strerror)
            await runner.cleanup()
            return None
        return runner
