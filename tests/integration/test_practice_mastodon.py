"""The official Python client of Mastodon, and plain HTTP, against the simulated Mastodon server."""

import asyncio
import io
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from mastodon import (
    Mastodon,
    MastodonAPIError,
    MastodonNotFoundError,
    MastodonRatelimitError,
    MastodonUnauthorizedError,
)
from PIL import Image

from scheduler.practice import Platform, PracticeNetwork
from scheduler.practice.accounts import NewAccount
from scheduler.practice.admin import Turn
from scheduler.practice.mastodon.text import count
from scheduler.practice.model import Kind

T = TypeVar("T")
HOUR_NS = 3600 * 1_000_000_000


class Clock:
    """Starts where a window of three hours starts."""

    def __init__(self) -> None:
        self.now_ns = int(datetime(2027, 3, 22, 6, tzinfo=UTC).timestamp()) * 1_000_000_000

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def network(tmp_path: Path, clock: Clock) -> AsyncIterator[PracticeNetwork]:
    async with PracticeNetwork(tmp_path, now_ns=clock) as running:
        yield running


@pytest.fixture
def token(network: PracticeNetwork) -> str:
    new = NewAccount(
        handle="@mfa@social.karvenia.example", display_name="MFA Karvenia", language="sl"
    )
    return str(network.open_account(Platform.MASTODON, new)["token"])


@pytest.fixture
def connect(network: PracticeNetwork) -> Iterator[Callable[[str], Mastodon]]:
    """Make official clients, which close their connections in the end."""
    made: list[Mastodon] = []

    def connect(token: str) -> Mastodon:
        url = network.mastodon_url
        made.append(Mastodon(api_base_url=url, access_token=token, ratelimit_method="throw"))
        return made[-1]

    yield connect
    for client in made:
        client.session.close()


@pytest.fixture
def client(connect: Callable[[str], Mastodon], token: str) -> Mastodon:
    return connect(token)


@pytest.fixture
def other(connect: Callable[[str], Mastodon], network: PracticeNetwork) -> Mastodon:
    new = NewAccount(handle="wien", display_name="Embassy in Vienna")
    return connect(network.open_account(Platform.MASTODON, new)["token"])


@pytest.fixture
async def http(network: PracticeNetwork, token: str) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Authorization": f"Bearer {token}"}
    async with aiohttp.ClientSession(network.mastodon_url, headers=headers) as session:
        yield session


