"""`chancery stop|resume|posture`: whether anything may leave."""

from typing import Final

import click

from scheduler.commands.client import Api, needs_api
from scheduler.commands.printing import json_option, show_fields, show_json

_FIELDS: Final = {"stopped": "stopped", "since": "since", "by": "by", "reason": "reason"}
_reason = click.option("--reason", required=True, help="Kept in the audit log.")


@click.command()
@_reason
@json_option
@needs_api
def stop(api: Api, *, reason: str, as_json: bool) -> None:
    """Stop all publishing at once; the receipt says what can no longer be caught.

    Example: chancery stop --reason "state mourning"
    """
    receipt = api.post("/posture/stop", {"reason": reason})
    if as_json:
        show_json(receipt)
        return
    click.echo(f"Stopped at {receipt['since']}. Nothing leaves until `chancery resume`.")
    click.echo(
        f"Caught: {len(receipt['caught'])}. May still become public: {len(receipt['in_flight'])}"
    )
    for each in receipt["in_flight"]:
        click.echo(f"  delivery {each}")


@click.command()
@_reason
@json_option
@needs_api
def resume(api: Api, *, reason: str, as_json: bool) -> None:
    """Lift the stop; what was held stays held until a person releases it.

    Example: chancery resume --reason "mourning is over"
    """
    found = api.post("/posture/resume", {"reason": reason})
    if as_json:
        show_json(found)
    else:
        click.echo("Publishing goes on. What was held is in `chancery delivery list --state held`.")


@click.command()
@json_option
@needs_api
def posture(api: Api, *, as_json: bool) -> None:
    """Say whether publishing is stopped, since when, why and by whom.

    Example: chancery posture
    """
    show_fields(api.get("/posture"), _FIELDS, as_json=as_json)
