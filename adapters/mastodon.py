"""Mastodon and servers that speak its API, https://docs.joinmastodon.org/methods/statuses/.

The Idempotency-Key is sent but never relied on: compatible servers ignore it, and Mastodon itself can lose it. A post
whose sending ended unclear is looked for among the account's own posts.
"""

from collections.abc import Mapping
from contextlib import aclosing
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import ClassVar, Final

import aiohttp

from adapters import answers, mastodon_status
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
from adapters.capabilities import MASTODON, measure
from adapters.checks import check_media, find_problems
from adapters.errors import (
    ContentRejectedError,
    CredentialsRejectedError,
)
from adapters.http import PlatformHttp, Request, endpoint
from adapters.markup import same_reading, similar_reading
from adapters.mastodon_api import MastodonApi, Step, cannot_tell, error_of, read

_UPLOAD_TIMEOUT: Final = timedelta(seconds=120)
_CLOCK_MARGIN: Final = timedelta(minutes=15)  # the server's clock may be behind ours


class MastodonAdapter:
    platform: ClassVar[str] = "mastodon"
    capabilities: ClassVar[Capabilities] = MASTODON

    def __init__(self, http: PlatformHttp) -> None:
        self._api = MastodonApi(http)

    def length(self, text: str, limits: Mapping[str, int]) -> Length:
        return measure(self.capabilities, text, limits)

    def problems(self, content: Content, limits: Mapping[str, int]) -> tuple[Problem, ...]:
        found = find_problems(content, self.capabilities, limits, self.length)
        kept = mastodon_status.kept_language(content.language)
        if kept.lower() == content.language.lower() or not content.segments:
            return found
        message = f"Mastodon keeps only “{kept}” of the language “{content.language}”."
        shortened = Problem(code="language_shortened", message=message, segment=0, blocks=False)
        return (*found, shortened)

    def render(
        self, content: Content, external_id: str, limits: Mapping[str, int]
    ) -> tuple[JsonObject, ...]:
        del external_id  # the token alone names the account
        if problems := [each for each in self.problems(content, limits) if each.blocks]:
            raise ValueError(f"cannot be carried: {problems[0].code}")
        templates: list[JsonObject] = []
        for index, segment in enumerate(content.segments):
            template: dict[str, Json] = {
                "status": segment.text,
                # Said explicitly, so that the account's own defaults change nothing.
                "visibility": "public",
                "sensitive": False,
                "language": mastodon_status.kept_language(content.language),
            }
            if segment.media:
                template["media_ids"] = [
                    {"$slot": "media", "sha256": media.sha256} for media in segment.media
                ]
            if index:
                template["in_reply_to_id"] = {"$slot": "parent"}
            templates.append(template)
        return tuple(templates)

    def record_key(self, created_at: datetime, key: str) -> str:
        del created_at
        return key

    async def verify(self, credentials: Credentials) -> Profile:
        reply = await self._api.get(credentials, "/api/v1/accounts/verify_credentials")
        # Compatible servers answer so to a bad token; nothing else in this request can be wrong.
        if reply.status == HTTPStatus.BAD_REQUEST:
            raise CredentialsRejectedError(
                "the server refused the token", code="token_rejected", evidence=reply.evidence
            )
        account = read(reply, credentials, Step.READ)
        external_id, username = answers.id_of(account), answers.text_of(account, "username")
        if not external_id or not username:
            raise answers.unclear(reply, publishing=False)
        instance = await self._api.instance(credentials)
        server = answers.text_of(instance, "domain") or answers.text_of(instance, "uri")
        return Profile(
            external_id=external_id,
            handle=f"@{username}@{server}",
            display_name=answers.text_of(account, "display_name") or username,
            url=answers.web_url_of(account, "url"),
            software=await self._api.software(credentials) or answers.text_of(instance, "version"),
            limits=mastodon_status.read_limits(instance),
        )

    def needs_refresh(self, credentials: Credentials, now: datetime) -> bool:
        del credentials, now  # tokens do not expire by themselves
        return False

    async def refresh(self, credentials: Credentials) -> Credentials:
        return credentials

    async def upload(self, credentials: Credentials, media: MediaRef, data: bytes) -> Json:
        check_media(media, data)
        form = aiohttp.FormData()
        form.add_field(
            "file",
            data,
            filename=f"picture.{media.mime.partition('/')[2]}",
            content_type=media.mime,
        )
        form.add_field("description", media.alt)
        reply = await self._api.send(
            credentials,
            Request(
                method="POST",
                url=endpoint(credentials.base_url, "/api/v2/media"),
                body=form,
                timeout=_UPLOAD_TIMEOUT,
            ),
        )
        attachment = read(reply, credentials, Step.UPLOAD)
        media_id = answers.id_of(attachment)
        if not media_id:
            raise answers.unclear(reply, publishing=False)
        if reply.status == HTTPStatus.ACCEPTED:
            attachment = await self._api.processed(credentials, media_id)
        if (attachment.get("description") or "") != media.alt.strip():
            raise ContentRejectedError(
                "the server did not keep the alternative text",
                code="alt_not_kept",
                evidence=reply.evidence,
            )
        return media_id

    async def publish(self, credentials: Credentials, body: bytes, key: str) -> Published:
        reply = await self._api.send(
            credentials,
            Request(
                method="POST",
                url=endpoint(credentials.base_url, "/api/v1/statuses"),
                headers={"Content-Type": "application/json", "Idempotency-Key": key},
                body=body,
                timeout=self.capabilities.publish_timeout,
                publishes=True,
            ),
        )
        status = read(reply, credentials, Step.PUBLISH)
        published = mastodon_status.read_published(status)
        if published is None:
            raise answers.unclear(reply, publishing=True)
        return published

    async def find(
        self,
        credentials: Credentials,
        body: bytes,
        key: str,
        since: datetime,
        taken: frozenset[str] = frozenset(),
    ) -> Published | None:
        del key  # the API cannot be asked for it
        sent = answers.sent_object(body)
        edited = False
        async with aclosing(self._api.own_since(credentials, since - _CLOCK_MARGIN)) as own:
            async for status in own:
                if answers.id_of(status) in taken:
                    continue
                if await self._is_ours(credentials, sent, status):
                    published = mastodon_status.read_published(status)
                    if published is None:
                        raise cannot_tell("the post found has no address")
                    return published
                edited = edited or status.get("edited_at") is not None
        if edited:
            raise cannot_tell("a post of that time was edited since")
        return None

    async def read_back(
        self, credentials: Credentials, body: bytes, published: Published
    ) -> ReadBack:
        reply = await self._api.get(credentials, f"/api/v1/statuses/{published.remote_id}")
        if reply.status in {404, 410} and error_of(reply):
            return ReadBack(found=False, differences=("absent",), evidence_sha256=reply.sha256)
        status = read(reply, credentials, Step.READ)
        if answers.id_of(status) != published.remote_id:
            raise answers.unclear(reply, publishing=False)
        sent = answers.sent_object(body)
        text = answers.text_of(sent, "status")
        source = await self._api.source(credentials, published.remote_id)
        if source is None:
            same = same_reading(text, answers.text_of(status, "content"))
        else:
            same = mastodon_status.as_stored(source) == mastodon_status.as_stored(text)
        found = [] if same else ["text"]
        found += mastodon_status.differences(sent, status)
        return ReadBack(found=True, differences=tuple(found), evidence_sha256=reply.sha256)

    async def _is_ours(
        self, credentials: Credentials, sent: JsonObject, status: JsonObject
    ) -> bool:
        text = answers.text_of(sent, "status")
        if not mastodon_status.same_place(sent, status):
            return False
        if not similar_reading(text, answers.text_of(status, "content")):
            return False
        source = await self._api.source(credentials, answers.id_of(status))
        return source is None or mastodon_status.as_stored(source) == mastodon_status.as_stored(
            text
        )
