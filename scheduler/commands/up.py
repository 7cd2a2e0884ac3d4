"""`chancery up`: everything on one machine, with one command."""

import asyncio
import signal
import sys
from contextlib import AsyncExitStack, suppress
from typing import Final

import click

from scheduler.app import BuildPlatforms
from scheduler.commands.init import show_founded
from scheduler.commands.installing import (
    default_founding,
    found,
    is_installed,
    make_data_dir,
    migrate,
    read_settings,
    refuse_keys_inside_data,
    require_installed,
)
from scheduler.commands.refusals import InstallationMissingError
from scheduler.commands.supervisor import Supervisor, hold_start
from scheduler.logs import configure_logs
from scheduler.redis_server import EmbeddedRedis
from scheduler.settings import Settings

_POLL_S: Final = 0.1
_CONNECT_S: Final = 1.0


@click.command()
@click.option(
    "--init-if-empty",
    is_flag=True,
    help="Where nothing is installed, make a first installation with two admins, without questions.",
)
@click.pass_obj
def up(platforms: BuildPlatforms, *, init_if_empty: bool) -> None:
    """Run the whole installation: Redis (unless CHANCERY_REDIS_URL names one), web and worker.

    The database is brought up to date first. What ends by itself is started again; SIGTERM or Ctrl-C ends all.

    Example: chancery up --init-if-empty
    """
    settings = read_settings()
    configure_logs(settings.log_level)
    refuse_keys_inside_data(settings)
    if not init_if_empty and not asyncio.run(is_installed(settings)):
        raise InstallationMissingError(
            "nothing is installed here yet; run `chancery init`, or `chancery up --init-if-empty` for a first look"
        )
    make_data_dir(settings)
    with hold_start(settings.data_dir) as lock:
        if init_if_empty and not asyncio.run(is_installed(settings)):
            made = asyncio.run(found(settings, platforms, default_founding()))
            show_founded(made, starts=True)
        asyncio.run(migrate(settings))
        asyncio.run(require_installed(settings))
        asyncio.run(_run(settings, lock))


async def _run(settings: Settings, lock: int) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    supervisor = Supervisor(
        {
            "web": (sys.executable, "-P", "-m", "cli", "web"),
            "worker": (sys.executable, "-P", "-m", "cli", "worker"),
        },
        lock,
    )
    async with AsyncExitStack() as stack:
        if settings.redis_url is None:
            await _keep_redis(settings, stack)
        teller = asyncio.ensure_future(_tell_when_ready(settings))
        stack.callback(teller.cancel)
        await supervisor.run(stopping)


async def _keep_redis(settings: Settings, stack: AsyncExitStack) -> None:
    redis = EmbeddedRedis(settings.data_dir / "redis")
    await redis.start()
    stack.push_async_callback(redis.stop)
    keeper = asyncio.ensure_future(redis.supervise())

    async def end_keeper() -> None:
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper

    stack.push_async_callback(end_keeper)


async def _tell_when_ready(settings: Settings) -> None:
    host, port = settings.listen_address
    while True:
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_CONNECT_S):
                _, writer = await asyncio.open_connection(host, port)
            writer.close()
            click.echo(f"Chancery is at {settings.public_url} (Ctrl-C ends it)")
            return
        await asyncio.sleep(_POLL_S)
