"""`chancery person` and `chancery grant`: people, their one-time codes, and their roles."""

from typing import Final
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
from scheduler.domain.people import Role

_PERSONS: Final = {
    "code": "code",
    "name": "name",
    "active": "active",
    "languages": "languages",
    "no approvals until": "approvals_suspended_until",
}
_GRANTS: Final = {
    "id": "id",
    "state": "state",
    "person": "person.code",
    "role": "role",
    "office": "office",
    "mission": "mission",
    "from": "not_before",
    "until": "not_after",
    "approves from": "approves_from",
    "proposed by": "proposed_by.code",
    "confirmed by": "confirmed_by.code",
}
_grant = click.argument("grant_id", type=click.UUID, metavar="GRANT")


@click.group()
def person() -> None:
    """Add people and hand out their enrolment codes."""


@person.command("add")
@click.argument("code")
@click.option("--name", required=True)
@click.option("--language", "languages", multiple=True, help="May be given again.")
@json_option
@needs_api
def add_person(
    api: Api, *, code: str, name: str, languages: tuple[str, ...], as_json: bool
) -> None:
    """Add a person, who can do nothing before they have a role and are enrolled.

    Example: chancery person add hocevar --name "Tina Hočevar" --language sl --language en
    """
    body = {"code": code, "name": name, "languages": list(languages)}
    show_fields(api.post("/persons", body), _PERSONS, as_json=as_json)


@person.command("list")
@limit_option
@json_option
@needs_api
def list_persons(api: Api, *, limit: int, as_json: bool) -> None:
    """List everybody.

    Example: chancery person list
    """
    show_items(api.items("/persons", limit=limit), _PERSONS, as_json=as_json)


@person.command()
@click.argument("code")
@json_option
@needs_api
def enrol(api: Api, *, code: str, as_json: bool) -> None:
    """Issue a one-time code for a person; doing it again ends their tokens and suspends their approvals.

    The code is shown this once: hand it over in person. It works for 24 hours.

    Example: chancery person enrol hocevar
    """
    issued = api.post(f"/persons/{code}/enrolment")
    if as_json:
        show_json(issued)
        return
    click.echo(f"{code}'s enrolment code, until {issued['expires_at']}, shown this once:")
    click.echo(f"  {issued['code']}")
    click.echo(f"They run: chancery login --url {api.url}")


@person.command()
@click.argument("code")
@json_option
@needs_api
def deactivate(api: Api, *, code: str, as_json: bool) -> None:
    """End a person's tokens and rights at once.

    Example: chancery person deactivate hocevar
    """
    show_fields(api.post(f"/persons/{code}/deactivate"), _PERSONS, as_json=as_json)


@click.group()
def grant() -> None:
    """Give and take roles; a second admin confirms each."""


@grant.command("add")
@click.argument("person")
@click.argument("role", type=click.Choice([each.value for each in Role]))
@click.argument("mission")
@click.option(
    "--office", help="In which they decide on posts, such as protocol; clearer or supervisor only."
)
@click.option("--from", "not_before", help="Such as 2027-03-28T00:00+01:00; default: at once.")
@click.option("--until", "not_after", help="Such as 2027-06-30T00:00+02:00; default: no end.")
@json_option
@needs_api
def add_grant(
    api: Api,
    /,
    *,
    as_json: bool,
    **members: str | None,
) -> None:
    """Propose a role for a person on a mission and all below it.

    Examples: chancery grant add zorc supervisor krv.hq
    chancery grant add pogacnik clearer krv.hq --office desk_officer.east --until 2027-06-30T00:00+02:00
    """
    given = {name: value for name, value in members.items() if value is not None}
    show_fields(api.post("/grants", given), _GRANTS, as_json=as_json)


@grant.command("list")
@limit_option
@json_option
@needs_api
def list_grants(api: Api, *, limit: int, as_json: bool) -> None:
    """List your own roles, and everybody's where you manage or audit.

    Example: chancery grant list
    """
    show_items(api.items("/grants", limit=limit), _GRANTS, as_json=as_json)


@grant.command()
@_grant
@json_option
@needs_api
def confirm(api: Api, *, grant_id: UUID, as_json: bool) -> None:
    """Put a role in force that another admin proposed; it approves nothing in its first 24 hours.

    Example: chancery grant confirm 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f
    """
    show_fields(api.post(f"/grants/{grant_id}/confirm"), _GRANTS, as_json=as_json)


@grant.command()
@_grant
@json_option
@needs_api
def revoke(api: Api, *, grant_id: UUID, as_json: bool) -> None:
    """End a role at once.

    Example: chancery grant revoke 0190f1c2-7b7e-7a63-8f0e-0d9a5c1e2b3f
    """
    api.delete(f"/grants/{grant_id}")
    if as_json:
        show_json({"id": str(grant_id), "revoked": True})
    else:
        click.echo("The role has ended.")
