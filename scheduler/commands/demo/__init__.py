"""`chancery demo`: the whole main job on one machine, on the practice network, in about a minute."""

import asyncio
import sys
from pathlib import Path

import click

from scheduler.app import BuildPlatforms
from scheduler.commands.demo.show import run_demo
from scheduler.commands.demo.stage import Places


@click.command()
@click.option(
    "--once", is_flag=True, help="End after the last due post, print a summary and one JSON object."
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path("var/demo"),
    show_default=True,
    help="Where the demo lives; what an earlier demo left there is removed.",
)
@click.option(
    "--database-url", help="An empty PostgreSQL database, instead of SQLite in the folder."
)
@click.option("--redis-url", help="A Redis, instead of a private one.")
@click.pass_obj
def demo(
    platforms: BuildPlatforms,
    folder: Path,
    database_url: str | None,
    redis_url: str | None,
    *,
    once: bool,
) -> None:
    """Play a fictional ministry's fortnight in a minute; nothing leaves this machine.

    Starts the practice network (simulated Mastodon and Bluesky servers), a database and a Redis of its own, the web
    and the worker process. Officers draft and submit through the API with their own tokens, supervisors approve, and
    the worker publishes; then it says where to look and stays up until Ctrl-C.

    Example: chancery demo --once
    """
    places = Places(folder=folder.resolve(), database_url=database_url, redis_url=redis_url)
    sys.exit(asyncio.run(run_demo(places, platforms, once=once)))
