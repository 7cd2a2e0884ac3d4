"""What the practice network remembers, and the process it runs in."""

import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from scheduler.practice import Platform, PracticeNetwork
from scheduler.practice.accounts import NewAccount
from scheduler.practice.model import Kind
from scheduler.practice.world import LOG_NAME

ROOT = Path(__file__).parents[2]
ADMIN = {"Authorization": "Bearer admin"}
MFA = {"handle": "mfa", "display_name": "MFA Karvenia"}
MFA_DOMAIN = {"handle": "mfa.karvenia.example", "display_name": "MFA Karvenia"}


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[PracticeNetwork]:
    async with PracticeNetwork(tmp_path, admin_token="admin") as running:
        yield running


async def ask(url: str, method: str, path: str, **options: Any) -> tuple[int, Any]:
    async with aiohttp.ClientSession(url) as http, http.request(method, path, **options) as answer:
        return answer.status, await answer.json()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def publish(url: str, token: str, text: str, key: str = "") -> Any:
    headers = bearer(token) | ({"Idempotency-Key": key} if key else {})
    status, body = await ask(
        url, "POST", "/api/v1/statuses", json={"status": text}, headers=headers
    )
    assert status == 200, body
    return body


async def open_bluesky(url: str) -> tuple[dict[str, Any], dict[str, Any]]:
    _, opened = await ask(url, "POST", "/practice/accounts", json=MFA_DOMAIN, headers=ADMIN)
    login = {"identifier": opened["did"], "password": opened["app_password"]}
    _, session = await ask(url, "POST", "/xrpc/com.atproto.server.createSession", json=login)
    return opened, session


async def write(url: str, session: dict[str, Any], text: str, rkey: str) -> tuple[int, Any]:
    body = {
        "repo": session["did"],
        "collection": "app.bsky.feed.post",
        "rkey": rkey,
        "record": {"text": text, "createdAt": "2027-03-22T06:00:00Z", "langs": ["sl"]},
    }
    path = "/xrpc/com.atproto.repo.createRecord"
    return await ask(url, "POST", path, json=body, headers=bearer(session["accessJwt"]))


async def test_accounts_are_opened_over_http_with_all_that_a_client_needs(
    network: PracticeNetwork,
) -> None:
    status, opened = await ask(
        network.mastodon_url, "POST", "/practice/accounts", json=MFA, headers=ADMIN
    )
    assert status == 200
    assert opened.keys() == {"id", "token", "url"}
    assert opened["url"] == f"{network.mastodon_url}/@mfa"
    opened, _ = await open_bluesky(network.bluesky_url)
    assert opened.keys() == {"did", "handle", "app_password", "url"}
    assert opened["url"] == f"{network.bluesky_url}/profile/mfa.karvenia.example"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "accounts"),
        ("POST", "knobs"),
        ("GET", "knobs"),
        ("DELETE", "knobs"),
        ("POST", "reset"),
        ("GET", "log"),
    ],
)
@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}])
async def test_the_practice_api_needs_the_admin_token(
    network: PracticeNetwork, method: str, path: str, header: dict[str, str]
) -> None:
    for url in (network.mastodon_url, network.bluesky_url):
        status, _ = await ask(url, method, f"/practice/{path}", headers=header)
        assert status == 401


@pytest.mark.parametrize(
    ("platform", "handle"),
    [
        ("mastodon", "no spaces"),
        ("mastodon", "@"),
        ("bluesky", "mfa"),
        ("bluesky", "mfa_x.example"),
    ],
)
async def test_an_impossible_handle_is_refused(
    network: PracticeNetwork, platform: str, handle: str
) -> None:
    url = network.mastodon_url if platform == "mastodon" else network.bluesky_url
    body = {"handle": handle, "display_name": "x"}
    status, _ = await ask(url, "POST", "/practice/accounts", json=body, headers=ADMIN)
    assert status == 400


