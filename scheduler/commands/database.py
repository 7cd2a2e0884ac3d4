"""`chancery db`: the migrations, as a step of their own."""

import asyncio

import click

from scheduler.app import BuildPlatforms
from scheduler.commands.installing import (
    adopt,
    find_state,
    make_data_dir,
    migrate,
    read_settings,
    refuse_outdated,
    reseal_rows,
)
from scheduler.commands.printing import json_option, show_json
from scheduler.commands.refusals import InstallationMissingError


@click.group()
def db() -> None:
    """Bring the database up to date, or look whether it is."""


@db.command()
@json_option
@click.pass_obj
def upgrade(platforms: BuildPlatforms, /, *, as_json: bool) -> None:
    """Bring the database to the newest revision; up to date already, change nothing.

    End every process of the older release first: what it writes afterwards has no seal.

    Example: chancery db upgrade
    """
    settings = read_settings()
    if settings.is_sqlite:
        make_data_dir(settings)
    before = asyncio.run(find_state(settings)).current
    asyncio.run(migrate(settings))
    after = asyncio.run(find_state(settings)).current
    adopted = asyncio.run(adopt(settings, platforms))
    if as_json:
        doubted = [] if adopted is None else list(adopted.doubted)
        show_json({"before": before, "after": after, "reconnect": doubted})
    elif before == after:
        click.echo(f"The database is up to date (revision {after}).")
    else:
        click.echo(f"The database went from revision {before or 'nothing'} to {after}.")
    if adopted is not None and not as_json:
        click.echo(f"{adopted.rows} rows of the older release were sealed and put on record.")
        for code in adopted.doubted:
            click.echo(f"Account {code} is not what its record says; remove and connect it anew.")


@db.command()
@json_option
@click.confirmation_option(
    prompt="Have you looked at `chancery audit verify`, and do you believe the rows?"
)
@click.pass_obj
def reseal(platforms: BuildPlatforms, /, *, as_json: bool) -> None:
    """Believe the rows without a seal as they stand, after a repair by hand; the record says which.

    Example: chancery db reseal --yes
    """
    names = asyncio.run(reseal_rows(read_settings(), platforms))
    if as_json:
        show_json({"sealed": names})
    else:
        for name in names:
            click.echo(name)
        click.echo(f"{len(names)} rows were sealed.")


@db.command()
@json_option
def check(*, as_json: bool) -> None:
    """Say which revision the database has, and refuse when it is not this program's.

    Example: chancery db check
    """
    state = asyncio.run(find_state(read_settings()))
    if state.current is None:
        raise InstallationMissingError("there is no database here yet; run `chancery init`")
    if as_json:
        show_json({"current": state.current, "newest": state.newest})
    refuse_outdated(state)
    if not as_json:
        click.echo(f"The database is up to date (revision {state.current}).")