async def call(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    return await asyncio.to_thread(function, *args, **kwargs)


def picture(side: int = 24, colour: str = "navy") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side // 2), colour).save(buffer, "PNG")
    return buffer.getvalue()


def posted(network: PracticeNetwork) -> list[str]:
    return [effect.text for effect in network.log() if effect.kind is Kind.POST]


async def test_the_official_client_posts_text_and_reads_the_same_text_back(
    client: Mastodon, network: PracticeNetwork
) -> None:
    text = "Lipovec: jutri zaprto & <urejeno>.\n\nVeč: https://mfa.karvenia.example/a #Karvenija"
    made = await call(client.status_post, text, language="sl", visibility="public")
    read = await call(client.status, made)
    source = await call(client.status_source, made)
    assert (read.language, read.visibility, read.edited_at) == ("sl", "public", None)
    assert source.text == text
    assert "&amp; &lt;urejeno&gt;.</p><p>" in read.content
    assert 'href="https://mfa.karvenia.example/a"' in read.content
    assert [tag.name for tag in read.tags] == ["karvenija"]
    assert posted(network) == [text]


async def test_an_image_keeps_its_bytes_and_its_description(
    client: Mastodon, network: PracticeNetwork, http: aiohttp.ClientSession
) -> None:
    data = picture()
    media = await call(client.media_post, data, "image/png", description="Modra zastava")
    made = await call(client.status_post, "S sliko", media_ids=[media])
    shown = made.media_attachments[0]
    assert (shown.description, shown.type) == ("Modra zastava", "image")
    assert (shown.meta.original.width, shown.meta.original.height) == (24, 12)
    async with http.get(shown.url.removeprefix(network.mastodon_url)) as answer:
        assert await answer.read() == data
    effect = network.log()[-1]
    assert effect.alt == ("Modra zastava",)
    assert len(effect.media[0]) == 64


async def test_a_description_can_be_changed_until_the_file_is_posted(client: Mastodon) -> None:
    media = await call(client.media_post, picture(), "image/png", description="prej")
    changed = await call(client.media_update, media, description="potem")
    assert changed.description == "potem"
    made = await call(client.status_post, "S sliko", media_ids=[media])
    assert made.media_attachments[0].description == "potem"
    with pytest.raises(MastodonNotFoundError):
        await call(client.media_update, media, description="prepozno")


async def test_a_thread_is_read_back_in_order(client: Mastodon) -> None:
    first = await call(client.status_post, "1/3")
    second = await call(client.status_post, "2/3", in_reply_to_id=first)
    third = await call(client.status_post, "3/3", in_reply_to_id=second)
    context = await call(client.status_context, second)
    assert [one.id for one in context.ancestors] == [first.id]
    assert [one.id for one in context.descendants] == [third.id]
    assert third.in_reply_to_account_id == first.account.id
    assert (await call(client.status, first)).replies_count == 1


async def test_a_reply_to_nothing_is_refused(client: Mastodon, network: PracticeNetwork) -> None:
    with pytest.raises(MastodonNotFoundError) as caught:
        await call(client.status_post, "kam?", in_reply_to_id="1")
    assert caught.value.args[3] == ("The post you are trying to reply to does not appear to exist.")
    assert posted(network) == []


async def test_the_same_key_posts_once_within_an_hour_and_again_after_it(
    client: Mastodon, network: PracticeNetwork, clock: Clock
) -> None:
    first = await call(client.status_post, "enkrat", idempotency_key="k1")
    again = await call(client.status_post, "drugo besedilo", idempotency_key="k1")
    assert again.id == first.id
    clock.now_ns += HOUR_NS
    later = await call(client.status_post, "po eni uri", idempotency_key="k1")
    assert later.id != first.id
    assert posted(network) == ["enkrat", "po eni uri"]


async def test_keys_of_two_accounts_do_not_meet(
    client: Mastodon, other: Mastodon, network: PracticeNetwork
) -> None:
    await call(client.status_post, "mfa", idempotency_key="same")
    await call(other.status_post, "wien", idempotency_key="same")
    assert posted(network) == ["mfa", "wien"]


async def test_parallel_requests_with_one_key_make_one_post(
    http: aiohttp.ClientSession, network: PracticeNetwork
) -> None:
    async def post() -> str:
        body = {"status": "vzporedno"}
        headers = {"Idempotency-Key": "parallel"}
        async with http.post("/api/v1/statuses", json=body, headers=headers) as answer:
            assert answer.status == 200
            return str((await answer.json())["id"])

    assert len(set(await asyncio.gather(*(post() for _ in range(20))))) == 1
    assert len(posted(network)) == 1


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("a" * 500, 500),
        ("č" * 500, 500),
        ("👩‍👩‍👧‍👦" * 500, 500),
        ("a" * 476 + " https://mfa.karvenia.example/" + "x" * 200, 500),
        ("a" * 495 + " @mfa@social.karvenia.example", 500),
        ("a" * 477 + " https://mfa.karvenia.example/" + "x" * 200, 501),
        ("a" * 501, 501),
    ],
)
async def test_length_counts_graphemes_with_short_links_and_free_domains(
    client: Mastodon, network: PracticeNetwork, text: str, length: int
) -> None:
    assert count(text) == length
    if length <= 500:
        await call(client.status_post, text)
        assert posted(network) == [text]
    else:
        with pytest.raises(MastodonAPIError) as caught:
            await call(client.status_post, text)
        assert caught.value.args[1:] == (
            422,
            "Unprocessable Entity",
            "Validation failed: Text character limit of 500 exceeded",
        )
        assert posted(network) == []


async def test_the_content_warning_counts_too(client: Mastodon) -> None:
    with pytest.raises(MastodonAPIError, match="character limit of 500 exceeded"):
        await call(client.status_post, "a" * 490, spoiler_text="b" * 11)


@pytest.mark.parametrize("text", ["", "   \n", "\u2003"])
async def test_an_empty_text_is_refused(client: Mastodon, text: str) -> None:
    with pytest.raises(MastodonAPIError, match="Validation failed: Text can't be blank"):
        await call(client.status_post, text)


