"""`chancery alert`: what people were told, and whether they can be told at all."""

import asyncio
from typing import Any, Final

import click

from scheduler.alerting.errors import NotArrivedError
from scheduler.alerting.ways import Channel, open_channels
from scheduler.app import BuildPlatforms, application
from scheduler.commands.client import Api, needs_api
from scheduler.commands.installing import read_settings, require_installed
from scheduler.commands.printing import json_option, limit_option, show_items, show_json
from scheduler.commands.refusals import AlertsNotConfiguredError, AlertTestFailedError
from scheduler.db.uow import UnitOfWorkFactory
from scheduler.domain.alert_kinds import AlertKind
from scheduler.services import alerts
from scheduler.services.alerts import Outgoing
from scheduler.settings import Settings

_COLUMNS: Final = {
    "at": "at",
    "alert": "headline",
    "public": "public",
    "title": "title",
    "account": "account",
    "what": "what",
    "told": "told",
    "next": "command",
}


@click.group()
def alert() -> None:
    """See what people were told by mail and webhook, and test both."""


@alert.command("list")
@click.option(
    "--kind",
    "kinds",
    type=click.Choice([each.value for each in AlertKind]),
    multiple=True,
    help="Only these; may be given more than once.",
)
@limit_option
@json_option
@needs_api
def list_alerts(api: Api, *, kinds: tuple[str, ...], limit: int, as_json: bool) -> None:
    """List the alerts that concern you, newest first, with what became of each.

    Example: chancery alert list --kind held --kind unknown
    """
    found = api.items("/alerts", limit=limit, kind=kinds)
    if as_json:
        show_json(list(found))
        return
    show_items(({**each, "told": _told(each["sends"])} for each in found), _COLUMNS, as_json=False)


@alert.command()
@json_option
@click.pass_obj
def test(platforms: BuildPlatforms, /, *, as_json: bool) -> None:
    """Send a test alert each way that this machine's settings name, at once, and say what came back.

    Example: chancery alert test
    """
    settings = read_settings()
    asyncio.run(require_installed(settings))
    results = asyncio.run(_test(settings, platforms))
    if as_json:
        show_json(results)
    else:
        for each in results:
            click.echo(f"{each['target']:<8} {each['state']:<6} {each['answer']}".rstrip())
    failed = [each["target"] for each in results if each["state"] == "failed"]
    if failed:
        raise AlertTestFailedError(f"the test did not arrive by {' and '.join(failed)}")


async def _test(settings: Settings, platforms: BuildPlatforms) -> list[dict[str, str]]:
    async with (
        open_channels(settings) as channels,
        application(settings, service="cli", platforms=platforms, ringing=False) as app,
    ):
        if not channels:
            raise AlertsNotConfiguredError(
                "nobody is told: set CHANCERY_SMTP_URL, CHANCERY_ALERT_FROM and CHANCERY_ALERT_TO, "
                "or CHANCERY_ALERT_WEBHOOK_URL and CHANCERY_ALERT_WEBHOOK_SECRET"
            )
        async with app.open_uow() as uow:
            taken = await alerts.begin_test(uow, [each.way for each in channels])
        return [await _try(app.open_uow, each, taken[each.way.target]) for each in channels]


async def _try(open_uow: UnitOfWorkFactory, channel: Channel, outgoing: Outgoing) -> dict[str, str]:
    error, answer = "", "accepted"
    try:
        answer = await channel.send(outgoing) or answer
    except NotArrivedError as exc:
        error = answer = str(exc)
    async with open_uow() as uow:
        await alerts.end_test(uow, channel.way, outgoing, error=error)
    state = "failed" if error else "sent"
    return {"target": channel.way.target.value, "state": state, "answer": answer}


def _told(sends: list[dict[str, Any]]) -> str:
    return ", ".join(f"{each['target']} {each['state']}" for each in sends) or "nobody"
