"""The adapters against the practice network: the happy path, and every way an answer can be lost."""

from abc import abstractmethod
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from adapters.base import Content, Credentials, Segment, fill
from adapters.bluesky import BlueskyAdapter
from adapters.egress import EgressPolicy
from adapters.errors import (
    CredentialsRejectedError,
    OutcomeUnknownError,
    RateLimitedError,
)
from adapters.http import PlatformHttp
from adapters.mastodon import MastodonAdapter
from scheduler.practice.accounts import NewAccount
from scheduler.practice.admin import Turn
from scheduler.practice.knobs import When
from scheduler.practice.model import Platform
from scheduler.practice.network import PracticeNetwork
from tests.contracts.adapter_contract import TEXT, slots
from tests.contracts.happy_path_contract import HappyPathContract, Live

LOST = {
    "the answer is lost": Turn(lose_answer=True, count=1),
    "the answer is a page": Turn(html=True, count=1),
    "the answer breaks off": Turn(truncate=True, count=1),
    "500 after the effect": Turn(status=500, when=When.AFTER, count=1),
    "503 after the effect": Turn(status=503, when=When.AFTER, count=1),
}


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[PracticeNetwork]:
    async with PracticeNetwork(tmp_path) as network:
        yield network


@pytest.fixture
async def http(network: PracticeNetwork) -> AsyncIterator[PlatformHttp]:
    pairs = set()
    for url in (network.mastodon_url, network.bluesky_url):
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        pairs.add((parts.hostname, parts.port))
    async with PlatformHttp(EgressPolicy(frozenset(pairs))) as http:
        yield http


class PracticeContract(HappyPathContract):
    platform: Platform

    @pytest.fixture
    @abstractmethod
    def live(self, network: PracticeNetwork, http: PlatformHttp) -> Live: ...

    async def ready(self, live: Live, text: str = TEXT) -> tuple[Credentials, bytes, datetime]:
        credentials = await self.log_in(live)
        now = datetime.now(UTC)
        content = Content(segments=(Segment(text=text),), language="sl")
        (template,) = live.adapter.render(content, credentials.external_id, {})
        return credentials, fill(template, slots(live.adapter.record_key(now, "k"), at=now)), now

    def posts(self, network: PracticeNetwork) -> int:
        return len(network.posts())

    @pytest.mark.parametrize("how", sorted(LOST))
    async def test_a_post_whose_answer_was_lost_is_found_and_is_there_once(
        self, live: Live, network: PracticeNetwork, how: str
    ) -> None:
        credentials, body, since = await self.ready(live)
        network.turn(self.platform, LOST[how])
        with pytest.raises(OutcomeUnknownError):
            await live.adapter.publish(credentials, body, "k")
        found = await live.adapter.find(credentials, body, "k", since)
        assert found is not None
        seen = await live.adapter.read_back(credentials, body, found)
        assert (seen.found, seen.differences) == (True, ())
        assert self.posts(network) == 1

    async def test_a_failure_before_the_effect_is_unknown_and_then_proven_absent(
        self, live: Live, network: PracticeNetwork
    ) -> None:
        credentials, body, since = await self.ready(live)
        network.turn(self.platform, Turn(status=500, when=When.BEFORE, count=1))
        with pytest.raises(OutcomeUnknownError):
            await live.adapter.publish(credentials, body, "k")
        assert await live.adapter.find(credentials, body, "k", since) is None
        assert self.posts(network) == 0

    async def test_the_networks_rate_limit_is_understood(
        self, live: Live, network: PracticeNetwork
    ) -> None:
        credentials, body, _ = await self.ready(live)
        network.turn(self.platform, Turn(status=429, retry_after=7, count=1))
        with pytest.raises(RateLimitedError) as caught:
            await live.adapter.publish(credentials, body, "k")
        assert timedelta(0) < caught.value.retry_after <= timedelta(minutes=5)

    async def test_a_wrong_secret_is_refused(self, live: Live) -> None:
        wrong = Live(live.adapter, self.with_wrong_secret(live.credentials))
        with pytest.raises(CredentialsRejectedError) as caught:
            await self.log_in(wrong)
        assert not caught.value.session_only

    def with_wrong_secret(self, credentials: Credentials) -> Credentials:
        return Credentials(
            base_url=credentials.base_url,
            external_id="",
            identifier=credentials.identifier,
            secret="wrong-secret",
            session=None,
        )


class TestMastodonOnThePracticeNetwork(PracticeContract):
    platform = Platform.MASTODON

    @pytest.fixture
    def live(self, network: PracticeNetwork, http: PlatformHttp) -> Live:
        new = NewAccount(handle="mzz", display_name="MZZ")
        account = network.open_account(Platform.MASTODON, new)
        login = Credentials(
            base_url=network.mastodon_url,
            external_id="",
            identifier="",
            secret=str(account["token"]),
            session=None,
        )
        return Live(MastodonAdapter(http), login)

    async def test_a_picture_still_in_work_is_waited_for(
        self, live: Live, network: PracticeNetwork
    ) -> None:
        network.turn(Platform.MASTODON, Turn(processing_ms=300, only="media"))
        await self.test_a_picture_keeps_its_alternative_text(live)

    async def test_a_server_that_ignores_the_key_shows_why_we_look_first(
        self, live: Live, network: PracticeNetwork
    ) -> None:
        credentials, body, _ = await self.ready(live)
        network.turn(Platform.MASTODON, Turn(honour_key=False))
        first = await live.adapter.publish(credentials, body, "k")
        second = await live.adapter.publish(credentials, body, "k")
        assert first.remote_id != second.remote_id


class TestBlueskyOnThePracticeNetwork(PracticeContract):
    platform = Platform.BLUESKY

    @pytest.fixture
    def live(self, network: PracticeNetwork, http: PlatformHttp) -> Live:
        new = NewAccount(handle="mzz.karvenia.example", display_name="MZZ")
        account = network.open_account(Platform.BLUESKY, new)
        login = Credentials(
            base_url=network.bluesky_url,
            external_id="",
            identifier="mzz.karvenia.example",
            secret=str(account["app_password"]),
            session=None,
        )
        return Live(BlueskyAdapter(http), login)

    async def test_an_expired_session_is_renewed(
        self, live: Live, network: PracticeNetwork
    ) -> None:
        credentials, body, _ = await self.ready(live)
        network.turn(Platform.BLUESKY, Turn(expire_sessions=True))
        with pytest.raises(CredentialsRejectedError) as caught:
            await live.adapter.publish(credentials, body, "k")
        assert caught.value.session_only
        renewed = await live.adapter.refresh(credentials)
        await live.adapter.publish(renewed, body, "k")
        assert self.posts(network) == 1
