"""`chancery campaign`: posts of several missions with one aim."""

from typing import Final

import click

from scheduler.commands.client import Api, needs_api
from scheduler.commands.printing import json_option, limit_option, show_fields, show_items

_COLUMNS: Final = {
    "code": "code",
    "title": "title",
    "mission": "mission",
    "created": "created_at",
    "closed": "closed_at",
}


@click.group()
def campaign() -> None:
    """Open, see and close campaigns; a post joins with `chancery post draft --campaign`."""


@campaign.command()
@click.argument("code")
@click.option("--title", required=True)
@click.option("--mission", required=True, help="Whose it is; posts of it and below may take part.")
@json_option
@needs_api
def add(api: Api, /, *, as_json: bool, **members: str) -> None:
    """Open a campaign.

    Example: chancery campaign add bridge --title "The new bridge in Lipovec" --mission krv.hq
    """
    show_fields(api.post("/campaigns", members), _COLUMNS, as_json=as_json)


@campaign.command("list")
@limit_option
@json_option
@needs_api
def list_campaigns(api: Api, *, limit: int, as_json: bool) -> None:
    """List the campaigns that concern you, newest first.

    Example: chancery campaign list
    """
    show_items(api.items("/campaigns", limit=limit), _COLUMNS, as_json=as_json)


@campaign.command()
@click.argument("code")
@json_option
@needs_api
def show(api: Api, *, code: str, as_json: bool) -> None:
    """Show a campaign.

    Example: chancery campaign show bridge
    """
    show_fields(api.get(f"/campaigns/{code}"), _COLUMNS, as_json=as_json)


@campaign.command()
@click.argument("code")
@json_option
@needs_api
def close(api: Api, *, code: str, as_json: bool) -> None:
    """End a campaign: it takes no more posts, and those that it has go their way.

    To keep them from leaving, `chancery stop --campaign`.

    Example: chancery campaign close bridge
    """
    show_fields(api.post(f"/campaigns/{code}/close", {}), _COLUMNS, as_json=as_json)