@pytest.mark.parametrize("name", ["poll", "scheduled_at", "quoted_status_id"])
async def test_what_is_not_offered_is_refused_and_never_dropped(
    http: aiohttp.ClientSession, network: PracticeNetwork, name: str
) -> None:
    body = {"status": "x", name: "2027-03-22T06:00:00Z"}
    async with http.post("/api/v1/statuses", json=body) as answer:
        assert answer.status == 422
    assert posted(network) == []


async def test_more_than_four_files_are_refused(http: aiohttp.ClientSession) -> None:
    body = {"status": "x", "media_ids": ["1", "2", "3", "4", "5"]}
    async with http.post("/api/v1/statuses", json=body) as answer:
        assert answer.status == 422
        assert await answer.json() == {"error": "Cannot attach more than 4 files"}


async def test_a_file_can_be_posted_once(client: Mastodon) -> None:
    media = await call(client.media_post, picture(), "image/png")
    await call(client.status_post, "prvič", media_ids=[media])
    with pytest.raises(MastodonAPIError, match="not found or already attached"):
        await call(client.status_post, "drugič", media_ids=[media])


async def test_an_unfinished_file_is_202_then_206_then_200_and_cannot_be_posted_before(
    http: aiohttp.ClientSession, network: PracticeNetwork, clock: Clock
) -> None:
    network.turn(Platform.MASTODON, Turn(only="media", processing_ms=5000))
    form = aiohttp.FormData({"description": "Film"})
    form.add_field("file", picture(), filename="a.png", content_type="image/png")
    async with http.post("/api/v2/media", data=form) as answer:
        assert answer.status == 202
        media = await answer.json()
    assert media["url"] is None
    async with http.get(f"/api/v1/media/{media['id']}") as answer:
        assert answer.status == 206
    async with http.post("/api/v1/statuses", json={"media_ids": [media["id"]]}) as answer:
        assert answer.status == 422
        assert "have not finished processing" in (await answer.json())["error"]
    clock.now_ns += 5_000_000_000
    async with http.get(f"/api/v1/media/{media['id']}") as answer:
        assert answer.status == 200
        assert (await answer.json())["url"].startswith(network.mastodon_url)
    async with http.post("/api/v1/statuses", json={"media_ids": [media["id"]]}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("data", "description", "error"),
    [
        (b"", "", "Validation failed: File can't be blank"),
        (b"<svg/>", "", "Validation failed: File content type is invalid, File is invalid"),
        (picture()[:40], "", "Validation failed: File content type is invalid, File is invalid"),
        (
            picture(),
            "d" * 1501,
            "Validation failed: Description is too long (maximum is 1500 characters)",
        ),
        (picture(8200), "", "8200x4100 images are not supported"),
    ],
    ids=["empty", "svg", "cut", "long-description", "too-many-pixels"],
)
async def test_a_bad_file_is_refused_in_mastodons_words(
    http: aiohttp.ClientSession, data: bytes, description: str, error: str
) -> None:
    form = aiohttp.FormData({"description": description})
    form.add_field("file", data, filename="../x.png", content_type="image/png")
    async with http.post("/api/v2/media", data=form) as answer:
        assert answer.status == 422
        assert await answer.json() == {"error": error}


async def test_a_video_stands_alone_and_takes_time(
    http: aiohttp.ClientSession, clock: Clock
) -> None:
    ids = []
    for name, data in [("a.mp4", b"\x00\x00\x00\x18ftypmp42" + b"0" * 64), ("b.png", picture())]:
        form = aiohttp.FormData()
        form.add_field("file", data, filename=name)
        async with http.post("/api/v2/media", data=form) as answer:
            assert answer.status == (202 if name == "a.mp4" else 200)
            ids.append((await answer.json())["id"])
    clock.now_ns += 2_000_000_000
    async with http.post("/api/v1/statuses", json={"media_ids": ids}) as answer:
        assert (await answer.json())["error"] == (
            "Cannot attach a video to a post that already contains images"
        )
    async with http.post("/api/v1/statuses", json={"media_ids": ids[:1]}) as answer:
        assert (await answer.json())["media_attachments"][0]["type"] == "video"


