"""`chancery series`: posts that recur, drafted by `chancery post repeat`."""

from typing import Any, Final
from uuid import UUID

import click

from scheduler.commands.client import Api, needs_api
from scheduler.commands.printing import (
    json_option,
    limit_option,
    show_fields,
    show_items,
    show_json,
)
from scheduler.commands.writing import accept_option, read_accepted

_COLUMNS: Final = {
    "id": "id",
    "mission": "mission",
    "rule": "rule",
    "every": "every",
    "from": "starts_on",
    "until": "until",
    "times": "count",
    "zone": "zone",
    "ended": "ended_at",
}
_FIELDS: Final = {
    "series": "id",
    "mission": "mission",
    "author": "author.name",
    "copies of": "source",
    "rule": "rule",
    "every": "every",
    "zone": "zone",
    "from": "starts_on",
    "until": "until",
    "times": "count",
    "without": "exceptions",
    "ended": "ended_at",
    "reason": "end_reason",
}
_POSTS: Final = {
    "day": "day",
    "local": "post.when.local",
    "due": "post.when.due_at",
    "state": "post.state",
    "revision": "post.revision",
    "post": "post.id",
}
_series = click.argument("series_id", type=click.UUID, metavar="SERIES")


@click.group()
def series() -> None:
    """Follow posts that recur; chancery post repeat drafts them."""


@series.command("list")
@limit_option
@json_option
@needs_api
def list_series(api: Api, *, limit: int, as_json: bool) -> None:
    """List the series that you may see, newest first.

    Example: chancery series list
    """
    show_items(api.items("/series", limit=limit), _COLUMNS, as_json=as_json)


@series.command()
@_series
@json_option
@needs_api
def show(api: Api, *, series_id: UUID, as_json: bool) -> None:
    """Show a series with the post of each day.

    Example: chancery series show 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f
    """
    show_series(api.get(f"/series/{series_id}"), as_json=as_json)


@series.command()
@_series
@accept_option
@json_option
@needs_api
def submit(api: Api, *, series_id: UUID, accepted: tuple[str, ...], as_json: bool) -> None:
    """Put every draft of a series before those who decide, each on its own; a refusal ends it there.

    Example: chancery series submit 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f
    """
    body = read_accepted(accepted)
    for each in find_posts(api, series_id, "draft"):
        api.post(f"/posts/{each['id']}/submit", body, revision=each["revision"])
    show_series(api.get(f"/series/{series_id}"), as_json=as_json)


@series.command()
@_series
@click.option("--reason", required=True, help="Kept in the audit log.")
@json_option
@needs_api
def end(api: Api, *, series_id: UUID, reason: str, as_json: bool) -> None:
    """Cancel the posts of a series that are still to come; what is leaving or has been tried is left.

    Example: chancery series end 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f --reason "the forum is over"
    """
    found = api.post(f"/series/{series_id}/end", {"reason": reason})
    if as_json:
        show_json(found)
        return
    click.echo(f"{len(found['cancelled'])} posts are cancelled.")
    for each in found["left"]:
        click.echo(f"left      {each}: it is leaving, or has been tried; see chancery post show")


def show_series(found: dict[str, Any], *, as_json: bool) -> None:
    show_fields(found, _FIELDS, as_json=as_json)
    if not as_json:
        click.echo()
        show_items(found["posts"], _POSTS, as_json=False)


def find_posts(api: Api, series_id: UUID, state: str) -> list[dict[str, Any]]:
    """The posts of a series in one state, by their day."""
    posts = [each["post"] for each in api.get(f"/series/{series_id}")["posts"]]
    return [each for each in posts if each["state"] == state]
