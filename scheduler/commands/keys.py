"""`chancery keys`: the versions of the key that seals every account's secret; on the installation itself."""

import asyncio
from typing import Final

import click

from scheduler.app import App, BuildPlatforms, application
from scheduler.commands.installing import read_settings, require_installed
from scheduler.commands.printing import json_option, progress, show_items, show_json
from scheduler.services import keys as services
from scheduler.services.keys import KeyStatus

_COLUMNS: Final = {"version": "version", "state": "state", "data keys": "data_keys"}


@click.group()
def keys() -> None:
    """See and renew the key that wraps the accounts' data keys.

    To replace it: rotate, rewrap, copy the key file to its safe place, and later retire the old version.
    """


@keys.command()
@json_option
@click.pass_obj
def status(platforms: BuildPlatforms, /, *, as_json: bool) -> None:
    """List the versions of the key, and how many data keys each wraps.

    Example: chancery keys status
    """
    rows = asyncio.run(_status(platforms))
    found = [
        {"version": row.version, "state": row.state, "data_keys": row.data_keys} for row in rows
    ]
    show_items(found, _COLUMNS, as_json=as_json)


@keys.command()
@json_option
@click.pass_obj
def rotate(platforms: BuildPlatforms, /, *, as_json: bool) -> None:
    """Make a new version current; the older ones still open what they wrap.

    Example: chancery keys rotate
    """
    version = asyncio.run(_rotate(platforms))
    if as_json:
        show_json({"current": version})
    else:
        click.echo(
            f"Version {version} wraps from now on. Copy the key file; then `chancery keys rewrap`."
        )


@keys.command()
@json_option
@click.pass_obj
def rewrap(platforms: BuildPlatforms, /, *, as_json: bool) -> None:
    """Wrap every data key with the current version; nothing sealed changes.

    Example: chancery keys rewrap
    """
    count = asyncio.run(_rewrap(platforms))
    if as_json:
        show_json({"rewrapped": count})
    else:
        click.echo(f"{count} data keys were wrapped anew.")


@keys.command()
@click.argument("version", type=click.IntRange(1))
@json_option
@click.pass_obj
def retire(platforms: BuildPlatforms, /, version: int, *, as_json: bool) -> None:
    """Destroy an older version that wraps nothing any more: older copies of the database stay closed.

    Example: chancery keys retire 1
    """
    asyncio.run(_retire(platforms, version))
    if as_json:
        show_json({"retired": version})
    else:
        click.echo(f"Version {version} is destroyed. Remove it from the key file's copies, too.")


async def _status(platforms: BuildPlatforms) -> list[KeyStatus]:
    settings = read_settings()
    await require_installed(settings)
    async with (
        application(settings, service="cli", platforms=platforms, ringing=False) as app,
        app.open_uow.read() as uow,
    ):
        return await services.find_status(uow, app.kit.ring)


async def _rotate(platforms: BuildPlatforms) -> int:
    settings = read_settings()
    await require_installed(settings)
    async with (
        application(settings, service="cli", platforms=platforms, ringing=False) as app,
        app.open_uow() as uow,
    ):
        return services.rotate(uow, app.kit.ring)


async def _rewrap(platforms: BuildPlatforms) -> int:
    settings = read_settings()
    await require_installed(settings)
    async with application(settings, service="cli", platforms=platforms, ringing=False) as app:
        return await _rewrap_all(app)


async def _rewrap_all(app: App) -> int:
    async with app.open_uow.read() as uow:
        total = await services.count_outdated(uow, app.kit.ring)
    count = 0
    with progress("wrapping anew", total) as tell:
        while True:
            async with app.open_uow() as uow:
                done = await services.rewrap(uow, app.kit)
            if not done:
                return count
            count += done
            tell(done)


async def _retire(platforms: BuildPlatforms, version: int) -> None:
    settings = read_settings()
    await require_installed(settings)
    async with (
        application(settings, service="cli", platforms=platforms, ringing=False) as app,
        app.open_uow() as uow,
    ):
        await services.retire(uow, app.kit.ring, version)
