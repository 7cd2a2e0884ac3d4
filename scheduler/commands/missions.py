"""`chancery mission`: the tree of missions."""

from typing import Final

import click

from scheduler.commands.client import Api, needs_api
from scheduler.commands.printing import json_option, limit_option, show_fields, show_items

_COLUMNS: Final = {
    "code": "code",
    "name": "name",
    "kind": "kind",
    "parent": "parent",
    "city": "city",
    "zone": "zone",
    "languages": "languages",
}


@click.group()
def mission() -> None:
    """See and extend the tree of missions."""


@mission.command()
@click.argument("code")
@click.option("--name", required=True)
@click.option("--kind", default="embassy", show_default=True, help="embassy, consulate, …")
@click.option("--parent", required=True, help="The mission above, such as krv.hq.")
@click.option("--city")
@click.option("--country", help="Two letters, such as UA.")
@click.option("--zone", required=True, help="IANA time zone, such as Europe/Kyiv.")
@click.option("--language", "languages", multiple=True, required=True, help="May be given again.")
@json_option
@needs_api
def add(api: Api, /, *, as_json: bool, languages: tuple[str, ...], **members: str | None) -> None:
    """Add a mission below another.

    Example: chancery mission add krv.kyi --name "Embassy of Karvenia in Kyiv" --parent krv.hq --city Kyiv
    --country UA --zone Europe/Kyiv --language uk
    """
    given = {name: value for name, value in members.items() if value is not None}
    found = api.post("/missions", {**given, "languages": list(languages)})
    show_fields(found, _COLUMNS, as_json=as_json)


@mission.command("list")
@limit_option
@json_option
@needs_api
def list_missions(api: Api, *, limit: int, as_json: bool) -> None:
    """List the missions that you may see, in the order of the tree.

    Example: chancery mission list
    """
    show_items(api.items("/missions", limit=limit), _COLUMNS, as_json=as_json)
