from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

import pytest

from adapters.base import (
    Adapter,
    Content,
    Credentials,
    LinkCard,
    Segment,
)
from adapters.bluesky import BlueskyAdapter
from adapters.egress import EgressPolicy
from adapters.errors import (
    CredentialsRejectedError,
    OutcomeUnknownError,
    RateLimitedError,
    UnavailableError,
)
from adapters.http import PlatformHttp
from tests.contracts.adapter_contract import NOW, SECRET, AdapterContract, picture
from tests.contracts.bluesky_server import (
    ACCESS,
    CID,
    DID,
    GET,
    HANDLE,
    PUT,
    RENEW,
    KindServer,
    body_of,
    credentials,
    error,
    put_ok,
    session,
    stored,
)
from tests.contracts.fake_platform import RESET, Answer, FakePlatform, answer
from tests.contracts.happy_path_contract import HappyPathContract, Live


class HastyBluesky(BlueskyAdapter):
    capabilities = replace(BlueskyAdapter.capabilities, publish_timeout=timedelta(milliseconds=300))


class TestBluesky(AdapterContract):
    publish_route: ClassVar[tuple[str, str]] = PUT
    secrets: ClassVar[tuple[str, ...]] = (SECRET, ACCESS, RENEW)

    def make(self, http: PlatformHttp) -> Adapter:
        return HastyBluesky(http)

    def credentials(self, base_url: str) -> Credentials:
        return credentials(base_url)

    def with_token(self, credentials: Credentials, token: str) -> Credentials:
        return replace(credentials, session=session(access=token))

    def accepted(self, body: bytes) -> object:
        return put_ok(body)

    def refused(self, words: str) -> Answer:
        return error(400, "InvalidRequest", f"Invalid app.bsky.feed.post record: {words}")

    def unauthorized(self, words: str) -> Answer:
        return error(400, "InvalidToken", f"Token could not be verified {words}")

    @pytest.mark.parametrize(
        ("said", "session_only"),
        [
            (error(400, "ExpiredToken"), True),
            (error(400, "InvalidToken"), True),
            (error(401, "AuthMissing"), True),
            (error(401, "AuthenticationRequired"), False),
            (error(400, "AccountTakedown"), False),
            (error(403, "AccountDeactivated"), False),
        ],
    )
    async def test_an_ended_session_is_told_from_a_refused_account(
        self, adapter: Adapter, platform: FakePlatform, said: Answer, session_only: bool
    ) -> None:
        with pytest.raises(CredentialsRejectedError) as caught:
            await self.publish(adapter, platform, said)
        assert caught.value.session_only is session_only

    @pytest.mark.parametrize(
        "said",
        [
            error(500, "InternalServerError"),
            error(502, "UpstreamFailure"),
            error(500, "ExpiredToken"),
            error(400, "SomethingNew"),
            error(409, "InvalidSwap"),
            answer(200, {"uri": f"at://{DID}/app.bsky.feed.post/another", "cid": CID}),
            answer(200, {"uri": f"at://{DID}/app.bsky.feed.post/3n2vft43afu27", "cid": 7}),
        ],
    )
    async def test_what_the_card_does_not_explain_is_unknown(
        self, adapter: Adapter, platform: FakePlatform, said: Answer
    ) -> None:
        with pytest.raises(OutcomeUnknownError):
            await self.publish(adapter, platform, said)

    async def test_a_picture_that_the_server_forgot_is_uploaded_again(
        self, adapter: Adapter, platform: FakePlatform
    ) -> None:
        with pytest.raises(UnavailableError) as caught:
            await self.publish(adapter, platform, error(400, "BlobNotFound"))
        assert caught.value.code == "media_expired"

    async def test_the_reset_time_is_read_by_the_servers_clock(
        self, adapter: Adapter, platform: FakePlatform
    ) -> None:
        reset = str(int(NOW.timestamp()) + 90)
        headers = {"Date": "Tue, 24 Nov 2026 09:30:00 GMT", "RateLimit-Reset": reset}
        said = answer(429, {"error": "RateLimitExceeded"}, headers=headers)
        with pytest.raises(RateLimitedError) as caught:
            await self.publish(adapter, platform, said)
        assert caught.value.retry_after == timedelta(seconds=90)

    async def test_a_record_that_is_there_already_is_the_post(
        self, adapter: Adapter, platform: FakePlatform
    ) -> None:
        body = self.body(adapter, self.credentials(platform.base_url))
        platform.routes[GET] = answer(200, stored(body))
        published = await self.publish(adapter, platform, error(400, "InvalidSwap"))
        assert published.remote_id == put_ok(body)["uri"]

    @pytest.mark.parametrize(
        "look",
        [
            answer(200, stored(body_of("Drugo"))),
            error(400, "RecordNotFound"),
            error(400, "ExpiredToken"),
            error(500, "InternalServerError"),
            RESET,
        ],
    )
    async def test_a_record_that_cannot_be_confirmed_is_unknown_never_unsent(
        self, adapter: Adapter, platform: FakePlatform, look: Answer
    ) -> None:
        platform.routes[GET] = look
        with pytest.raises(OutcomeUnknownError) as caught:
            await self.publish(adapter, platform, error(400, "InvalidSwap"))
        assert caught.value.code == "record_exists"

    @pytest.mark.parametrize("kept", [None, "", "[]", "{", '{"access": "a"}'])
    async def test_without_a_session_nothing_is_sent(
        self, adapter: Adapter, platform: FakePlatform, kept: str | None
    ) -> None:
        login = replace(credentials(platform.base_url), session=kept)
        with pytest.raises(CredentialsRejectedError) as caught:
            await adapter.publish(login, body_of(), "delivery-1")
        assert caught.value.session_only
        assert platform.received == []


