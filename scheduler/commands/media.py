"""`chancery media`: pictures, cleaned and kept by their hash."""

from pathlib import Path
from typing import Final

import click

from scheduler.commands.client import Api, needs_api
from scheduler.commands.printing import json_option, show_items
from scheduler.commands.writing import upload

_COLUMNS: Final = {
    "sha256": "sha256",
    "type": "mime",
    "bytes": "length",
    "width": "width",
    "height": "height",
}


@click.group()
def media() -> None:
    """Keep pictures for posts."""


@media.command()
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--mission", required=True, help="Whose picture it is, such as krv.hq.")
@json_option
@needs_api
def add(api: Api, *, paths: tuple[Path, ...], mission: str, as_json: bool) -> None:
    """Check a picture, remove everything from it that is not the picture, and keep it.

    Example: chancery media add bridge.jpg --mission krv.hq
    """
    show_items([upload(api, mission, path) for path in paths], _COLUMNS, as_json=as_json)
