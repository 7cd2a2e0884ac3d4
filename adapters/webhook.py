"""A receiver of the ministry's own, such as its web site or a gateway: one JSON message a post (`docs/webhooks.md`).

It is told the same `Idempotency-Key` at every attempt, but nothing proves that it keeps it: what ends unclear is for a
person.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from http import HTTPStatus
from typing import ClassVar, Final

from yarl import URL

from adapters import answers
from adapters.base import (
    Capabilities,
    Content,
    Credentials,
    Json,
    JsonObject,
    Length,
    MediaRef,
    Problem,
    Profile,
    Published,
    ReadBack,
)
from adapters.capabilities import WEBHOOK, measure
from adapters.checks import check_media, find_problems
from adapters.errors import ContentRejectedError, CredentialsRejectedError, UnavailableError
from adapters.http import PlatformHttp, Reply, Request, endpoint

_READ_TIMEOUT: Final = timedelta(seconds=15)
#: With an `error` in words they say that nothing was published, and nothing will be.
_REFUSALS: Final[
    Mapping[int, tuple[type[ContentRejectedError | CredentialsRejectedError], str, str]]
] = {
    401: (CredentialsRejectedError, "token_rejected", "refused the token"),
    403: (CredentialsRejectedError, "not_permitted", "does not let the account publish"),
    410: (CredentialsRejectedError, "receiver_gone", "wants no more posts"),
    422: (ContentRejectedError, "content_refused", "refused the post"),
}
#: Printable ASCII; a second slash or a backslash would begin the name of another host.
_PATH: Final = re.compile(r"/(?:[!-.0-\[\]-~][!-~]*)?")


class WebhookAdapter:
    platform: ClassVar[str] = "webhook"
    capabilities: ClassVar[Capabilities] = WEBHOOK

    def __init__(self, http: PlatformHttp) -> None:
        self._http = http

    def length(self, text: str, limits: Mapping[str, int]) -> Length:
        return measure(self.capabilities, text, limits)

    def problems(self, content: Content, limits: Mapping[str, int]) -> tuple[Problem, ...]:
        return find_problems(content, self.capabilities, limits, self.length)

    def render(
        self, content: Content, external_id: str, limits: Mapping[str, int]
    ) -> tuple[JsonObject, ...]:
        del external_id  # the address alone names the receiver
        if problems := self.problems(content, limits):
            raise ValueError(f"cannot be carried: {problems[0].code}")
        template: dict[str, Json] = {
            "type": "post.publish",
            "key": {"$slot": "record_key"},
            "created_at": {"$slot": "created_at"},
            "text": content.segments[0].text,
            "language": content.language,
        }
        if card := content.card:
            template["card"] = {
                "uri": card.uri,
                "title": card.title,
                "description": card.description,
            }
        return (template,)

    def record_key(self, created_at: datetime, key: str) -> str:
        del created_at
        return key

    async def verify(self, credentials: Credentials) -> Profile:
        reply = await self._send(credentials, "GET", timeout=_READ_TIMEOUT)
        told = _read(reply, credentials, publishing=False)
        address = URL(credentials.base_url)
        limit = told.get("max_length")
        return Profile(
            external_id=credentials.identifier or "/",
            handle=f"@{address.authority}{credentials.identifier}",
            display_name=answers.text_of(told, "name") or address.authority,
            url=credentials.base_url,
            software=answers.text_of(told, "software") or "webhook",
            limits={"max_length": limit} if type(limit) is int and limit > 0 else {},
        )

    def needs_refresh(self, credentials: Credentials, now: datetime) -> bool:
        del credentials, now  # the token is the receiver's own affair
        return False

    async def refresh(self, credentials: Credentials) -> Credentials:
        return credentials

    async def upload(self, credentials: Credentials, media: MediaRef, data: bytes) -> Json:
        del credentials
        check_media(media, data)
        raise ContentRejectedError("a webhook carries no pictures", code="media_unsupported")

    async def publish(self, credentials: Credentials, body: bytes, key: str) -> Published:
        reply = await self._send(
            credentials,
            "POST",
            timeout=self.capabilities.publish_timeout,
            headers={"Content-Type": "application/json", "Idempotency-Key": key},
            body=body,
        )
        told = _read(reply, credentials, publishing=True)
        # The key is what both sides know the post by: a receiver's own ids need not differ.
        return Published(remote_id=key, url=answers.text_of(told, "url"), ref=told["id"])

    async def find(
        self,
        credentials: Credentials,
        body: bytes,
        key: str,
        since: datetime,
        taken: frozenset[str] = frozenset(),
    ) -> Published | None:
        del credentials, body, key, since, taken
        raise _cannot_be_asked()

    async def read_back(
        self, credentials: Credentials, body: bytes, published: Published
    ) -> ReadBack:
        del credentials, body, published
        raise _cannot_be_asked()

    async def _send(
        self,
        credentials: Credentials,
        method: str,
        *,
        timeout: timedelta,  # noqa: ASYNC109 - the request's own
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply:
        request = Request(
            method=method,
            url=_address(credentials.base_url, credentials.identifier),
            timeout=timeout,
            headers={**(headers or {}), **answers.bearer(credentials.secret)},
            body=body,
            publishes=body is not None,
        )
        return await self._http.send(request)


@lru_cache(maxsize=4096)
def _address(base_url: str, path: str) -> URL:
    if path and not _PATH.fullmatch(path):
        raise CredentialsRejectedError(
            "the identifier is the path of the receiver's address, such as /hooks/chancery",
            code="identifier_invalid",
        )
    return endpoint(base_url, "/").join(URL(path or "/"))


def _read(reply: Reply, credentials: Credentials, *, publishing: bool) -> JsonObject:
    """Return an answer with the `id` that says it was understood; raise a refusal with its `error`."""
    told = answers.json_object(reply)
    if answers.is_ok(reply) and answers.id_of(told) and _has_fit_url(told):
        return told
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        raise answers.rate_limited(reply, "X-RateLimit-Reset")
    refusal = _REFUSALS.get(reply.status)
    if refusal is None or not (said := answers.text_of(told, "error")):
        raise answers.unclear(reply, publishing=publishing)
    kind, code, what = refusal
    words = answers.quoted(said, credentials.secret)
    raise kind(f"the receiver {what}: {words}", code=code, evidence=reply.evidence)


def _has_fit_url(told: JsonObject) -> bool:
    return "url" not in told or bool(answers.web_url_of(told, "url"))


def _cannot_be_asked() -> UnavailableError:
    return UnavailableError("a webhook cannot be asked what it published", code="lookup_open")