async def test_an_edit_changes_the_text_and_leaves_a_history(
    client: Mastodon, network: PracticeNetwork
) -> None:
    made = await call(client.status_post, "prva")
    edited = await call(client.status_update, made, "druga")
    history = await call(client.status_history, made)
    assert edited.id == made.id
    assert edited.edited_at is not None
    assert [one.content for one in history] == ["<p>prva</p>", "<p>druga</p>"]
    assert [effect.kind for effect in network.log()][-2:] == [Kind.POST, Kind.EDIT]


async def test_a_deletion_gives_the_source_back_and_the_post_is_gone(client: Mastodon) -> None:
    made = await call(client.status_post, "izbriši <me>")
    gone = await call(client.status_delete, made)
    assert gone.text == "izbriši <me>"
    with pytest.raises(MastodonNotFoundError) as caught:
        await call(client.status, made)
    assert caught.value.args[1:] == (404, "Not Found", "Record not found")


async def test_nobody_edits_or_deletes_the_post_of_another(
    client: Mastodon, other: Mastodon
) -> None:
    made = await call(client.status_post, "naše")
    for attempt in (other.status_delete, other.status_source):
        with pytest.raises(MastodonNotFoundError):
            await call(attempt, made)
    assert (await call(client.status, made)).id == made.id


async def test_a_private_post_is_seen_by_its_author_only(
    client: Mastodon, network: PracticeNetwork, http: aiohttp.ClientSession
) -> None:
    made = await call(client.status_post, "zasebno", visibility="private")
    assert (await call(client.status, made)).visibility == "private"
    async with aiohttp.ClientSession(network.mastodon_url) as stranger:
        async with stranger.get(f"/api/v1/statuses/{made.id}") as answer:
            assert answer.status == 404
        async with stranger.get(f"/@mfa/{made.id}") as answer:
            assert answer.status == 404
    assert network.posts() == []


async def test_own_statuses_are_listed_newest_first_and_paged(client: Mastodon) -> None:
    made = [(await call(client.status_post, f"objava {number}")).id for number in range(5)]
    me = await call(client.account_verify_credentials)
    page = await call(client.account_statuses, me, limit=2)
    rest = await call(client.fetch_remaining, page)
    assert [one.id for one in rest] == made[::-1]
    newer = await call(client.account_statuses, me, since_id=made[2])
    assert [one.id for one in newer] == made[:2:-1]
    assert me.statuses_count == 5
    assert me.source.language == "sl"


async def test_an_account_is_found_by_its_name(client: Mastodon) -> None:
    found = await call(client.account_lookup, "mfa")
    assert (found.acct, found.display_name) == ("mfa", "MFA Karvenia")
    with pytest.raises(MastodonNotFoundError):
        await call(client.account_lookup, "nobody")


@pytest.mark.parametrize(("given", "kept"), [("zh-TW", "zh-TW"), ("sr-Latn", "sr"), ("??", "sl")])
async def test_an_unknown_language_becomes_the_accounts_own(
    http: aiohttp.ClientSession, given: str, kept: str
) -> None:
    async with http.post("/api/v1/statuses", json={"status": "x", "language": given}) as answer:
        assert (await answer.json())["language"] == kept


async def test_a_wrong_token_opens_nothing_and_reads_as_a_stranger(
    connect: Callable[[str], Mastodon], network: PracticeNetwork, token: str
) -> None:
    stranger = connect("wrong")
    with pytest.raises(MastodonUnauthorizedError) as caught:
        await call(stranger.status_post, "x")
    assert caught.value.args[1:] == (401, "Unauthorized", "The access token is invalid")
    assert (await call(stranger.account_lookup, "mfa")).username == "mfa"
    assert posted(network) == []


async def test_a_revoked_token_opens_nothing_and_a_new_one_does(
    http: aiohttp.ClientSession, network: PracticeNetwork
) -> None:
    network.turn(Platform.MASTODON, Turn(revoke="mfa"))
    for method, path in [("POST", "/api/v1/statuses"), ("GET", "/api/v1/accounts/lookup?acct=mfa")]:
        async with http.request(method, path) as answer:
            assert answer.status == 401
            assert await answer.json() == {"error": "The access token was revoked"}
            assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    async with http.get("/api/v2/instance") as answer:
        assert answer.status == 200
    new = network.open_account(Platform.MASTODON, NewAccount(handle="mfa", display_name="MFA"))
    headers = {"Authorization": f"Bearer {new['token']}"}
    async with http.post("/api/v1/statuses", json={"status": "x"}, headers=headers) as answer:
        assert answer.status == 200


