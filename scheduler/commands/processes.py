"""`chancery web` and `chancery worker`: one process of the installation, in the foreground."""

import asyncio
import os
import signal
import sys

import click
import uvloop

from scheduler.alerting.dispatcher import alerting
from scheduler.alerting.ways import check_settings
from scheduler.app import BuildPlatforms, application
from scheduler.commands.installing import read_settings, require_installed
from scheduler.commands.refusals import AddressTakenError
from scheduler.commands.supervisor import hold_worker
from scheduler.logs import configure_logs
from scheduler.settings import Settings
from scheduler.web.app import serve


@click.command()
@click.pass_obj
def web(platforms: BuildPlatforms) -> None:
    """Serve the API at CHANCERY_LISTEN until SIGTERM or Ctrl-C; it publishes nothing.

    Example: CHANCERY_LISTEN=127.0.0.1:8700 chancery web
    """
    settings = read_settings()
    configure_logs(settings.log_level)
    check_settings(settings)
    asyncio.run(require_installed(settings))
    uvloop.run(_serve(settings, platforms))


@click.command()
def worker() -> None:
    """Publish what is due until SIGTERM or Ctrl-C; what is in flight is finished first.

    On SQLite there is one; on PostgreSQL there may be any number, on any number of machines.

    Example: chancery worker
    """
    settings = read_settings()
    _ = settings.metrics_address  # refused here, before anything runs
    check_settings(settings)
    asyncio.run(require_installed(settings))
    if settings.sqlite_file is not None:
        hold_worker(settings.sqlite_file)
    command = [sys.executable, "-P", "-m", "worker"]
    os.execv(sys.executable, command)  # noqa: S606 - our own program, which needs no shell


async def _serve(settings: Settings, platforms: BuildPlatforms) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    host, port = settings.listen_address
    async with application(settings, service="web", platforms=platforms) as app, alerting(app):
        try:
            await serve(app, host, port, stopping)
        except OSError as exc:
            raise AddressTakenError(f"cannot listen at {settings.listen}: {exc.strerror}") from exc
