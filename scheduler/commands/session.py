"""`chancery login|logout|whoami`: a person's own token, which nobody else ever sees."""

from typing import Any, Final

import click

from scheduler.commands.client import Api, current_login, needs_api
from scheduler.commands.logins import ClientSettings, Login, LoginFile, normalise
from scheduler.commands.printing import json_option, read_secret, show_fields, show_json
from scheduler.commands.refusals import RefusedError
from scheduler.domain.people import Permission

_ENDED: Final = "token_rejected"  #: the API's code for a token that is revoked or over


@click.command()
@click.option("--url", help="The installation's address; default: CHANCERY_URL.")
@click.option(
    "--scope",
    "scopes",
    type=click.Choice([each.value for each in Permission]),
    multiple=True,
    help="Get a token for only so much; default: all that you may do.",
)
@json_option
def login(url: str | None, scopes: tuple[str, ...], *, as_json: bool) -> None:
    """Turn the one-time enrolment code from an admin into your own token, kept on this machine.

    The code is asked for without showing it, or read as one line from stdin.

    Example: chancery login --url https://chancery.karvenia.example
    """
    settings = ClientSettings()
    address = url or settings.url
    if address is None:
        raise click.UsageError("name the installation: --url https://chancery.karvenia.example")
    file = LoginFile(settings.login_file)
    address = normalise(address)
    api = Api(address)
    body: dict[str, object] = {"code": read_secret("Enrolment code")}
    if scopes:
        body["scopes"] = list(scopes)
    issued = api.post("/enrolments/redeem", body)
    file.keep(
        Login(url=address, token=issued["token"]),
        person=issued["person"]["code"],
        expires_at=issued["expires_at"],
    )
    if as_json:
        show_json({"url": address, "person": issued["person"], "expires_at": issued["expires_at"]})
        return
    person = issued["person"]
    click.echo(
        f"Logged in to {address} as {person['name']} ({person['code']}) until {issued['expires_at']}."
    )


@click.command()
@json_option
@needs_api
def logout(api: Api, *, as_json: bool) -> None:
    """End the token of this machine, here and at the installation.

    Example: chancery logout
    """
    used = current_login()
    try:
        api.delete("/tokens/current")
    except RefusedError as exc:
        if exc.code != _ENDED:  # then only the file is left
            raise
    file = LoginFile(ClientSettings().login_file)
    kept = file.find(used.url)
    if kept is not None and kept.token == used.token:
        file.forget(used.url)
    if as_json:
        show_json({"url": used.url, "logged_out": True})
    else:
        click.echo(f"Logged out of {used.url}.")


@click.command()
@json_option
@needs_api
def whoami(api: Api, *, as_json: bool) -> None:
    """Say whose token is used, at which installation, and what it is good for.

    Example: chancery whoami
    """
    found = api.get("/whoami")
    if as_json:
        show_json({"url": api.url, **found})
        return
    roles = [_describe(each) for each in found["grants"]]
    fields = {
        "person": "person.name",
        "code": "person.code",
        "installation": "url",
        "roles": "roles",
        "token may": "scopes",
        "token until": "token_expires_at",
        "no approvals until": "approvals_suspended_until",
    }
    show_fields({**found, "url": api.url, "roles": roles}, fields, as_json=False)


def _describe(grant: dict[str, Any]) -> str:
    young = grant["approves_from"]
    office = f" ({grant['office']})" if grant["office"] else ""
    role = f"{grant['role']}{office} at {grant['mission']}"
    return f"{role} (approves from {young})" if young else role
