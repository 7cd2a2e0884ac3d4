"""Requests to a Mastodon server: the token, documented refusals, pages and waiting."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum
from http import HTTPStatus
from typing import Final

from yarl import URL

from adapters import answers, mastodon_status
from adapters.base import Credentials, JsonObject
from adapters.errors import (
    AdapterError,
    ContentRejectedError,
    CredentialsRejectedError,
    UnavailableError,
)
from adapters.http import PlatformHttp, Reply, Request, endpoint

_READ_TIMEOUT: Final = timedelta(seconds=20)
_PROCESSING_WAITS_S: Final = (0.5, 1, 2, 4, 8, 15, 15, 15)
_PAGE: Final = 40
_MOST_PAGES: Final = 25
_RESET: Final = "X-RateLimit-Reset"
_UNFINISHED: Final = "finished processing"


class Step(StrEnum):
    READ = "read"
    UPLOAD = "upload"
    PUBLISH = "publish"


class MastodonApi:
    def __init__(self, http: PlatformHttp) -> None:
        self._http = http

    async def send(self, credentials: Credentials, request: Request) -> Reply:
        headers = {**request.headers, **answers.bearer(credentials.secret)}
        return await self._http.send(replace(request, headers=headers))

    async def get(self, credentials: Credentials, path: str, **query: str) -> Reply:
        url = endpoint(credentials.base_url, path, **query)
        return await self.send(credentials, Request(method="GET", url=url, timeout=_READ_TIMEOUT))

    async def processed(self, credentials: Credentials, media_id: str) -> JsonObject:
        """Wait for a picture that the server is still working on; about a minute at most."""
        for wait_s in _PROCESSING_WAITS_S:
            await self._http.pause(wait_s)
            reply = await self.get(credentials, f"/api/v1/media/{media_id}")
            attachment = read(reply, credentials, Step.UPLOAD)
            if reply.status != HTTPStatus.PARTIAL_CONTENT:
                return attachment
        raise UnavailableError("the server is still processing a picture", code="media_processing")

    async def own_since(
        self, credentials: Credentials, since: datetime
    ) -> AsyncGenerator[JsonObject, None]:
        """Yield all own posts since then, newest first; UnavailableError if that cannot be known."""
        path = f"/api/v1/accounts/{credentials.external_id}/statuses"
        query = {"limit": str(_PAGE), "exclude_reblogs": "true"}
        for _ in range(_MOST_PAGES):
            page = read_page(await self.get(credentials, path, **query), credentials)
            if not page:
                return
            for status in page:
                moment = mastodon_status.created_at(status)
                if moment is None:
                    raise cannot_tell("a post has no time")
                if moment < since:
                    return
                yield status
            query["max_id"] = answers.id_of(page[-1])
        raise cannot_tell("too many posts since then")

    async def source(self, credentials: Credentials, remote_id: str) -> str | None:
        """Return the text as written; None where the server or the token's scopes do not offer it."""
        reply = await self.get(credentials, f"/api/v1/statuses/{remote_id}/source")
        if reply.status in {403, 404, 405, 501}:
            return None
        text = read(reply, credentials, Step.READ).get("text")
        return text if isinstance(text, str) else None

    async def instance(self, credentials: Credentials) -> JsonObject:
        reply = await self.get(credentials, "/api/v2/instance")
        if reply.status == HTTPStatus.NOT_FOUND:  # before Mastodon 4.0
            reply = await self.get(credentials, "/api/v1/instance")
        return read(reply, credentials, Step.READ)

    async def software(self, credentials: Credentials) -> str:
        """Return name and version by nodeinfo, http://nodeinfo.diaspora.software; empty if not told."""
        base_url = credentials.base_url
        try:
            index = await self._http.send(_plain_get(endpoint(base_url, "/.well-known/nodeinfo")))
            href = mastodon_status.nodeinfo_href(answers.json_object(index))
            # Only the path is taken: the address must not lead to another host.
            reply = await self._http.send(_plain_get(endpoint(base_url, URL(href).path)))
        except (UnavailableError, ValueError):
            return ""  # a server need not have it
        software = answers.inner(answers.json_object(reply), "software")
        return f"{answers.text_of(software, 'name')} {answers.text_of(software, 'version')}".strip()


def _plain_get(url: URL) -> Request:
    return Request(method="GET", url=url, timeout=_READ_TIMEOUT)


def error_of(reply: Reply) -> str:
    return answers.text_of(answers.json_object(reply), "error")


def read(reply: Reply, credentials: Credentials, step: Step) -> JsonObject:
    if not answers.is_ok(reply):
        raise _refusal(reply, credentials, step)
    value = answers.json_object(reply)
    if not value:
        raise answers.unclear(reply, publishing=step is Step.PUBLISH)
    return value


def read_page(reply: Reply, credentials: Credentials) -> list[JsonObject]:
    if not answers.is_ok(reply):
        raise _refusal(reply, credentials, Step.READ)
    page = answers.parse_json(reply.body)
    if not isinstance(page, list) or not all(isinstance(status, dict) for status in page):
        raise answers.unclear(reply, publishing=False)
    return [status for status in page if isinstance(status, dict)]


def cannot_tell(why: str) -> UnavailableError:
    return UnavailableError(f"cannot tell whether it was published: {why}", code="lookup_open")


def _refusal(reply: Reply, credentials: Credentials, step: Step) -> AdapterError:
    """Sort the documented refusals, https://docs.joinmastodon.org/methods/statuses/#create."""
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        return answers.rate_limited(reply, _RESET)
    said = error_of(reply)
    words = answers.quoted(said, credentials.secret)
    kind: type[ContentRejectedError | CredentialsRejectedError | UnavailableError]
    match reply.status, step:
        case 401, _ if said:
            kind, code = CredentialsRejectedError, "token_rejected"
            message = f"the server refused the token: {words}"
        case 403, _ if said:
            kind, code = CredentialsRejectedError, "not_permitted"
            message = f"the account may not do this: {words}"
        case 422, _ if _UNFINISHED in said:
            kind, code = UnavailableError, "media_processing"
            message = "the server is still processing a picture"
        case 422, Step.UPLOAD | Step.PUBLISH if said:
            kind, code = ContentRejectedError, "content_refused"
            message = f"the server refused the post: {words}"
        case 404, Step.PUBLISH if said:
            kind, code = ContentRejectedError, "parent_missing"
            message = "the post to reply to is gone"
        case _:
            return answers.unclear(reply, publishing=step is Step.PUBLISH)
    return kind(message, code=code, evidence=reply.evidence)
