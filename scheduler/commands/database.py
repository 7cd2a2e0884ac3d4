"""`chancery db`: the migrations, as a step of their own."""

import asyncio

import click

from scheduler.commands.installing import (
    find_state,
    make_data_dir,
    migrate,
    read_settings,
    refuse_outdated,
)
from scheduler.commands.printing import json_option, show_json
from scheduler.commands.refusals import InstallationMissingError


@click.group()
def db() -> None:
    """Bring the database up to date, or look whether it is."""


@db.command()
@json_option
def upgrade(*, as_json: bool) -> None:
    """Bring the database to the newest revision; up to date already, change nothing.

    Example: chancery db upgrade
    """
    settings = read_settings()
    if settings.is_sqlite:
        make_data_dir(settings)
    before = asyncio.run(find_state(settings)).current
    asyncio.run(migrate(settings))
    after = asyncio.run(find_state(settings)).current
    if as_json:
        show_json({"before": before, "after": after})
    elif before == after:
        click.echo(f"The database is up to date (revision {after}).")
    else:
        click.echo(f"The database went from revision {before or 'nothing'} to {after}.")


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
