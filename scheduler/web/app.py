"""The web process: the JSON API, its document, and what watches it. It publishes nothing."""

import asyncio
import json
from functools import partial
from typing import Final

import structlog
from aiohttp import web

from scheduler.app import VERSION, App
from scheduler.notify import Notifier, Watchdog
from scheduler.settings import ServiceManager
from scheduler.web import health, openapi
from scheduler.web.api.table import ROUTES
from scheduler.web.dispatch import Endpoint
from scheduler.web.edge import build_middleware
from scheduler.web.metrics import Metrics
from scheduler.web.tries import Tries

log = structlog.get_logger()

_LARGEST_HEADER: Final = 8 * 1024
_KEEPALIVE_S: Final = 75
_SHUTDOWN_S: Final = 10.0


def build_app(app: App) -> web.Application:
    """The aiohttp application over the parts of `app`; it opens nothing of its own."""
    metrics, tries = Metrics(), Tries()
    is_https = app.settings.public_url.startswith("https://")
    site = web.Application(middlewares=[build_middleware(metrics, is_https=is_https)])
    for route in ROUTES:
        site.router.add_route(
            route.method, openapi.PREFIX + route.path, Endpoint(app, route, tries).__call__
        )
    document = json.dumps(
        openapi.build_document(ROUTES, version=VERSION, server=app.settings.public_url)
    )

    async def show_document(_request: web.Request) -> web.Response:
        return web.Response(text=document, content_type="application/json")

    async def show_readiness(_request: web.Request) -> web.Response:
        checks = await health.check(app)
        is_ready = set(checks.values()) == {"ok"}
        return web.json_response(
            {"ready": is_ready, "checks": checks}, status=200 if is_ready else 503
        )

    async def show_metrics(_request: web.Request) -> web.Response:
        text = await metrics.render(app)
        return web.Response(body=text, headers={"Content-Type": "text/plain; version=0.0.4"})

    site.router.add_route("GET", f"{openapi.PREFIX}/openapi.json", show_document)
    site.router.add_route("GET", "/healthz", health.alive)
    site.router.add_route("GET", "/readyz", show_readiness)
    site.router.add_route("GET", "/metrics", show_metrics)
    return site


def build_runner(app: App) -> web.AppRunner:
    """The application with the limits of its connections."""
    return web.AppRunner(
        build_app(app),
        access_log=None,
        shutdown_timeout=_SHUTDOWN_S,
        keepalive_timeout=_KEEPALIVE_S,
        max_line_size=_LARGEST_HEADER,
        max_field_size=_LARGEST_HEADER,
        auto_decompress=False,  # a compressed body is refused, not unpacked
    )


async def serve(app: App, host: str, port: int, stopping: asyncio.Event) -> None:
    """Answer on `host` and `port` until `stopping`; then finish what has begun, for at most 10 s.

    Raises:
        OSError: the address is taken or not ours.
    """
    runner = build_runner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        log.info("web.listening", host=host, port=port)
        look = partial(health.find_trouble, app)
        await Watchdog(Notifier(ServiceManager.find()), look).run(stopping)
    finally:
        await runner.cleanup()
