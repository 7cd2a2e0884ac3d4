"""`chancery stop|resume|posture`: whether anything may leave."""

from typing import Any, Final
from uuid import UUID

import click

from scheduler.commands.client import Api, needs_api
from scheduler.commands.printing import json_option, show_fields, show_items, show_json

_FIELDS: Final = {"stopped": "stopped", "since": "since", "by": "by", "reason": "reason"}
_POSTURES: Final = {
    "posture": "id",
    "kind": "kind",
    "in force": "in_force",
    "mission": "mission",
    "account": "account",
    "campaign": "campaign",
    "language": "language",
    "but": "allowed_classes",
    "from": "starts_at",
    "until": "ends_at",
    "set by": "set_by.name",
    "end proposed by": "end_proposed_by.name",
    "reason": "reason",
}
_MET: Final = {
    "delivery": "delivery",
    "state": "state",
    "account": "account",
    "due": "due_at",
    "title": "title",
}
_RELEASED: Final = {"delivery": "delivery", "account": "account", "due": "due_at"}
_SKIPPED: Final = {
    "delivery": "delivery",
    "account": "account",
    "code": "code",
    "why": "message",
}
_reason = click.option("--reason", required=True, help="Kept in the audit log.")
spread_option = click.option(
    "--spread",
    "--spread-minutes",
    "spread",
    type=click.IntRange(0, 24 * 60),
    help="Minutes over which they leave, evenly; the first at once.",
)


@click.command()
@_reason
@click.option("--kind", default="stop", show_default=True, help="mourning, pre_election, freeze, …")
@click.option("--mission", help="Only posts of this mission and below, and of their accounts.")
@click.option("--account", help="Only this account, such as hq.mastodon.")
@click.option("--campaign", help="Only posts of this campaign.")
@click.option("--language", help="Only what is published in this language.")
@click.option(
    "--except-class",
    "allowed",
    multiple=True,
    help="Posts of this class may leave all the same; may be given more than once.",
)
@click.option("--from", "starts_at", help="Such as 2027-03-28T00:00+01:00; default: at once.")
@click.option("--until", "ends_at", help="It ends then by itself; default: until it is lifted.")
@json_option
@needs_api
def stop(
    api: Api, /, *, reason: str, allowed: tuple[str, ...], as_json: bool, **given: str | None
) -> None:
    """Stop publishing; the receipt says what is caught, and what can no longer be.

    Without a scope it stops everything. All that is named must fit: --mission with --language stops that language of
    that mission. Another person lifts it.

    Example: chancery stop --reason "state mourning" --kind mourning --except-class consular_alert
    """
    named = {name: value for name, value in given.items() if value is not None}
    receipt = api.post(
        "/posture/stop", {"reason": reason, "allowed_classes": list(allowed), **named}
    )
    if as_json:
        show_json(receipt)
        return
    click.echo(f"Posture {receipt['posture']}, in force from {receipt['since']}.")
    _show_part("Caught; will be held when due", receipt["caught"], _MET)
    _show_part("In flight; may still become public", receipt["in_flight"], _MET)
    click.echo("Another person lifts it with `chancery resume`.")


@click.command()
@_reason
@click.option("--posture", type=click.UUID, help="Which, when there are several.")
@click.option("--release", is_flag=True, help="Release what it has caught, spread out.")
@spread_option
@json_option
@needs_api
def resume(
    api: Api,
    *,
    reason: str,
    posture: UUID | None,
    release: bool,
    spread: int | None,
    as_json: bool,
) -> None:
    """Lift a posture that another person has set; what was held stays held.

    If you have set it yourself, this puts your proposal on record for another person to confirm in the same way.

    Example: chancery resume --reason "mourning is over" --release --spread-minutes 90
    """
    if release != (spread is not None):
        raise click.UsageError("give --release and --spread-minutes together")
    body: dict[str, Any] = {"reason": reason, "release": release, "spread_minutes": spread or 0}
    if posture is not None:
        body["posture"] = str(posture)
    found = api.post("/posture/resume", body)
    if as_json:
        show_json(found)
        return
    if not found["lifted"]:
        click.echo(
            f"You have set posture {found['posture']} yourself: it stays in force until another person runs "
            "`chancery resume`. Your proposal is on record."
        )
        return
    click.echo(f"Posture {found['posture']} is lifted.")
    if found["release"] is not None:
        show_release(found["release"])
    else:
        click.echo(
            "What it has held stays held: "
            f"`chancery delivery release --posture {found['posture']} --spread 60 --reason …`"
        )


@click.command()
@json_option
@needs_api
def posture(api: Api, *, as_json: bool) -> None:
    """Say whether publishing is stopped, and show every posture in force or announced.

    Example: chancery posture
    """
    found = api.get("/posture")
    show_fields(found, _FIELDS, as_json=as_json)
    if not as_json and found["postures"]:
        click.echo()
        show_items(found["postures"], _POSTURES, as_json=False)


def show_release(receipt: dict[str, Any]) -> None:
    """Print what goes when, and what stays held and why."""
    _show_part("Released", receipt["released"], _RELEASED)
    _show_part("Still held", receipt["skipped"], _SKIPPED)


def _show_part(title: str, items: list[dict[str, Any]], columns: dict[str, str]) -> None:
    click.echo(f"{title}: {len(items)}")
    if items:
        show_items(items, columns, as_json=False)
