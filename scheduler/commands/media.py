"""`chancery media`: pictures, cleaned and kept by their hash."""

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Final

import click

from scheduler.commands.client import Api, needs_api
from scheduler.commands.printing import json_option, show_items, show_json
from scheduler.commands.refusals import AnswerUnreadableError
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


@media.command()
@click.argument("sha256")
@click.option(
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="A new file for it; nothing is overwritten.",
)
@json_option
@needs_api
def show(api: Api, *, sha256: str, output: Path, as_json: bool) -> None:
    """Write a picture to a file, exactly as it will be public, to look at it.

    `chancery approval show` and `chancery post show` print the hashes of a post's pictures.

    Example: chancery media show 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --output bridge.jpeg
    """
    received = BytesIO()
    api.download(f"/media/{sha256}", received)
    data = received.getvalue()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise AnswerUnreadableError(f"{api.url} answers with another picture than {sha256}")
    with output.open("xb") as file:
        file.write(data)
    if as_json:
        show_json({"sha256": sha256, "output": str(output), "bytes": len(data)})
    else:
        click.echo(f"{len(data)} bytes in {output}")
