"""`chancery account`: profiles on platforms, connected with a secret that nobody sees again."""

from typing import Any, Final
from uuid import UUID

import click

from scheduler.commands.client import Api, needs_api
from scheduler.commands.printing import (
    json_option,
    limit_option,
    read_secret,
    show_fields,
    show_items,
    show_json,
)
from scheduler.errors import NotFoundError

_EVERY: Final = 100_000
_COLUMNS: Final = {
    "code": "code",
    "state": "state",
    "mission": "mission",
    "platform": "platform",
    "handle": "handle",
    "language": "language",
    "spacing (s)": "spacing_s",
    "checked": "checked_at",
    "sign-in ends": "sign_in_ends_at",
    "reason": "state_reason",
    "id": "id",
}
_account = click.argument("account", metavar="ACCOUNT")
_reason = click.option("--reason", required=True, help="Kept in the audit log.")


@click.group()
def account() -> None:
    """Connect accounts, and take them in and out of service; ACCOUNT is its short name or id."""


@account.command()
@click.argument("code")
@click.option("--mission", required=True, help="Whose account it is, such as krv.hq.")
@click.option("--platform", required=True, help="bluesky, mastodon or webhook.")
@click.option("--url", "base_url", required=True, help="The server's address.")
@click.option("--identifier", default="", help="The login name on Bluesky; the path of a webhook.")
@click.option("--language", required=True, help="The language its posts are in.")
@click.option(
    "--secret-file",
    type=click.File(),
    help="The token or app password from a file, - for stdin; default: you are asked.",
)
@json_option
@needs_api
def add(
    api: Api,
    /,
    *,
    secret_file: Any,  # noqa: ANN401 - an open text file
    as_json: bool,
    **members: str,
) -> None:
    """Connect a profile: the platform is asked whose token it is, and the token is sealed.

    The token is never an argument, because other users of this machine see those.

    Example: chancery account add hq.mastodon --mission krv.hq --platform mastodon
    --url https://social.karvenia.example --language en --secret-file -
    """
    secret = secret_file.read().strip() if secret_file else read_secret("Token or app password")
    found = api.post("/accounts", {**members, "secret": secret})
    show_fields(found, _COLUMNS, as_json=as_json)


@account.command("list")
@limit_option
@json_option
@needs_api
def list_accounts(api: Api, *, limit: int, as_json: bool) -> None:
    """List the accounts that you may see.

    Example: chancery account list
    """
    show_items(api.items("/accounts", limit=limit), _COLUMNS, as_json=as_json)


@account.command()
@_account
@json_option
@needs_api
def check(api: Api, *, account: str, as_json: bool) -> None:
    """Sign in again; an account whose token is refused is paused.

    Example: chancery account check hq.mastodon
    """
    found = api.post(f"/accounts/{_find_id(api, account)}/check")
    show_fields(found, _COLUMNS, as_json=as_json)


@account.command()
@_account
@_reason
@json_option
@needs_api
def pause(api: Api, *, account: str, reason: str, as_json: bool) -> None:
    """Take an account out of service: nothing is published on it until it is resumed.

    Example: chancery account pause hq.mastodon --reason "the server moves"
    """
    found = api.post(f"/accounts/{_find_id(api, account)}/pause", {"reason": reason})
    show_fields(found, _COLUMNS, as_json=as_json)


@account.command()
@_account
@_reason
@json_option
@needs_api
def resume(api: Api, *, account: str, reason: str, as_json: bool) -> None:
    """Put a paused account back into service.

    Example: chancery account resume hq.mastodon --reason "the server has moved"
    """
    found = api.post(f"/accounts/{_find_id(api, account)}/resume", {"reason": reason})
    show_fields(found, _COLUMNS, as_json=as_json)


@account.command()
@_account
@click.option("--ends", help="The instant, such as 2027-05-01T00:00+02:00.")
@click.option("--never", is_flag=True, help="It does not end by itself, or nobody knows.")
@json_option
@needs_api
def expiry(api: Api, *, account: str, ends: str | None, never: bool, as_json: bool) -> None:
    """Tell when an account's token ends for good; somebody is told 14, 7 and 1 days before.

    Example: chancery account expiry hq.mastodon --ends 2027-05-01T00:00+02:00
    """
    if (ends is None) is not never:
        raise click.UsageError("say when: --ends 2027-05-01T00:00+02:00, or --never")
    found = api.post(f"/accounts/{_find_id(api, account)}/expiry", {"ends_at": ends})
    show_fields(found, _COLUMNS, as_json=as_json)


@account.command()
@_account
@click.argument("seconds", type=click.IntRange(0, 24 * 3600))
@json_option
@needs_api
def spacing(api: Api, *, account: str, seconds: int, as_json: bool) -> None:
    """Keep so many SECONDS between an account's posts; 0: none. A consular alert does not wait.

    Example: chancery account spacing hq.mastodon 120
    """
    found = api.post(f"/accounts/{_find_id(api, account)}/spacing", {"seconds": seconds})
    show_fields(found, _COLUMNS, as_json=as_json)


@account.command()
@_account
@_reason
@json_option
@needs_api
def remove(api: Api, *, account: str, reason: str, as_json: bool) -> None:
    """Disconnect an account for good: its keys are destroyed, its past stays on record.

    Example: chancery account remove hq.mastodon --reason "closed"
    """
    account_id = _find_id(api, account)
    api.delete(f"/accounts/{account_id}", {"reason": reason})
    if as_json:
        show_json({"id": account_id, "removed": True})
    else:
        click.echo(f"{account} is disconnected.")


def _find_id(api: Api, account: str) -> str:
    """The id of an account named by its short name or id."""
    try:
        return str(UUID(account))
    except ValueError:
        for each in api.items("/accounts", limit=_EVERY):
            if each["code"] == account:
                return str(each["id"])
    raise NotFoundError(f"no account {account} that you may see")
