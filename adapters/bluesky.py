"""Bluesky through the account's personal data server, https://docs.bsky.app/docs/advanced-guides/posts.

A post is written with `putRecord` under a key of our own and `swapRecord: null`, which creates it or says that it is
there. So sending twice cannot make two posts, and `getRecord` proves presence and absence.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar, Final

from yarl import URL

from adapters import answers, bluesky_record
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
from adapters.bluesky_api import (
    BlueskyApi,
    Session,
    Step,
    did_of,
    error_of,
    read,
    read_session,
    write_session,
)
from adapters.capabilities import BLUESKY, measure
from adapters.checks import check_media, find_problems
from adapters.errors import (
    AdapterError,
    CredentialsRejectedError,
    OutcomeUnknownError,
    UnavailableError,
)
from adapters.http import PlatformHttp, Reply

_UPLOAD_TIMEOUT: Final = timedelta(seconds=120)
_REFRESH_EARLY: Final = timedelta(minutes=5)


class BlueskyAdapter:
    platform: ClassVar[str] = "bluesky"
    capabilities: ClassVar[Capabilities] = BLUESKY

    def __init__(self, http: PlatformHttp) -> None:
        self._api = BlueskyApi(http)

    def length(self, text: str, limits: Mapping[str, int]) -> Length:
        return measure(self.capabilities, text, limits)

    def problems(self, content: Content, limits: Mapping[str, int]) -> tuple[Problem, ...]:
        return find_problems(content, self.capabilities, limits, self.length)

    def render(
        self, content: Content, external_id: str, limits: Mapping[str, int]
    ) -> tuple[JsonObject, ...]:
        if problems := self.problems(content, limits):
            raise ValueError(f"cannot be carried: {problems[0].code}")
        if not did_of({"did": external_id}):
            raise ValueError("the account has no DID yet")
        return tuple(
            {
                "repo": external_id,
                "collection": bluesky_record.COLLECTION,
                "rkey": {"$slot": "record_key"},
                "swapRecord": None,
                "validate": True,
                "record": bluesky_record.build_record(content, index),
            }
            for index in range(len(content.segments))
        )

    def record_key(self, created_at: datetime, key: str) -> str:
        return bluesky_record.build_tid(created_at, key)

    async def verify(self, credentials: Credentials) -> Profile:
        if read_session(credentials) is None:
            credentials = await self.refresh(credentials)
        reply = await self._api.get(credentials, "com.atproto.server.getSession")
        account = read(reply, credentials, Step.READ)
        did, handle = did_of(account), answers.text_of(account, "handle")
        if not did or not handle:
            raise answers.unclear(reply, publishing=False)
        return Profile(
            external_id=did,
            handle=f"@{handle}",
            display_name=await self._display_name(credentials, did) or handle,
            url=f"{web_address(credentials.base_url)}/profile/{handle}",
            software=await self._api.software(credentials),
            limits={},
        )

    def needs_refresh(self, credentials: Credentials, now: datetime) -> bool:
        session = read_session(credentials)
        if session is None:
            return True
        expiry = session.expires_at()
        return expiry is not None and expiry - now < _REFRESH_EARLY

    async def refresh(self, credentials: Credentials) -> Credentials:
        answer = await self._new_session(credentials)
        did = did_of(answer)
        session = Session(
            answers.text_of(answer, "accessJwt"), answers.text_of(answer, "refreshJwt")
        )
        if not (did and session.access and session.refresh):
            raise UnavailableError("the new session cannot be read", code="session_unreadable")
        if credentials.external_id not in {"", did}:
            raise CredentialsRejectedError(
                "the login belongs to another account", code="other_account"
            )
        if answer.get("active") is False:
            raise CredentialsRejectedError("the account is not active", code="account_refused")
        return replace(credentials, external_id=did, session=write_session(session))

    async def upload(self, credentials: Credentials, media: MediaRef, data: bytes) -> Json:
        check_media(media, data)
        reply = await self._api.post(
            credentials,
            "com.atproto.repo.uploadBlob",
            data,
            mime=media.mime,
            within=_UPLOAD_TIMEOUT,
        )
        blob = answers.inner(read(reply, credentials, Step.UPLOAD), "blob")
        # A blob is named by its content, so the answer itself proves what was stored.
        if answers.inner(blob, "ref").get("$link") != bluesky_record.raw_cid(media.sha256):
            raise answers.unclear(reply, publishing=False)
        return blob

    async def publish(self, credentials: Credentials, body: bytes, key: str) -> Published:
        del key  # it is in the body, as the record key
        sent = answers.sent_object(body)
        reply = await self._api.post(
            credentials,
            "com.atproto.repo.putRecord",
            body,
            mime="application/json",
            within=self.capabilities.publish_timeout,
            publishes=True,
        )
        if error_of(reply) == "InvalidSwap":
            return await self._already_there(credentials, sent, reply)
        published = _published(credentials, sent, read(reply, credentials, Step.PUBLISH))
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
        del key, since, taken  # the record key in the body names the post
        return await self._look(credentials, answers.sent_object(body))

    async def _look(self, credentials: Credentials, sent: JsonObject) -> Published | None:
        reply = await self._get_record(credentials, sent)
        if error_of(reply) == "RecordNotFound":
            return None
        answer = read(reply, credentials, Step.READ)
        published = _published(credentials, sent, answer)
        if published is None or answer.get("value") != sent["record"]:
            raise UnavailableError(
                "another record stands under the key of this post",
                code="lookup_open",
                evidence=reply.evidence,
            )
        return published

    async def read_back(
        self, credentials: Credentials, body: bytes, published: Published
    ) -> ReadBack:
        del published  # the body names the same record
        sent = answers.sent_object(body)
        reply = await self._get_record(credentials, sent)
        if error_of(reply) == "RecordNotFound":
            return ReadBack(found=False, differences=("absent",), evidence_sha256=reply.sha256)
        answer = read(reply, credentials, Step.READ)
        if bluesky_record.strong_ref(sent, answer) is None:
            raise answers.unclear(reply, publishing=False)
        stored = answers.inner(answer, "value")
        return ReadBack(
            found=True,
            differences=bluesky_record.differences(answers.inner(sent, "record"), stored),
            evidence_sha256=reply.sha256,
        )

    async def _new_session(self, credentials: Credentials) -> JsonObject:
        session = read_session(credentials)
        if session is not None:
            try:
                return await self._api.renew(credentials, session)
            except CredentialsRejectedError as ended:
                if not ended.session_only:
                    raise
        return await self._api.log_in(credentials)

    async def _display_name(self, credentials: Credentials, did: str) -> str:
        try:
            reply = await self._api.get(credentials, "app.bsky.actor.getProfile", actor=did)
        except UnavailableError:
            return ""  # a server without a view of the network still publishes
        return answers.text_of(answers.json_object(reply), "displayName")

    async def _get_record(self, credentials: Credentials, sent: JsonObject) -> Reply:
        query = {key: answers.text_of(sent, key) for key in ("repo", "collection", "rkey")}
        return await self._api.get(credentials, "com.atproto.repo.getRecord", **query)

    async def _already_there(
        self, credentials: Credentials, sent: JsonObject, refused: Reply
    ) -> Published:
        """Return the record that an earlier sending made, if it is the approved one."""
        try:
            found = await self._look(credentials, sent)
        except AdapterError:
            found = None  # an earlier sending may have made it: that is for a later look
        if found is None:
            raise OutcomeUnknownError(
                "a record stands under the key of this post, and it cannot be confirmed as ours",
                code="record_exists",
                evidence=refused.evidence,
            )
        return found


def _published(credentials: Credentials, sent: JsonObject, answer: JsonObject) -> Published | None:
    ref = bluesky_record.strong_ref(sent, answer)
    if ref is None:
        return None
    return Published(
        remote_id=answers.text_of(ref, "uri"),
        url=f"{web_address(credentials.base_url)}/profile/{sent['repo']}/post/{sent['rkey']}",
        ref=ref,
    )


def web_address(base_url: str) -> str:
    """Return where people read posts: a server without TLS is a private one and shows its own."""
    base = URL(base_url)
    return "https://bsky.app" if base.scheme == "https" else str(base.origin())