async def test_the_limit_of_statuses_holds_and_its_headers_are_mastodons(
    http: aiohttp.ClientSession, client: Mastodon, network: PracticeNetwork, clock: Clock
) -> None:
    async with http.post("/api/v1/statuses", json={"status": "0"}) as answer:
        assert answer.headers["X-RateLimit-Limit"] == "300"
        assert answer.headers["X-RateLimit-Remaining"] == "299"
        reset = datetime.fromisoformat(answer.headers["X-RateLimit-Reset"])
        assert 0 < reset.timestamp() - clock.now_ns / 1e9 <= 3 * 3600
    for number in range(1, 300):
        async with http.post("/api/v1/statuses", json={"status": str(number)}) as answer:
            assert answer.status == 200
    async with http.post("/api/v1/statuses", json={"status": "300"}) as answer:
        assert answer.status == 429
        assert await answer.json() == {"error": "Too many requests"}
        assert answer.headers["X-RateLimit-Remaining"] == "0"
        assert "Retry-After" not in answer.headers  # Mastodon sends none
    clock.now_ns += HOUR_NS // 2
    with pytest.raises(MastodonRatelimitError):
        await call(client.status_post, "301")
    clock.now_ns += 3 * HOUR_NS
    await call(client.status_post, "302")
    assert len(posted(network)) == 301


async def test_the_server_describes_itself_with_and_without_a_trailing_slash(
    http: aiohttp.ClientSession,
) -> None:
    for version in ("v1", "v2"):
        bodies = []
        for end in ("", "/"):
            async with http.get(f"/api/{version}/instance{end}") as answer:
                assert answer.status == 200
                bodies.append(await answer.json())
        assert bodies[0] == bodies[1]
        limits = bodies[0]["configuration"]
        assert limits["statuses"]["max_characters"] == 500
        assert limits["statuses"]["characters_reserved_per_url"] == 23
        assert limits["media_attachments"]["description_limit"] == 1500


async def test_nodeinfo_names_the_software(client: Mastodon) -> None:
    found = await call(client.instance_nodeinfo)
    assert found.software.name == "mastodon"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b"[1]"),
        ("application/json", b'{"status": "\\ud800"}'),
        ("application/json", b"[" * 100_000),
        ("application/json", b'{"status": NaN}'),
        ("application/json", b"\xff\xfe{\x00}\x00"),
        ("application/x-www-form-urlencoded", b"status=%ff"),
        ("multipart/form-data", b"--x\r\n"),
        ("multipart/form-data; boundary=x", b"--x\r\nbroken"),
        ("application/json", json.dumps({"status": "a\x00b"}).encode()),
    ],
)
async def test_a_broken_body_is_a_400_and_no_post(
    http: aiohttp.ClientSession, network: PracticeNetwork, content_type: str, body: bytes
) -> None:
    headers = {"Content-Type": content_type}
    async with http.post("/api/v1/statuses", data=body, headers=headers) as answer:
        assert answer.status == 400
        assert "error" in await answer.json()
    assert posted(network) == []


async def test_a_million_combining_marks_are_counted_quickly(http: aiohttp.ClientSession) -> None:
    began = time.process_time()
    body = io.BytesIO(json.dumps({"status": "a" + "\u0301" * 1_000_000}).encode())
    headers = {"Content-Type": "application/json"}
    async with http.post("/api/v1/statuses", data=body, headers=headers) as answer:
        assert answer.status == 200
    assert time.process_time() - began < 3


async def test_an_unknown_path_is_a_404_in_json(http: aiohttp.ClientSession) -> None:
    async with http.get("/api/v1/nothing") as answer:
        assert answer.status == 404
        assert "error" in await answer.json()


async def test_a_key_whose_post_was_deleted_makes_no_second_one(
    client: Mastodon, network: PracticeNetwork
) -> None:
    made = await call(client.status_post, "enkrat", idempotency_key="k")
    await call(client.status_delete, made)
    with pytest.raises(MastodonNotFoundError):
        await call(client.status_post, "enkrat", idempotency_key="k")
    assert len(posted(network)) == 1


