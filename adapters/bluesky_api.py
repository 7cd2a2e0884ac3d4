"""XRPC requests to a personal data server: sessions, refusals by error name, records."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Final

from adapters import answers
from adapters.base import Credentials, JsonObject
from adapters.errors import (
    AdapterError,
    ContentRejectedError,
    CredentialsRejectedError,
    UnavailableError,
)
from adapters.http import PlatformHttp, Reply, Request, endpoint

READ_TIMEOUT: Final = timedelta(seconds=20)
_DID: Final = re.compile(r"did:[a-z]+:[A-Za-z0-9._:%-]{1,200}")
_RESET: Final = "RateLimit-Reset"
# Authentication fails with 400 as well as 401: only the name tells.
_REFUSING: Final = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}
)
_SESSION_ERRORS: Final = frozenset({"ExpiredToken", "InvalidToken", "AuthMissing"})
_ACCOUNT_ERRORS: Final = frozenset(
    {
        "AuthenticationRequired",
        "AuthFactorTokenRequired",
        "AccountTakedown",
        "AccountSuspended",
        "AccountDeactivated",
    }
)


class Step(StrEnum):
    READ = "read"
    UPLOAD = "upload"
    PUBLISH = "publish"


@dataclass(frozen=True, slots=True)
class Session:
    access: str = field(repr=False)
    refresh: str = field(repr=False)

    def expires_at(self) -> datetime | None:
        """Return the access token's `exp`; None if the token cannot be read."""
        claims = self.access.split(".")[1:2]
        try:
            payload = base64.urlsafe_b64decode("".join(claims) + "===")
        except ValueError:
            return None
        value = answers.parse_json(payload)
        expiry = value.get("exp") if isinstance(value, dict) else None
        if not isinstance(expiry, int) or not 0 < expiry < 2**35:
            return None
        return datetime.fromtimestamp(expiry, UTC)


def read_session(credentials: Credentials) -> Session | None:
    stored = answers.parse_json((credentials.session or "").encode())
    if not isinstance(stored, dict):
        return None
    access, refresh = answers.text_of(stored, "access"), answers.text_of(stored, "refresh")
    return Session(access, refresh) if access and refresh else None


def write_session(session: Session) -> str:
    return json.dumps({"access": session.access, "refresh": session.refresh})


def did_of(value: JsonObject) -> str:
    found = answers.text_of(value, "did")
    return found if _DID.fullmatch(found) else ""


def error_of(reply: Reply) -> str:
    """Return the error's name if the answer is a documented kind of refusal."""
    if reply.status not in _REFUSING:
        return ""
    return answers.text_of(answers.json_object(reply), "error")


class BlueskyApi:
    def __init__(self, http: PlatformHttp) -> None:
        self._http = http

    async def log_in(self, credentials: Credentials) -> JsonObject:
        """Open a session with the app password: at most 30 in five minutes and 300 a day."""
        return await self._session(
            credentials,
            "com.atproto.server.createSession",
            {},
            {"identifier": credentials.identifier, "password": credentials.secret},
        )

    async def renew(self, credentials: Credentials, session: Session) -> JsonObject:
        """Trade the refresh token for a new pair of tokens."""
        headers = answers.bearer(session.refresh)
        return await self._session(credentials, "com.atproto.server.refreshSession", headers, None)

    async def _session(
        self,
        credentials: Credentials,
        method: str,
        headers: Mapping[str, str],
        values: JsonObject | None,
    ) -> JsonObject:
        body = None if values is None else json.dumps(values).encode()
        kind = {} if values is None else {"Content-Type": "application/json"}
        reply = await self._http.send(
            Request(
                method="POST",
                url=endpoint(credentials.base_url, f"/xrpc/{method}"),
                headers={**headers, **kind},
                body=body,
                timeout=READ_TIMEOUT,
            )
        )
        return read(reply, credentials, Step.READ)

    async def get(self, credentials: Credentials, method: str, **query: str) -> Reply:
        url = endpoint(credentials.base_url, f"/xrpc/{method}", **query)
        headers = answers.bearer(_open_session(credentials).access)
        return await self._http.send(
            Request(method="GET", url=url, headers=headers, timeout=READ_TIMEOUT)
        )

    async def post(
        self,
        credentials: Credentials,
        method: str,
        body: bytes,
        *,
        mime: str,
        within: timedelta,
        publishes: bool = False,
    ) -> Reply:
        headers = {"Content-Type": mime, **answers.bearer(_open_session(credentials).access)}
        return await self._http.send(
            Request(
                method="POST",
                url=endpoint(credentials.base_url, f"/xrpc/{method}"),
                headers=headers,
                body=body,
                timeout=within,
                publishes=publishes,
            )
        )

    async def software(self, credentials: Credentials) -> str:
        url = endpoint(credentials.base_url, "/xrpc/_health")
        reply = await self._http.send(Request(method="GET", url=url, timeout=READ_TIMEOUT))
        return f"PDS {answers.text_of(answers.json_object(reply), 'version')}".strip()


def _open_session(credentials: Credentials) -> Session:
    session = read_session(credentials)
    if session is None:
        raise CredentialsRejectedError(
            "there is no session yet", code="session_missing", session_only=True
        )
    return session


def read(reply: Reply, credentials: Credentials, step: Step) -> JsonObject:
    """Return the object in a good answer; else raise the error that says what to do next."""
    if not answers.is_ok(reply):
        raise refusal(reply, credentials, step)
    value = answers.json_object(reply)
    if not value:
        raise answers.unclear(reply, publishing=step is Step.PUBLISH)
    return value


def refusal(reply: Reply, credentials: Credentials, step: Step) -> AdapterError:
    """Sort the errors a PDS documents by name, https://atproto.com/specs/xrpc#error-responses."""
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        return answers.rate_limited(reply, _RESET)
    name = error_of(reply)
    if name in _SESSION_ERRORS:
        return CredentialsRejectedError(
            "the session has ended",
            code="session_ended",
            session_only=True,
            evidence=reply.evidence,
        )
    if name in _ACCOUNT_ERRORS:
        return CredentialsRejectedError(
            f"the server refused the account: {name}",
            code="account_refused",
            evidence=reply.evidence,
        )
    if name == "BlobNotFound" and step is Step.PUBLISH:
        return UnavailableError(
            "an uploaded picture is gone", code="media_expired", evidence=reply.evidence
        )
    if name == "InvalidRequest" and step is not Step.READ:
        return ContentRejectedError(
            f"the server refused the post: {_words(reply, credentials)}",
            code="content_refused",
            evidence=reply.evidence,
        )
    return answers.unclear(reply, publishing=step is Step.PUBLISH)


def _words(reply: Reply, credentials: Credentials) -> str:
    session = read_session(credentials) or Session("", "")
    said = answers.text_of(answers.json_object(reply), "message")
    return answers.quoted(said, credentials.secret, session.access, session.refresh)