class TestBlueskyRender:
    adapter = BlueskyAdapter(PlatformHttp(EgressPolicy()))

    def codes(self, text: str, **values: object) -> set[str]:
        card = values.get("card")
        assert card is None or isinstance(card, LinkCard)
        segment = Segment(text=text, media=(picture(),) if values.get("media") else ())
        content = Content(segments=(segment,), language="sl", card=card)
        return {problem.code for problem in self.adapter.problems(content, {})}

    def test_the_template_is_the_whole_request(self) -> None:
        media = picture()
        segments = (Segment(text="Ena #dve", media=(media,)), Segment(text="Dve"))
        first, second = self.adapter.render(Content(segments=segments, language="sr-Latn"), DID, {})
        assert first == {
            "repo": DID,
            "collection": "app.bsky.feed.post",
            "rkey": {"$slot": "record_key"},
            "swapRecord": None,
            "validate": True,
            "record": {
                "$type": "app.bsky.feed.post",
                "text": "Ena #dve",
                "createdAt": {"$slot": "created_at"},
                "langs": ["sr-Latn"],
                "facets": (
                    {
                        "index": {"byteStart": 4, "byteEnd": 8},
                        "features": [{"$type": "app.bsky.richtext.facet#tag", "tag": "dve"}],
                    },
                ),
                "embed": {
                    "$type": "app.bsky.embed.images",
                    "images": [
                        {
                            "image": {"$slot": "media", "sha256": media.sha256},
                            "alt": media.alt,
                            "aspectRatio": {"width": 1, "height": 1},
                        }
                    ],
                },
            },
        }
        record = second["record"]
        assert isinstance(record, dict)
        assert record["reply"] == {"root": {"$slot": "root"}, "parent": {"$slot": "parent"}}

    def test_a_text_may_be_short_in_signs_and_too_long_in_bytes(self) -> None:
        family = "👨‍👩‍👧‍👦"
        assert self.codes(family * 120) == set()
        assert self.codes(family * 121) == {"text_too_many_bytes"}
        assert self.codes("ж" * 300) == set()
        assert self.codes("ж" * 301) == {"text_too_long"}

    def test_a_card_needs_an_address_and_no_pictures(self) -> None:
        card = LinkCard(uri="https://mzz.karvenia.example/sl", title="MZZ", description="")
        assert self.codes("Več", card=card) == set()
        assert self.codes("Več", card=card, media=True) == {"card_with_media"}
        for uri in ("javascript:alert(1)", "https://a.example/ b", "mzz.karvenia.example"):
            assert self.codes("Več", card=replace(card, uri=uri)) == {"card_invalid"}
        assert self.codes(" ", card=card) == {"text_empty"}

    def test_an_empty_content_with_a_card_is_still_empty(self) -> None:
        card = LinkCard(uri="https://mzz.karvenia.example/sl", title="MZZ", description="")
        content = Content(segments=(), language="sl", card=card)
        assert [problem.code for problem in self.adapter.problems(content, {})] == ["text_empty"]

    def test_nothing_is_rendered_before_the_account_is_known(self) -> None:
        content = Content(segments=(Segment(text="a"),), language="sl")
        for external_id in ("", HANDLE, "did:plc:x/../y"):
            with pytest.raises(ValueError, match="DID"):
                self.adapter.render(content, external_id, {})


@pytest.fixture
async def platform() -> AsyncIterator[FakePlatform]:
    async with FakePlatform() as platform:
        yield platform


@pytest.fixture
async def adapter(platform: FakePlatform) -> AsyncIterator[BlueskyAdapter]:
    policy = EgressPolicy(frozenset({("127.0.0.1", platform.port)}))
    async with PlatformHttp(policy) as http:
        yield BlueskyAdapter(http)


class TestBlueskyHappyPath(HappyPathContract):
    @pytest.fixture
    def live(self, adapter: BlueskyAdapter, platform: FakePlatform) -> Live:
        KindServer().install(platform)
        login = replace(credentials(platform.base_url), external_id="", session=None)
        return Live(adapter, login)
