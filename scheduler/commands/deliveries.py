"""`chancery delivery`: what became of each post on each account, and how a person ends a hold."""

from typing import Final
from uuid import UUID

import click

from scheduler.commands.client import Api, needs_api
from scheduler.commands.printing import clean, json_option, limit_option, show_fields, show_items
from scheduler.domain.delivery_flow import DeliveryState

_COLUMNS: Final = {
    "id": "id",
    "state": "state",
    "account": "account",
    "due": "due_at",
    "sent": "sent_at",
    "url": "remote_url",
    "reason": "reason",
    "pre-flight ok": "preflight.ok",
}
_FIELDS: Final = {
    "delivery": "id",
    "post": "post",
    "account": "account",
    "platform": "platform",
    "state": "state",
    "due": "due_at",
    "sent": "sent_at",
    "window ends": "expires_at",
    "url": "remote_url",
    "reason": "reason",
    "pre-flight": "preflight.at",
    "pre-flight ok": "preflight.ok",
}
_ATTEMPTS: Final = {
    "try": "number",
    "part": "part",
    "outcome": "outcome",
    "code": "code",
    "began": "started_at",
    "ended": "ended_at",
    "message": "message",
}
_delivery = click.argument("delivery_id", type=click.UUID, metavar="DELIVERY")
_reason = click.option("--reason", required=True, help="Kept in the audit log.")


@click.group()
def delivery() -> None:
    """Follow deliveries, and end a hold or a doubt."""


@delivery.command("list")
@click.option(
    "--state",
    "states",
    type=click.Choice([each.value for each in DeliveryState]),
    multiple=True,
    help="Only these; may be given more than once.",
)
@limit_option
@json_option
@needs_api
def list_deliveries(api: Api, *, states: tuple[str, ...], limit: int, as_json: bool) -> None:
    """List the deliveries that you may see, newest first.

    Example: chancery delivery list --state held --state unknown
    """
    show_items(api.items("/deliveries", limit=limit, state=states), _COLUMNS, as_json=as_json)


@delivery.command()
@_delivery
@json_option
@needs_api
def show(api: Api, *, delivery_id: UUID, as_json: bool) -> None:
    """Show a delivery with every try.

    Example: chancery delivery show 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f
    """
    found = api.get(f"/deliveries/{delivery_id}")
    show_fields(found, _FIELDS, as_json=as_json)
    if as_json:
        return
    for each in (found["preflight"] or {"problems": ()})["problems"]:
        click.echo(f"problem   {clean(each['message'])} [{each['code']}]\n  next: {each['next']}")
    if found["attempts"]:
        click.echo()
        show_items(found["attempts"], _ATTEMPTS, as_json=False)


@delivery.command()
@_delivery
@_reason
@click.option("--not-public", is_flag=True, help="You have looked, and it is not public.")
@click.option(
    "--delay-minutes", type=click.IntRange(0), default=0, help="Later, so that many are spread out."
)
@json_option
@needs_api
def retry(
    api: Api,
    *,
    delivery_id: UUID,
    reason: str,
    not_public: bool,
    delay_minutes: int,
    as_json: bool,
) -> None:
    """Let a held or refused delivery go again.

    Example: chancery delivery retry 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f --reason "the server is back" --not-public
    """
    body = {"reason": reason, "not_public": not_public, "delay_minutes": delay_minutes}
    found = api.post(f"/deliveries/{delivery_id}/retry", body)
    show_fields(found, _FIELDS, as_json=as_json)


@delivery.command()
@_delivery
@_reason
@click.option("--posted", "resolution", flag_value="posted", help="It is public.")
@click.option(
    "--cancelled",
    "resolution",
    flag_value="cancelled",
    help="It will not be public.",
)
@click.option("--url", default="", help="Where it is public.")
@json_option
@needs_api
def resolve(
    api: Api, *, delivery_id: UUID, reason: str, resolution: str | None, url: str, as_json: bool
) -> None:
    """End a held or refused delivery for good.

    Example: chancery delivery resolve 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f --posted
    --url https://social.karvenia.example/@hq/1 --reason "posted by hand"
    """
    if resolution is None:
        raise click.UsageError("say how it ended: --posted with --url, or --cancelled")
    body = {"reason": reason, "resolution": resolution, "url": url}
    found = api.post(f"/deliveries/{delivery_id}/resolve", body)
    show_fields(found, _FIELDS, as_json=as_json)