async def test_the_log_tells_who_published_what_when_and_by_which_bytes(
    network: PracticeNetwork,
) -> None:
    _, opened = await ask(
        network.mastodon_url, "POST", "/practice/accounts", json=MFA, headers=ADMIN
    )
    before = time.time_ns()
    made = await publish(network.mastodon_url, opened["token"], "Dober dan", "key-1")
    for url in (network.mastodon_url, network.bluesky_url):
        _, log = await ask(url, "GET", "/practice/log?since=1", headers=ADMIN)
        (entry,) = log["entries"]
        assert entry["platform"] == "mastodon"
        assert entry["kind"] == "post"
        assert entry["account"] == "mfa"
        assert entry["remote_id"] == made["id"]
        assert entry["text"] == "Dober dan"
        assert entry["key"] == "key-1"
        assert before <= entry["at_ns"] <= entry["effect_at_ns"] <= time.time_ns()
        assert entry["at"].endswith("Z")
        assert len(entry["request_sha256"]) == 64
    status, _ = await ask(network.mastodon_url, "GET", "/practice/log?since=x", headers=ADMIN)
    assert status == 400


async def test_no_secret_is_ever_written_to_the_folder(
    network: PracticeNetwork, tmp_path: Path
) -> None:
    _, opened = await ask(
        network.mastodon_url, "POST", "/practice/accounts", json=MFA, headers=ADMIN
    )
    account, session = await open_bluesky(network.bluesky_url)
    await write(network.bluesky_url, session, "x", "3lka2bcdefg2h")
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in (opened["token"], account["app_password"], session["accessJwt"], "Bearer"):
        assert secret.encode() not in written


async def test_all_public_posts_are_listed_with_the_time_they_arrived(
    network: PracticeNetwork,
) -> None:
    _, opened = await ask(
        network.mastodon_url, "POST", "/practice/accounts", json=MFA, headers=ADMIN
    )
    await publish(network.mastodon_url, opened["token"], "na Mastodonu")
    _, session = await open_bluesky(network.bluesky_url)
    await write(network.bluesky_url, session, "na Blueskyju", "3lka2bcdefg2h")
    status, body = await ask(network.bluesky_url, "GET", "/practice/posts")
    assert status == 200
    assert [one["text"] for one in body["posts"]] == ["na Mastodonu", "na Blueskyju"]
    for one in body["posts"]:
        assert abs(one["received_at_ns"] - time.time_ns()) < 60 * 1_000_000_000
        async with aiohttp.ClientSession() as http, http.get(one["url"]) as answer:
            assert one["text"] in await answer.text()


async def test_a_restart_keeps_accounts_posts_keys_media_and_sessions(tmp_path: Path) -> None:
    async with PracticeNetwork(tmp_path, admin_token="admin") as first:
        url = first.mastodon_url
        _, opened = await ask(url, "POST", "/practice/accounts", json=MFA, headers=ADMIN)
        one = await publish(url, opened["token"], "prva", "k1")
        await ask(
            url,
            "PUT",
            f"/api/v1/statuses/{one['id']}",
            json={"status": "popravljena"},
            headers=bearer(opened["token"]),
        )
        two = await publish(url, opened["token"], "druga")
        await ask(url, "DELETE", f"/api/v1/statuses/{two['id']}", headers=bearer(opened["token"]))
        _, session = await open_bluesky(first.bluesky_url)
        await write(first.bluesky_url, session, "modra", "3lka2bcdefg2h")
        before = first.log(), [dict(one, url="", account_url="") for one in first.posts()]
    async with PracticeNetwork(tmp_path, admin_token="admin") as second:
        after = second.log(), [dict(one, url="", account_url="") for one in second.posts()]
        assert after == before
        again = await publish(second.mastodon_url, opened["token"], "prva", "k1")
        assert again["id"] == one["id"]
        new = await publish(second.mastodon_url, opened["token"], "tretja")
        assert int(new["id"]) > int(two["id"])
        status, _ = await write(second.bluesky_url, session, "modra", "3lka2bcdefg2h")
        assert status == 500  # the key is still taken
        assert (await write(second.bluesky_url, session, "nova", "3lka2bcdefg3h"))[0] == 200
        assert [effect.seq for effect in second.log()] == list(range(1, len(second.log()) + 1))


