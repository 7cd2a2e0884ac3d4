"""Reading what a server answered: JSON or nothing, header times, and words that are safe to repeat to a person."""

import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from adapters.base import Json, JsonObject
from adapters.errors import (
    AdapterError,
    CredentialsRejectedError,
    OutcomeUnknownError,
    RateLimitedError,
    UnavailableError,
)
from adapters.http import Reply

_OK: Final = range(200, 300)
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_WEB_URL: Final = re.compile(r"https?://[^\s<>\"\x00-\x1f]{1,2000}", re.IGNORECASE)
_BEARER: Final = re.compile(r"[!-~]{1,8000}")
_LONG_RUN: Final = re.compile(r"[^\s]{20,}")
_QUOTE_LENGTH: Final = 200
_SHORTEST_WAIT: Final = timedelta(seconds=1)
_USUAL_WAIT: Final = timedelta(minutes=5)
_LONGEST_WAIT: Final = timedelta(hours=24)
_LATEST_UNIX: Final = 253_402_300_799  # the year 9999


def parse_json(body: bytes) -> Json:
    """Return None for all that is not one UTF-8 JSON value with unlike keys."""
    try:
        value: Json = json.loads(
            body.decode("utf-8-sig"), object_pairs_hook=_unlike_keys, parse_constant=_no_constant
        )
        if _SURROGATE.search(body):  # a pair is a character, one alone is none: nobody can store it
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value


def _unlike_keys(pairs: list[tuple[str, Json]]) -> JsonObject:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def json_object(reply: Reply) -> JsonObject:
    """Return the object in the answer; an empty one if there is none to be read."""
    value = parse_json(reply.body)
    return value if isinstance(value, dict) else {}


def sent_object(body: bytes) -> JsonObject:
    """Return the request body that `fill` made; raises ValueError for another."""
    value = parse_json(body)
    if isinstance(value, dict):
        return value
    raise ValueError("the body is not one that `fill` made")


def is_ok(reply: Reply) -> bool:
    return reply.status in _OK


def inner(value: JsonObject, *keys: str) -> JsonObject:
    """Follow `keys` down; an empty object where the way ends."""
    for key in keys:
        child = value.get(key)
        value = child if isinstance(child, dict) else {}
    return value


def text_of(value: JsonObject, key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""


def id_of(value: JsonObject, key: str = "id") -> str:
    """Return an id that is safe in a path; some servers send it as a number. Empty if there is none."""
    found = value.get(key)
    if isinstance(found, int) and not isinstance(found, bool):
        found = str(found)
    return found if isinstance(found, str) and _ID.fullmatch(found) else ""


def web_url_of(value: JsonObject, key: str) -> str:
    found = text_of(value, key)
    return found if _WEB_URL.fullmatch(found) else ""


def bearer(token: str) -> dict[str, str]:
    """Return the Authorization header; raises CredentialsRejectedError for what no header can hold."""
    if not _BEARER.fullmatch(token):
        raise CredentialsRejectedError(
            "the stored token is empty or holds characters that no token has",
            code="secret_malformed",
        )
    return {"Authorization": f"Bearer {token}"}


def quoted(text: str, *secrets: str | None) -> str:
    """Return the platform's words for a person, without secrets or anything long enough to be one."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "…")
    words = " ".join(_LONG_RUN.sub("…", text).split())
    printable = "".join(char for char in words if char.isprintable())
    return printable[:_QUOTE_LENGTH]


def unclear(reply: Reply, *, publishing: bool) -> AdapterError:
    """For an answer that no card explains: look first if something may be public, else try again."""
    kind = OutcomeUnknownError if publishing else UnavailableError
    return kind(
        f"the platform answered {reply.status} in a way its documentation does not explain",
        code="answer_unclear",
        evidence=reply.evidence,
    )


def rate_limited(reply: Reply, reset_header: str) -> RateLimitedError:
    """Take the wait from Retry-After or the platform's own header, by the server's clock; else five minutes."""
    server_now = _http_date(reply.headers.get("Date", ""))
    wait = _seconds(reply.headers.get("Retry-After", ""))
    for header in ("Retry-After", reset_header):
        if wait is None and server_now is not None:
            moment = _moment(reply.headers.get(header, ""))
            wait = moment - server_now if moment is not None else None
    wait = _USUAL_WAIT if wait is None else min(max(wait, _SHORTEST_WAIT), _LONGEST_WAIT)
    return RateLimitedError(
        "the platform asks us to wait",
        code="rate_limited",
        retry_after=wait,
        evidence=reply.evidence,
    )


def iso_time(text: str) -> datetime | None:
    """Return an aware time, or None; a time without a zone is none."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _seconds(text: str) -> timedelta | None:
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:12]), _LATEST_UNIX))
    return None


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def _moment(text: str) -> datetime | None:
    if text.isascii() and text.isdigit():
        unix = int(text[:20])
        return datetime.fromtimestamp(unix, UTC) if unix <= _LATEST_UNIX else None
    return iso_time(text) or _http_date(text)
