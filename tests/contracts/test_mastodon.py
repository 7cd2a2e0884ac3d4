import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

import pytest

from adapters.base import Adapter, Content, Credentials, Segment, fill
from adapters.egress import EgressPolicy
from adapters.errors import (
    ContentRejectedError,
    CredentialsRejectedError,
    OutcomeUnknownError,
    RateLimitedError,
    UnavailableError,
)
from adapters.http import PlatformHttp
from adapters.mastodon import MastodonAdapter
from tests.contracts.adapter_contract import NOW, AdapterContract, picture, slots
from tests.contracts.fake_platform import Answer, FakePlatform, answer, truncated
from tests.contracts.happy_path_contract import HappyPathContract, Live
from tests.contracts.mastodon_server import PUBLISH, KindMastodon, credentials, status


class HastyMastodon(MastodonAdapter):
    capabilities = replace(
        MastodonAdapter.capabilities, publish_timeout=timedelta(milliseconds=300)
    )


class TestMastodon(AdapterContract):
    publish_route: ClassVar[tuple[str, str]] = PUBLISH

    def make(self, http: PlatformHttp) -> Adapter:
        return HastyMastodon(http)

    def credentials(self, base_url: str) -> Credentials:
        return credentials(base_url)

    def accepted(self, body: bytes) -> object:
        return status(text=json.loads(body)["status"])

    def refused(self, words: str) -> Answer:
        return answer(422, {"error": f"Validation failed: {words}"})

    def unauthorized(self, words: str) -> Answer:
        return answer(401, {"error": f"The access token is invalid {words}"})

    async def test_the_key_travels_with_every_sending(
        self, adapter: Adapter, platform: FakePlatform
    ) -> None:
        await self.publish(adapter, platform, answer(200, status()))
        assert platform.received[0].headers["idempotency-key"] == "delivery-1"

    async def test_a_number_as_id_is_read_and_the_uri_stands_in_for_a_missing_url(
        self, adapter: Adapter, platform: FakePlatform
    ) -> None:
        said = status() | {"id": 113_000_000_000_000_001, "url": None}
        published = await self.publish(adapter, platform, answer(200, said))
        assert published.remote_id == published.ref == "113000000000000001"
        assert published.url.endswith("/statuses/1")

    @pytest.mark.parametrize(
        ("code", "said", "kind", "stable"),
        [
            (403, "outside the authorized scopes", CredentialsRejectedError, "not_permitted"),
            (404, "Record not found", ContentRejectedError, "parent_missing"),
            (
                422,
                "Cannot attach files that have not finished processing. Try again in a moment!",
                UnavailableError,
                "media_processing",
            ),
        ],
    )
    async def test_each_documented_refusal_has_its_next_step(
        self,
        adapter: Adapter,
        platform: FakePlatform,
        code: int,
        said: str,
        kind: type[Exception],
        stable: str,
    ) -> None:
        with pytest.raises(kind) as caught:
            await self.publish(adapter, platform, answer(code, {"error": said}))
        assert getattr(caught.value, "code", "") == stable

    async def test_a_refusal_cut_short_is_unknown(
        self, adapter: Adapter, platform: FakePlatform
    ) -> None:
        cut = truncated({"error": "Validation failed"})
        said = replace(cut, raw=cut.raw.replace(b"200", b"422", 1))
        with pytest.raises(OutcomeUnknownError):
            await self.publish(adapter, platform, said)

    async def test_the_reset_time_is_read_by_the_servers_clock(
        self, adapter: Adapter, platform: FakePlatform
    ) -> None:
        headers = {
            "Date": "Tue, 24 Nov 2026 09:30:00 GMT",
            "X-RateLimit-Reset": "2026-11-24T09:42:00.000000Z",
        }
        with pytest.raises(RateLimitedError) as caught:
            await self.publish(adapter, platform, answer(429, {"error": "x"}, headers=headers))
        assert caught.value.retry_after == timedelta(minutes=12)

    async def test_the_idea_of_a_token_never_leaves_for_another_host(
        self, adapter: Adapter, platform: FakePlatform
    ) -> None:
        for address in (
            f"{platform.base_url}/elsewhere",
            f"{platform.base_url}?a=b",
            "https://user:pass@social.karvenia.example",
            "file:///etc/passwd",
            "https://",
            "https://[::1",
            "",
        ):
            with pytest.raises(UnavailableError) as caught:
                await adapter.verify(credentials(address))
            assert caught.value.code == "egress_refused"
        assert platform.received == []


class TestMastodonRender:
    adapter = MastodonAdapter(PlatformHttp(EgressPolicy()))

    def test_the_body_states_all_that_the_accounts_defaults_could_change(self) -> None:
        media = picture()
        segments = (Segment(text="Ena", media=(media,)), Segment(text="Dva"))
        first, second = self.adapter.render(
            Content(segments=segments, language="sr-Latn"), "108", {}
        )
        assert first == {
            "status": "Ena",
            "visibility": "public",
            "sensitive": False,
            "language": "sr",
            "media_ids": [{"$slot": "media", "sha256": media.sha256}],
        }
        assert second["in_reply_to_id"] == {"$slot": "parent"}
        body = fill(second, slots("key", parent="17"))
        assert json.loads(body)["in_reply_to_id"] == "17"

    @pytest.mark.parametrize(
        ("tag", "kept"),
        [("sl", "sl"), ("pt-BR", "pt"), ("sr-Latn", "sr"), ("zh-TW", "zh-TW"), ("zh-hk", "zh-HK")],
    )
    def test_a_language_that_is_kept_in_part_only_is_told_and_stops_nothing(
        self, tag: str, kept: str
    ) -> None:
        content = Content(segments=(Segment(text="Bom dia"),), language=tag)
        told = [(each.code, each.blocks) for each in self.adapter.problems(content, {})]
        assert told == ([] if kept.lower() == tag.lower() else [("language_shortened", False)])
        [body] = self.adapter.render(content, "108", {})
        assert body["language"] == kept

    def test_links_and_mentions_count_as_the_server_counts_them(self) -> None:
        length = self.adapter.length
        assert length("https://mzz.karvenia.example/very/long/address/indeed", {}).used == 23
        assert length("https://mzz.karvenia.example", {"url_length": 30}).used == 30
        assert length("@mzz@social.karvenia.example hi", {}).used == len("@mzz hi")

    async def test_a_token_does_not_age(self) -> None:
        login = credentials("https://x.karvenia.example")
        assert not self.adapter.needs_refresh(login, NOW)
        assert await self.adapter.refresh(login) is login


@pytest.fixture
async def platform() -> AsyncIterator[FakePlatform]:
    async with FakePlatform() as platform:
        yield platform


@pytest.fixture
async def waits() -> list[float]:
    return []


@pytest.fixture
async def adapter(platform: FakePlatform, waits: list[float]) -> AsyncIterator[MastodonAdapter]:
    async def wait(seconds: float) -> None:
        waits.append(seconds)

    policy = EgressPolicy(frozenset({("127.0.0.1", platform.port)}))
    async with PlatformHttp(policy, sleep=wait) as http:
        yield MastodonAdapter(http)


class TestMastodonHappyPath(HappyPathContract):
    @pytest.fixture
    def live(self, adapter: MastodonAdapter, platform: FakePlatform) -> Live:
        KindMastodon().install(platform)
        login = replace(credentials(platform.base_url), external_id="")
        return Live(adapter, login)
