"""`chancery delivery`: what became of each post on each account, and how a person ends a hold."""

from typing import Any, Final
from uuid import UUID

import click

from scheduler.commands.client import Api, needs_api
from scheduler.commands.posture import show_release, spread_option
from scheduler.commands.printing import (
    clean,
    json_option,
    limit_option,
    mark_hidden,
    show_fields,
    show_items,
    show_json,
)
from scheduler.domain.delivery_flow import DeliveryState
from scheduler.domain.posture import find_catcher

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
_ATTEMPT: Final = {
    "try": "number",
    "part": "part",
    "sent from": "started_at",
    "to be over by": "deadline",
    "request": "request_sha256",
    "outcome": "outcome",
    "ended": "ended_at",
    "code": "code",
    "came back": "message",
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
@click.option("--body", is_flag=True, help="Show what was sent, too.")
@json_option
@needs_api
def show(api: Api, *, delivery_id: UUID, body: bool, as_json: bool) -> None:
    """Show a delivery with the evidence of every try, and what to do next.

    Example: chancery delivery show 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f --body
    """
    found = api.get(f"/deliveries/{delivery_id}", body="true" if body else None)
    show_fields(found, _FIELDS, as_json=as_json)
    if as_json:
        return
    for each in (found["preflight"] or {"problems": ()})["problems"]:
        click.echo(f"problem   {clean(each['message'])} [{each['code']}]\n  next: {each['next']}")
    for attempt in found["attempts"]:
        _show_attempt(attempt)
    for line in find_next_steps(found):
        click.echo(f"next: {line}")


def _show_attempt(attempt: dict[str, Any]) -> None:
    click.echo()
    show_fields(attempt, _ATTEMPT, as_json=False)
    for name, value in attempt["evidence"].items():
        click.echo(f"  {clean(name)}: {clean(str(value))}")
    for look in attempt["looks"]:
        told = ": ".join(each for each in (look["code"], look["message"], look["url"]) if each)
        click.echo(f"  looked {look['at']}: {look['saw']} {clean(told)}".rstrip())
    if attempt["body"] is not None:
        click.echo(f"  body: {clean(mark_hidden(attempt['body']))}")


def find_next_steps(found: dict[str, Any]) -> list[str]:
    """What a person can do now, as commands."""
    show, retry, resolve = (
        f"chancery delivery {verb} {found['id']}" for verb in ("show", "retry", "resolve")
    )
    attempts = found["attempts"]
    if found["state"] == DeliveryState.UNKNOWN:
        return [f"wait: the platform is asked at {found['next_look_at']}; then `{show}`"]
    if found["state"] not in {DeliveryState.HELD, DeliveryState.REJECTED}:
        return []
    end = f"`{resolve} --cancelled --reason …`"
    if attempts and attempts[-1]["outcome"] == "unknown":
        return [
            f"look at {found['account_url']}",
            f"it is there: `{resolve} --posted --url URL --reason …`",
            f"it is not: `{retry} --not-public --reason …`, or {end}",
        ]
    if posture := find_catcher(found["reason"]):
        release = f"chancery delivery release --posture {posture} --spread MINUTES --reason …"
        steps = [f"once another person has lifted the posture: `{release}`, with all it has held"]
    else:
        steps = [f"let it go: `{retry} --reason …`"]
    return [
        *steps,
        f"somebody posts it by hand: `{resolve} --posted-by-hand URL --reason …`",
        f"give it up: {end}",
    ]


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
@click.option("--posted-by-hand", "by_hand", metavar="URL", help="Somebody posted it; where.")
@click.option("--posted", "resolution", flag_value="posted", help="It is public after all.")
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
    api: Api, /, *, delivery_id: UUID, reason: str, as_json: bool, **ending: str | None
) -> None:
    """End a held or refused delivery for good.

    Example: chancery delivery resolve 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f
    --posted-by-hand https://social.karvenia.example/@hq/1 --reason "the platform was away"
    """
    by_hand, resolution, url = (ending[name] for name in ("by_hand", "resolution", "url"))
    if (resolution is None) == (by_hand is None) or (by_hand is not None and url):
        raise click.UsageError(
            "say how it ended: --posted-by-hand URL, --posted with --url, or --cancelled"
        )
    body = {"reason": reason, "resolution": resolution or "by_hand", "url": by_hand or url}
    found = api.post(f"/deliveries/{delivery_id}/resolve", body)
    show_fields(found, _FIELDS, as_json=as_json)


@delivery.command()
@click.option("--posture", type=click.UUID, required=True, help="One that is over.")
@spread_option
@_reason
@json_option
@needs_api
def release(api: Api, *, posture: UUID, spread: int | None, reason: str, as_json: bool) -> None:
    """Release what a posture has caught, spread evenly; what cannot go stays held and is named.

    Example: chancery delivery release --posture 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f --spread 90
    --reason "mourning is over"
    """
    if spread is None:
        raise click.UsageError("say over how many minutes they leave: --spread")
    body = {"reason": reason, "spread_minutes": spread}
    receipt = api.post(f"/posture/{posture}/release", body)
    if as_json:
        show_json(receipt)
    else:
        show_release(receipt)