async def test_an_edit_may_change_the_files_and_keeps_those_it_names(client: Mastodon) -> None:
    first = await call(client.media_post, picture(), "image/png", description="ena")
    second = await call(client.media_post, picture(30), "image/png", description="dve")
    made = await call(client.status_post, "slika", media_ids=[first])
    edited = await call(client.status_update, made, "sliki", media_ids=[first, second])
    assert [one.description for one in edited.media_attachments] == ["ena", "dve"]
    bare = await call(client.status_update, made, "le besedilo", media_ids=[])
    assert bare.content == "<p>le besedilo</p>"


async def test_a_file_that_is_not_posted_can_be_deleted(http: aiohttp.ClientSession) -> None:
    form = aiohttp.FormData()
    form.add_field("file", picture(), filename="a.png")
    async with http.post("/api/v1/media", data=form) as answer:
        media_id = (await answer.json())["id"]
    async with http.delete(f"/api/v1/media/{media_id}") as answer:
        assert answer.status == 200
    for method, path in [("GET", f"/api/v1/media/{media_id}"), ("DELETE", "/api/v1/media/1")]:
        async with http.request(method, path) as answer:
            assert answer.status == 404


async def test_lists_of_statuses_are_filtered(client: Mastodon, other: Mastodon) -> None:
    me = await call(client.account_verify_credentials)
    theirs = await call(other.status_post, "tuja")
    media = await call(client.media_post, picture(), "image/png")
    plain = await call(client.status_post, "navadna")
    reply = await call(client.status_post, "odgovor", in_reply_to_id=theirs)
    shown = await call(client.status_post, "slika", media_ids=[media])
    private = await call(client.status_post, "zasebna", visibility="private")
    listed = {
        name: [one.id for one in await call(client.account_statuses, me, **{name: True})]
        for name in ("exclude_replies", "only_media", "pinned")
    }
    assert listed == {
        "exclude_replies": [private.id, shown.id, plain.id],
        "only_media": [shown.id],
        "pinned": [],
    }
    seen = [one.id for one in await call(other.account_statuses, me)]
    assert seen == [shown.id, reply.id, plain.id]
    older = await call(client.account_statuses, me, max_id=reply)
    assert [one.id for one in older] == [plain.id]


async def test_statuses_and_accounts_are_read_by_their_ids(
    client: Mastodon, http: aiohttp.ClientSession
) -> None:
    made = [await call(client.status_post, text) for text in ("ena", "dve")]
    many = await call(client.statuses, [made[0].id, made[1].id, "1"])
    assert [one.id for one in many] == [one.id for one in made]
    found = await call(client.account, made[0].account.id)
    assert found.acct == "mfa"
    async with http.get("/api/v1/accounts/1") as answer:
        assert answer.status == 404
    assert await call(client.notifications) == []


async def test_a_warning_makes_a_post_sensitive(client: Mastodon) -> None:
    made = await call(client.status_post, "besedilo", spoiler_text="pozor")
    assert (made.spoiler_text, made.sensitive) == ("pozor", True)


async def test_an_unknown_visibility_is_refused_and_never_public(
    http: aiohttp.ClientSession, network: PracticeNetwork
) -> None:
    body = {"status": "x", "visibility": "friends"}
    async with http.post("/api/v1/statuses", json=body) as answer:
        assert answer.status == 422
    assert posted(network) == []


async def test_media_can_be_posted_without_text(client: Mastodon) -> None:
    media = await call(client.media_post, picture(), "image/png")
    made = await call(client.status_post, "", media_ids=[media])
    assert made.content == ""


async def test_a_deleted_reply_leaves_its_thread(client: Mastodon) -> None:
    first = await call(client.status_post, "prva")
    reply = await call(client.status_post, "odgovor", in_reply_to_id=first)
    await call(client.status_delete, reply)
    assert (await call(client.status, first)).replies_count == 0
    assert (await call(client.status_context, first)).descendants == []


async def test_ids_grow_even_when_the_clock_stands_still(client: Mastodon) -> None:
    made = [int((await call(client.status_post, str(number))).id) for number in range(3)]
    assert made == sorted(set(made))
