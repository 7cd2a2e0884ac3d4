"""Posts to a receiver of the ministry's own, by the real engine: sent once, and what ends unclear is for a person."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from adapters.registry import build
from adapters.webhook import WebhookAdapter
from scheduler.app import application
from scheduler.db import accounts as account_rows
from scheduler.db.tables import Post
from scheduler.domain.delivery_flow import DeliveryState
from scheduler.practice.network import PracticeNetwork
from scheduler.services import accounts
from scheduler.services.accounts import NewAccount, SignInRefusedError
from scheduler.settings import Settings
from tests.contracts.fake_platform import Answer, FakePlatform, Received, answer
from tests.support.world import World, found_world

PATH = "/hooks/chancery"
TOKEN = "of-the-web-site"


@dataclass
class Site:
    world: World
    receiver: FakePlatform

    def posts(self) -> list[Received]:
        return self.receiver.requests_to("POST", PATH)


@pytest.fixture
async def site(settings: Settings, practice: PracticeNetwork) -> AsyncIterator[Site]:
    async with FakePlatform() as receiver:
        allowed = settings.egress_allow | {f"127.0.0.1:{receiver.port}"}
        wider = settings.model_copy(update={"egress_allow": allowed})
        receiver.routes = {
            ("GET", PATH): _greet,
            ("POST", PATH): answer(201, {"id": "1", "url": "https://mzz.karvenia.example/1"}),
        }
        async with application(wider, service="test", platforms=build, ringing=False) as app:
            world = await found_world(app, practice)
            await _connect(world, receiver, TOKEN)
            yield Site(world, receiver)


def _greet(request: Received) -> Answer:
    if request.headers["authorization"] != f"Bearer {TOKEN}":
        return answer(401, {"error": "whose token is this?"})
    return answer(200, {"id": "1", "name": "Ministrstvo"})


async def _connect(
    world: World, receiver: FakePlatform, secret: str, code: str = "hq.site"
) -> None:
    new = NewAccount(
        code=code,
        mission="krv.hq",
        platform="webhook",
        base_url=receiver.base_url,
        identifier=PATH,
        language="en",
        secret=secret,
    )
    await accounts.connect(world.app.open_uow, world.app.kit, await world.actor("bizjak"), new)


async def test_a_post_is_brought_once_and_is_not_read_back(site: Site) -> None:
    async with site.world.working():
        post = await site.world.scheduled(targets=("hq.site",))
        [sent] = await site.world.settle(post, lambda each: each.state == "sent")
        await asyncio.sleep(1.5)  # longer than a read-back waits
    [request] = site.posts()
    told = request.json()
    assert (told["text"], told["language"]) == ("Good morning from Lipovec!", "en")
    assert request.headers["idempotency-key"] == told["key"] == sent.remote_id
    assert (sent.remote_url, sent.wake_at) == ("https://mzz.karvenia.example/1", None)
    assert (await site.world.deliveries(post))[0].state == DeliveryState.SENT
    async with site.world.app.open_uow.read() as uow:
        assert (await uow.session.get_one(Post, post.id)).state == "closed"


async def test_an_answer_that_says_nothing_clear_is_for_a_person_and_never_sent_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = timedelta(seconds=1)
    soon = replace(WebhookAdapter.capabilities, settle=second, publish_timeout=second)
    monkeypatch.setattr(WebhookAdapter, "capabilities", soon)
    site.receiver.routes["POST", PATH] = answer(500, b"<html>")
    async with site.world.working():
        post = await site.world.scheduled(targets=("hq.site",))
        [held] = await site.world.settle(post, lambda each: each.state == "held")
    assert held.reason.startswith("outcome_unknown: ")
    assert len(site.posts()) == 1


async def test_a_refused_token_connects_nothing_and_pauses_what_was_connected(site: Site) -> None:
    with pytest.raises(SignInRefusedError):
        await _connect(site.world, site.receiver, "another", code="hq.other")
    site.receiver.routes["POST", PATH] = answer(401, {"error": "the token is over"})
    async with site.world.working():
        post = await site.world.scheduled(targets=("hq.site",))
        [waiting] = await site.world.settle(post, lambda each: each.reason != "")
    assert (waiting.state, waiting.remote_id) == ("ready", None)
    assert waiting.reason.startswith("token_rejected: ")
    async with site.world.app.open_uow.read() as uow:
        [(account, _)] = await account_rows.find_by_codes(uow, ["hq.site"])
        assert account.state == "paused"