async def test_a_line_that_was_cut_off_is_dropped_and_the_rest_is_kept(tmp_path: Path) -> None:
    async with PracticeNetwork(tmp_path) as first:
        first.open_account(Platform.MASTODON, NewAccount(**MFA))
        whole = (tmp_path / LOG_NAME).read_bytes()
    (tmp_path / LOG_NAME).write_bytes(whole + b'{"seq":2,"platf')
    async with PracticeNetwork(tmp_path) as second:
        assert len(second.log()) == 1
        second.open_account(Platform.MASTODON, NewAccount(**MFA))
    lines = (tmp_path / LOG_NAME).read_text().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2]


async def test_a_log_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / LOG_NAME).write_text('{"seq": 1}\n')
    with pytest.raises((KeyError, ValueError, TypeError)):
        await PracticeNetwork(tmp_path).start()


async def test_a_reset_forgets_everything_but_the_file(
    network: PracticeNetwork, tmp_path: Path
) -> None:
    _, opened = await ask(
        network.mastodon_url, "POST", "/practice/accounts", json=MFA, headers=ADMIN
    )
    await publish(network.mastodon_url, opened["token"], "prej")
    did = (await open_bluesky(network.bluesky_url))[0]["did"]
    _, body = await ask(network.bluesky_url, "POST", "/practice/reset", headers=ADMIN)
    assert body == {"seq": 4}
    assert network.log() == []
    assert network.posts() == []
    assert (await open_bluesky(network.bluesky_url))[0]["did"] == did
    assert [effect.seq for effect in network.log()] == [5]
    assert b"prej" in (tmp_path / LOG_NAME).read_bytes()


async def test_five_hundred_accounts_publish_a_thousand_posts_quickly_and_once_each(
    network: PracticeNetwork,
) -> None:
    tokens = [
        network.open_account(
            Platform.MASTODON, NewAccount(handle=f"mission{number}", display_name="Mission")
        )["token"]
        for number in range(500)
    ]
    began = time.monotonic()
    async with aiohttp.ClientSession(network.mastodon_url) as http:

        async def post(token: str, number: int) -> None:
            headers = bearer(token) | {"Idempotency-Key": str(number)}
            body = {"status": f"objava {number}"}
            async with http.post("/api/v1/statuses", json=body, headers=headers) as answer:
                assert answer.status == 200

        async with asyncio.TaskGroup() as tasks:
            for number in range(1000):
                tasks.create_task(post(tokens[number % 500], number))
    seconds = time.monotonic() - began
    texts = Counter(effect.text for effect in network.log() if effect.kind is Kind.POST)
    assert len(texts) == 1000
    assert set(texts.values()) == {1}
    assert seconds < 20


@asynccontextmanager
async def process(folder: Path, *more: str) -> AsyncIterator[tuple[Any, dict[str, str]]]:
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "scheduler.practice",
        "--data",
        str(folder),
        *more,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert running.stdout is not None
    try:
        async with asyncio.timeout(30):
            yield running, json.loads(await running.stdout.readline())
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()
        running._transport.close()


async def test_the_process_says_where_it_is_and_ends_cleanly_on_sigterm(tmp_path: Path) -> None:
    async with process(tmp_path, "--admin-token", "admin") as (running, ready):
        assert ready.keys() == {"mastodon", "bluesky"}
        status, _ = await ask(ready["mastodon"], "POST", "/practice/reset", headers=ADMIN)
        assert status == 200
        running.send_signal(signal.SIGTERM)
        assert await running.wait() == 0


async def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    async with process(tmp_path) as (running, ready):
        headers = bearer(ready["admin_token"])
        _, opened = await ask(
            ready["mastodon"], "POST", "/practice/accounts", json=MFA, headers=headers
        )
        made = [
            (await publish(ready["mastodon"], opened["token"], f"{number}"))["id"]
            for number in range(20)
        ]
        os.kill(running.pid, signal.SIGKILL)
        await running.wait()
    async with process(tmp_path) as (_, ready):
        _, body = await ask(ready["mastodon"], "GET", "/practice/posts")
        assert [one["id"] for one in body["posts"]] == made


async def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    network = PracticeNetwork(tmp_path, addresses={Platform.MASTODON: "8080"})
    with pytest.raises(ValueError, match="host:port"):
        await network.start()
    await network.stop()


async def test_a_network_that_is_not_running_opens_no_account(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="not running"):
        PracticeNetwork(tmp_path).log()
