import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import ClassVar

import pytest

from adapters.base import Adapter, Content, Credentials, LinkCard, Segment
from adapters.egress import EgressPolicy
from adapters.errors import CredentialsRejectedError, UnavailableError
from adapters.http import PlatformHttp
from adapters.webhook import WebhookAdapter
from tests.contracts.adapter_contract import SECRET, AdapterContract
from tests.contracts.fake_platform import Answer, FakePlatform, Received, answer
from tests.contracts.happy_path_contract import HappyPathContract, Live

PATH = "/hooks/chancery"


def credentials(base_url: str, identifier: str = PATH) -> Credentials:
    return Credentials(
        base_url=base_url, external_id=PATH, identifier=identifier, secret=SECRET, session=None
    )


class HastyWebhook(WebhookAdapter):
    capabilities = replace(WebhookAdapter.capabilities, publish_timeout=timedelta(milliseconds=300))


class TestWebhook(AdapterContract):
    publish_route: ClassVar[tuple[str, str]] = ("POST", PATH)

    def make(self, http: PlatformHttp) -> Adapter:
        return HastyWebhook(http)

    def credentials(self, base_url: str) -> Credentials:
        return credentials(base_url)

    def accepted(self, body: bytes) -> object:
        return {"id": "7", "url": f"https://mzz.karvenia.example/{json.loads(body)['key']}"}

    def refused(self, words: str) -> Answer:
        return answer(422, {"error": words})

    def unauthorized(self, words: str) -> Answer:
        return answer(401, {"error": words})

    async def test_the_key_travels_in_the_header_and_in_the_message(
        self, adapter: Adapter, platform: FakePlatform
    ) -> None:
        published = await self.publish(adapter, platform, answer(201, {"id": "same"}))
        (request,) = platform.received
        key = request.headers["idempotency-key"]
        assert key == request.json()["key"] == published.remote_id == "delivery-1"
        assert published.url == ""

    @pytest.mark.parametrize(
        ("status", "code"),
        [(401, "token_rejected"), (403, "not_permitted"), (410, "receiver_gone")],
    )
    async def test_each_documented_refusal_has_its_code(
        self, adapter: Adapter, platform: FakePlatform, status: int, code: str
    ) -> None:
        with pytest.raises(CredentialsRejectedError) as caught:
            await self.publish(adapter, platform, answer(status, {"error": "no"}))
        assert caught.value.code == code

    @pytest.mark.parametrize(
        "path",
        [
            "//evil.example/x",
            "/\\evil.example",
            "hooks",
            "https://evil.example/",
            "/a b",
            "/š",
            "/a\n",
        ],
    )
    async def test_no_identifier_leads_to_another_host(
        self, adapter: Adapter, platform: FakePlatform, path: str
    ) -> None:
        with pytest.raises(CredentialsRejectedError) as caught:
            await adapter.verify(credentials(platform.base_url, path))
        assert caught.value.code == "identifier_invalid"
        assert platform.received == []

    async def test_a_path_may_have_a_query(self, adapter: Adapter, platform: FakePlatform) -> None:
        platform.routes[("GET", "/in")] = answer(200, {"id": "1", "name": "MZZ", "max_length": 70})
        profile = await adapter.verify(credentials(platform.base_url, "/in?lane=7"))
        assert platform.received[0].query == {"lane": "7"}
        assert (profile.display_name, profile.limits) == ("MZZ", {"max_length": 70})
        assert profile.external_id == "/in?lane=7"

    async def test_an_address_with_a_path_of_its_own_is_refused(
        self, adapter: Adapter, platform: FakePlatform
    ) -> None:
        with pytest.raises(UnavailableError) as caught:
            await adapter.verify(credentials(f"{platform.base_url}/elsewhere"))
        assert caught.value.code == "egress_refused"


def test_the_message_says_all_that_was_approved() -> None:
    card = LinkCard(uri="https://mzz.karvenia.example/sl", title="MZZ", description="")
    content = Content(segments=(Segment(text="Več"),), language="pt-BR", card=card)
    assert WebhookAdapter(PlatformHttp(EgressPolicy())).render(content, PATH, {}) == (
        {
            "type": "post.publish",
            "key": {"$slot": "record_key"},
            "created_at": {"$slot": "created_at"},
            "text": "Več",
            "language": "pt-BR",
            "card": {"uri": card.uri, "title": "MZZ", "description": ""},
        },
    )


@dataclass(slots=True)
class KindReceiver:
    """The least receiver that behaves."""

    by_key: dict[str, dict[str, object]] = field(default_factory=dict)

    def greet(self, request: Received) -> Answer:
        if request.headers["authorization"] != f"Bearer {SECRET}":
            return answer(401, {"error": "whose token is this?"})
        return answer(200, {"id": "1", "name": "Ministrstvo", "max_length": 5000})

    def post(self, request: Received) -> Answer:
        key = request.headers["idempotency-key"]
        self.by_key.setdefault(key, {"id": str(len(self.by_key) + 1)})
        return answer(201, self.by_key[key])


class TestWebhookOnAKindReceiver(HappyPathContract):
    @pytest.fixture
    async def live(self) -> AsyncIterator[Live]:
        receiver = KindReceiver()
        routes = {("GET", PATH): receiver.greet, ("POST", PATH): receiver.post}
        async with FakePlatform(routes=dict(routes)) as platform:
            policy = EgressPolicy(frozenset({("127.0.0.1", platform.port)}))
            async with PlatformHttp(policy) as http:
                yield Live(
                    WebhookAdapter(http), replace(credentials(platform.base_url), external_id="")
                )
