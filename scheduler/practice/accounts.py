"""Opening an account on the practice network, and the secret that its owner will use."""

import base64
import hashlib
import re
import secrets
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from scheduler.canonical import sha256_hex
from scheduler.practice.model import Account, Effect, JsonObject, Kind, Platform
from scheduler.practice.world import World

_USERNAME: Final = re.compile(r"[a-zA-Z0-9_]+(?:[.-]+[a-zA-Z0-9_]+)*")
_DOMAIN: Final = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{0,62}")
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"


class NewAccount(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    handle: str = Field(min_length=1, max_length=253)
    display_name: str = Field(min_length=1, max_length=200)
    note: str = ""
    language: str = "en"


def open_account(world: World, platform: Platform, new: NewAccount, origin: str) -> JsonObject:
    """Open an account, or give the one of that handle a further secret; the secret is shown only here.

    Raises:
        ValueError: the platform knows no such handle.
    """
    handle = plain_handle(platform, new.handle)
    known = world.books[platform].account_by_handle(handle)
    secret = _new_secret(platform)
    account_id = known.id if known else _new_id(world, platform, handle)
    world.commit(
        Effect(
            platform=platform,
            kind=Kind.ACCOUNT,
            at_ns=world.now_ns(),
            account=known.handle if known else handle,
            remote_id=account_id,
            extra={
                "display_name": new.display_name,
                "note": new.note,
                "language": new.language,
                "secret": sha256_hex(secret.encode()),
            },
        )
    )
    account = world.books[platform].accounts[account_id]
    if platform is Platform.MASTODON:
        return {"id": account.id, "token": secret, "url": page_url(account, origin)}
    return {
        "did": account.id,
        "handle": account.handle,
        "app_password": secret,
        "url": page_url(account, origin),
    }


def plain_handle(platform: Platform, handle: str) -> str:
    """`@mfa@server.example` is `mfa` on its own Mastodon server; a Bluesky handle is a domain.

    Raises:
        ValueError: not a handle there.
    """
    plain = handle.removeprefix("@")
    if platform is Platform.MASTODON:
        plain = plain.partition("@")[0]
        pattern = _USERNAME
    else:
        plain = plain.lower()
        pattern = _DOMAIN
    if not pattern.fullmatch(plain):
        raise ValueError(f"{handle!r} is no {platform} handle")
    return plain


def page_url(account: Account, origin: str) -> str:
    if account.platform is Platform.MASTODON:
        return f"{origin}/@{account.handle}"
    return f"{origin}/profile/{account.handle}"


def _new_id(world: World, platform: Platform, handle: str) -> str:
    """Mastodon counts; a DID comes from the handle, so that it survives a reset."""
    if platform is Platform.MASTODON:
        return world.next_id(platform)
    digest = hashlib.sha256(handle.encode()).digest()
    return "did:plc:" + base64.b32encode(digest).decode().lower()[:24]


def _new_secret(platform: Platform) -> str:
    if platform is Platform.MASTODON:
        return secrets.token_urlsafe(32)
    groups = ("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))
    return "-".join(groups)
