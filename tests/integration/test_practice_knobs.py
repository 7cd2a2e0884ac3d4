"""Faults on demand, over plain HTTP, on both simulated platforms."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from scheduler.practice import Platform, PracticeNetwork
from scheduler.practice.accounts import NewAccount
from scheduler.practice.model import Kind

TID = "3lka2bcdefg2h"


@dataclass(frozen=True, slots=True, kw_only=True)
class Publisher:
    """One account of one platform, publishing by plain HTTP on a fresh connection each time."""

    platform: Platform
    url: str
    path: str
    body: dict[str, Any]
    token: str
    handle: str

    async def publish(self, **headers: str) -> tuple[int, str, Any]:
        all_headers = {"Authorization": f"Bearer {self.token}", **headers}
        connector = aiohttp.TCPConnector(force_close=True)
        async with (
            aiohttp.ClientSession(self.url, connector=connector) as http,
            http.post(self.path, json=self.body, headers=all_headers) as answer,
        ):
            return answer.status, await answer.text(), answer.headers


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[PracticeNetwork]:
    async with PracticeNetwork(tmp_path, admin_token="admin") as running:
        yield running


@pytest.fixture(params=list(Platform))
async def publisher(request: pytest.FixtureRequest, network: PracticeNetwork) -> Publisher:
    if request.param is Platform.MASTODON:
        return mastodon(network)
    return await bluesky(network)


def mastodon(network: PracticeNetwork, handle: str = "mfa") -> Publisher:
    new = NewAccount(handle=handle, display_name="MFA Karvenia")
    return Publisher(
        platform=Platform.MASTODON,
        url=network.mastodon_url,
        path="/api/v1/statuses",
        body={"status": "Dober dan"},
        token=network.open_account(Platform.MASTODON, new)["token"],
        handle=handle,
    )


async def bluesky(network: PracticeNetwork) -> Publisher:
    new = NewAccount(handle="mfa.karvenia.example", display_name="MFA Karvenia")
    opened = network.open_account(Platform.BLUESKY, new)
    login = {"identifier": opened["did"], "password": opened["app_password"]}
    async with (
        aiohttp.ClientSession(network.bluesky_url) as http,
        http.post("/xrpc/com.atproto.server.createSession", json=login) as answer,
    ):
        session = await answer.json()
    record = {"text": "Dober dan", "createdAt": "2027-03-22T06:00:00Z"}
    collection = "app.bsky.feed.post"
    return Publisher(
        platform=Platform.BLUESKY,
        url=network.bluesky_url,
        path="/xrpc/com.atproto.repo.putRecord",
        body={"repo": opened["did"], "collection": collection, "rkey": TID, "record": record},
        token=session["accessJwt"],
        handle=opened["handle"],
    )


async def turn(publisher: Publisher, **knob: Any) -> None:
    headers = {"Authorization": "Bearer admin"}
    async with (
        aiohttp.ClientSession(publisher.url) as http,
        http.post("/practice/knobs", json=knob, headers=headers) as answer,
    ):
        assert answer.status == 200, await answer.text()


def effects(network: PracticeNetwork) -> int:
    return sum(effect.kind is Kind.POST for effect in network.log())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_status_before_the_effect_has_none(
    network: PracticeNetwork, publisher: Publisher, status: int
) -> None:
    await turn(publisher, status=status, count=1)
    assert (await publisher.publish())[0] == status
    assert effects(network) == 0
    assert (await publisher.publish())[0] == 200
    assert effects(network) == 1


@pytest.mark.parametrize("status", [500, 503])
async def test_a_status_after_the_effect_hides_a_public_post(
    network: PracticeNetwork, publisher: Publisher, status: int
) -> None:
    await turn(publisher, status=status, when="after", count=1)
    assert (await publisher.publish())[0] == status
    assert effects(network) == 1


async def test_a_429_says_when_to_come_back(publisher: Publisher) -> None:
    before = time.time()
    await turn(publisher, status=429, retry_after=7)
    status, body, headers = await publisher.publish()
    assert (status, headers["Retry-After"]) == (429, "7")
    if publisher.platform is Platform.MASTODON:
        assert body == '{"error":"Too many requests"}'
        assert headers["X-RateLimit-Remaining"] == "0"
        reset_s = datetime.fromisoformat(headers["X-RateLimit-Reset"]).timestamp()
    else:
        assert body == '{"error":"RateLimitExceeded","message":"Rate Limit Exceeded"}'
        assert headers["RateLimit-Remaining"] == "0"
        reset_s = int(headers["RateLimit-Reset"])
    assert reset_s - before >= 6


async def test_a_lost_answer_is_a_cut_connection_and_a_public_post(
    network: PracticeNetwork, publisher: Publisher
) -> None:
    await turn(publisher, lose_answer=True, count=1)
    with pytest.raises(aiohttp.ClientError):
        await publisher.publish()
    assert effects(network) == 1


async def test_a_late_effect_appears_after_the_connection_was_cut(
    network: PracticeNetwork, publisher: Publisher
) -> None:
    await turn(publisher, late_effect_ms=100, count=1)
    with pytest.raises(aiohttp.ClientError):
        await publisher.publish()
    await until(lambda: effects(network) == 1)
    effect = network.log()[-1]
    assert effect.effect_at_ns - effect.at_ns >= 90_000_000


async def test_html_after_the_effect_is_a_200_that_nobody_can_read(
    network: PracticeNetwork, publisher: Publisher
) -> None:
    await turn(publisher, html=True, count=1)
    status, body, headers = await publisher.publish()
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert body.startswith("<!doctype html>")
    assert effects(network) == 1


async def test_a_truncated_answer_breaks_off_after_the_effect(
    network: PracticeNetwork, publisher: Publisher
) -> None:
    await turn(publisher, truncate=True, count=1)
    with pytest.raises(aiohttp.ClientPayloadError):
        await publisher.publish()
    assert effects(network) == 1


async def test_latency_delays_the_effect_and_not_the_time_of_arrival(
    network: PracticeNetwork, publisher: Publisher
) -> None:
    await turn(publisher, latency_ms=150)
    await publisher.publish()
    effect = network.log()[-1]
    assert effect.effect_at_ns - effect.at_ns >= 140_000_000


async def test_latency_after_the_effect_leaves_time_to_die_between_them(
    network: PracticeNetwork, publisher: Publisher
) -> None:
    await turn(publisher, latency_ms=5000, when="after")
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(publisher.publish())
        await until(lambda: effects(network) == 1)
        assert not waiting.done()
        waiting.cancel()


async def test_a_client_that_gives_up_waiting_does_not_undo_the_effect(
    network: PracticeNetwork, publisher: Publisher
) -> None:
    await turn(publisher, latency_ms=300, count=1)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(publisher.publish())
        await until(lambda: not network.knobs(publisher.platform))
        waiting.cancel()
    await until(lambda: effects(network) == 1)


async def test_a_count_is_used_up_by_publish_calls_only(
    network: PracticeNetwork, publisher: Publisher
) -> None:
    await turn(publisher, status=503, count=2)
    async with (
        aiohttp.ClientSession(publisher.url) as http,
        http.get("/api/v1/instance" if "statuses" in publisher.path else "/xrpc/_health") as answer,
    ):
        assert answer.status == 200
    assert [(await publisher.publish())[0] for _ in range(3)] == [503, 503, 200]


async def test_a_knob_for_all_calls_reaches_reads_and_never_the_pages(publisher: Publisher) -> None:
    await turn(publisher, status=500, only="all")
    path = "/api/v1/instance" if "statuses" in publisher.path else "/xrpc/_health"
    async with aiohttp.ClientSession(publisher.url) as http:
        for where, status in [(path, 500), ("/", 200)]:
            async with http.get(where) as answer:
                assert answer.status == status


async def test_a_knob_for_one_account_spares_the_others(network: PracticeNetwork) -> None:
    one, two = mastodon(network), mastodon(network, "wien")
    await turn(one, status=500, account="wien")
    assert (await one.publish())[0] == 200
    assert (await two.publish())[0] == 500


async def test_knobs_of_one_platform_leave_the_other_alone(network: PracticeNetwork) -> None:
    await turn(mastodon(network), status=500)
    assert (await (await bluesky(network)).publish())[0] == 200


async def test_knobs_add_up(network: PracticeNetwork) -> None:
    publisher = mastodon(network)
    await turn(publisher, latency_ms=100)
    await turn(publisher, status=503, when="after", count=1)
    began = time.monotonic()
    assert (await publisher.publish())[0] == 503
    assert time.monotonic() - began >= 0.1
    assert effects(network) == 1


async def test_a_server_that_ignores_the_key_posts_twice(network: PracticeNetwork) -> None:
    publisher = mastodon(network)
    await turn(publisher, honour_key=False)
    for _ in range(2):
        await publisher.publish(**{"Idempotency-Key": "k"})
    assert effects(network) == 2


async def test_clearing_the_knobs_ends_the_faults(network: PracticeNetwork) -> None:
    publisher = mastodon(network)
    await turn(publisher, status=500)
    headers = {"Authorization": "Bearer admin"}
    async with aiohttp.ClientSession(publisher.url, headers=headers) as http:
        async with http.get("/practice/knobs") as answer:
            assert await answer.json() == {"knobs": [{"status": 500}]}
        async with http.delete("/practice/knobs") as answer:
            assert await answer.json() == {"knobs": []}
    assert (await publisher.publish())[0] == 200


@pytest.mark.parametrize(
    "knob",
    [
        {"statsu": 500},
        {"status": 200},
        {"count": 0},
        {"latency_ms": -1},
        {"only": "some"},
        {"when": "later"},
    ],
)
async def test_a_knob_that_does_not_exist_is_refused(
    network: PracticeNetwork, knob: dict[str, Any]
) -> None:
    headers = {"Authorization": "Bearer admin"}
    async with (
        aiohttp.ClientSession(network.mastodon_url, headers=headers) as http,
        http.post("/practice/knobs", json=knob) as answer,
    ):
        assert answer.status == 400
        assert next(iter(knob)) in (await answer.json())["error"]


async def test_a_knob_for_nobody_is_refused(network: PracticeNetwork) -> None:
    headers = {"Authorization": "Bearer admin"}
    async with aiohttp.ClientSession(network.bluesky_url, headers=headers) as http:
        for knob in ({"revoke": "nobody"}, {"expire_sessions": True, "account": "nobody"}):
            async with http.post("/practice/knobs", json=knob) as answer:
                assert answer.status == 404
