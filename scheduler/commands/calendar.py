"""`chancery calendar`: posts by their time, as clocks show it at their mission."""

from datetime import date, datetime, timedelta
from typing import Final

import click

from scheduler.clock import utc_now
from scheduler.commands.client import Api, needs_api
from scheduler.commands.printing import json_option, limit_option, show_items

_DAYS: Final = 7
_COLUMNS: Final = {
    "local": "local",
    "zone": "zone",
    "due": "due_at",
    "mission": "post.mission",
    "state": "post.state",
    "pre-flight": "preflight",
    "post": "post.id",
    "title": "post.title",
}
_day = click.DateTime(formats=["%Y-%m-%d"])


@click.command()
@click.option("--from", "start", type=_day, help="The first day; default: today.")
@click.option("--to", "end", type=_day, help="The day after the last; default: a week later.")
@limit_option
@json_option
@needs_api
def calendar(
    api: Api, *, start: datetime | None, end: datetime | None, limit: int, as_json: bool
) -> None:
    """List the posts of some days, each with the time at its mission.

    Example: chancery calendar --from 2027-03-22 --to 2027-03-29
    """
    first: date = (start or utc_now()).date()
    last = first + timedelta(days=_DAYS) if end is None else end.date()
    query = {"from": first.isoformat(), "to": last.isoformat()}
    show_items(api.items("/calendar", limit=limit, **query), _COLUMNS, as_json=as_json)
