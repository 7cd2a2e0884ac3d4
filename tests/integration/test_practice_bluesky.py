"""The official Python client of the AT Protocol, and plain HTTP, against the simulated Bluesky server."""

import asyncio
import base64
import hashlib
import io
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import libipld
import pytest
from atproto import CID, Client, models
from atproto_client.exceptions import (
    BadRequestError,
    RateLimitExceededError,
    RequestErrorBase,
    UnauthorizedError,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from scheduler.practice import Platform, PracticeNetwork
from scheduler.practice.accounts import NewAccount
from scheduler.practice.admin import Turn
from scheduler.practice.bluesky.dag import blob_cid, encode, record_cid
from scheduler.practice.bluesky.face import BLOB_BYTES
from scheduler.practice.model import Kind

# How atproto hands bytes to httpx.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

T = TypeVar("T")
POST = "app.bsky.feed.post"
HANDLE = "mfa.karvenia.example"
TID = "3lka2bcdefg2h"
HOUR_NS = 3600 * 1_000_000_000
DAY_NS = 24 * HOUR_NS


class Clock:
    def __init__(self) -> None:
        self.now_ns = int(datetime(2027, 3, 22, 6, tzinfo=UTC).timestamp()) * 1_000_000_000

    def __call__(self) -> int:
        self.now_ns += 1_000_000
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def network(tmp_path: Path, clock: Clock) -> AsyncIterator[PracticeNetwork]:
    async with PracticeNetwork(tmp_path, now_ns=clock) as running:
        yield running


@pytest.fixture
def opened(network: PracticeNetwork) -> dict[str, str]:
    new = NewAccount(handle=HANDLE, display_name="MFA Karvenia", note="Ministry")
    return network.open_account(Platform.BLUESKY, new)


@pytest.fixture
def connect(network: PracticeNetwork) -> Iterator[Callable[[], Client]]:
    """Make official clients, which close their connections in the end."""
    made: list[Client] = []

    def connect() -> Client:
        made.append(Client(base_url=network.bluesky_url))
        return made[-1]

    yield connect
    for client in made:
        client.request.close()


@pytest.fixture
async def client(connect: Callable[[], Client], opened: dict[str, str]) -> Client:
    client = connect()
    await call(client.login, HANDLE, opened["app_password"])
    return client


@pytest.fixture
async def http(network: PracticeNetwork) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(network.bluesky_url) as session:
        yield session


@pytest.fixture
async def session(http: aiohttp.ClientSession, opened: dict[str, str]) -> dict[str, str]:
    status, body = await xrpc(http, "com.atproto.server.createSession", login(opened))
    assert status == 200
    return body


async def call(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    return await asyncio.to_thread(function, *args, **kwargs)


async def xrpc(
    http: aiohttp.ClientSession, method: str, body: Any = None, token: str = ""
) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with http.post(f"/xrpc/{method}", json=body, headers=headers) as answer:
        text = await answer.text()
        return answer.status, json.loads(text) if text else None


async def get(http: aiohttp.ClientSession, method: str, token: str = "", **query: str) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with http.get(f"/xrpc/{method}", params=query, headers=headers) as answer:
        return answer.status, await answer.json()


def login(opened: dict[str, str]) -> dict[str, str]:
    return {"identifier": opened["did"], "password": opened["app_password"]}


def post(text: str = "Dober dan", **more: Any) -> dict[str, Any]:
    return {"$type": POST, "text": text, "createdAt": "2027-03-22T06:00:00.000Z", **more}


def writing(opened: dict[str, str], record: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"repo": opened["did"], "collection": POST, "record": record, **more}


def picture(side: int = 24, *, noise: bool = False) -> bytes:
    buffer = io.BytesIO()
    image = Image.effect_noise((side, side), 90) if noise else Image.new("RGB", (side, side))
    image.save(buffer, "PNG")
    return buffer.getvalue()


def posted(network: PracticeNetwork) -> list[str]:
    return [effect.text for effect in network.log() if effect.kind is Kind.POST]


async def test_the_official_client_posts_and_reads_back_the_same_record(
    client: Client, network: PracticeNetwork, opened: dict[str, str]
) -> None:
    made = await call(client.send_post, "Pozdrav iz Lipovca", langs=["sl"])
    read = await call(client.get_post, made.uri.rpartition("/")[2], opened["did"])
    assert (read.value.text, read.value.langs, read.cid) == ("Pozdrav iz Lipovca", ["sl"], made.cid)
    assert made.uri.startswith(f"at://{opened['did']}/{POST}/3")
    assert posted(network) == ["Pozdrav iz Lipovca"]


async def test_logging_in_gives_the_profile(client: Client) -> None:
    assert (client.me.handle, client.me.display_name) == (HANDLE, "MFA Karvenia")
    assert client.me.did.startswith("did:plc:")
    assert len(client.me.did) == len("did:plc:") + 24


async def test_an_image_keeps_its_bytes_its_description_and_its_shape(
    client: Client, network: PracticeNetwork, opened: dict[str, str]
) -> None:
    data = picture()
    ratio = models.AppBskyEmbedDefs.AspectRatio(width=24, height=24)
    made = await call(client.send_image, "S sliko", data, "Modra zastava", image_aspect_ratio=ratio)
    shown = (await call(client.get_posts, [made.uri])).posts[0].embed.images[0]
    assert (shown.alt, shown.aspect_ratio.width) == ("Modra zastava", 24)
    cid = blob_cid(data)
    blob = await call(
        client.com.atproto.sync.get_blob,
        models.ComAtprotoSyncGetBlob.Params(did=opened["did"], cid=cid),
    )
    assert blob == data
    effect = network.log()[-1]
    assert (effect.alt, effect.media) == (("Modra zastava",), (hashlib.sha256(data).hexdigest(),))


async def test_a_thread_is_read_back_in_order(client: Client) -> None:
    first = models.create_strong_ref(await call(client.send_post, "1/2"))
    reply = models.AppBskyFeedPost.ReplyRef(root=first, parent=first)
    second = await call(client.send_post, "2/2", reply_to=reply)
    below = (await call(client.get_post_thread, first.uri)).thread
    above = (await call(client.get_post_thread, second.uri)).thread
    assert [one.post.uri for one in below.replies] == [second.uri]
    assert above.parent.post.uri == first.uri


async def test_a_feed_is_newest_first_and_paged(client: Client, opened: dict[str, str]) -> None:
    made = [(await call(client.send_post, f"objava {number}")).uri for number in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        page = await call(client.get_author_feed, opened["did"], limit=2, cursor=cursor)
        seen += [one.post.uri for one in page.feed]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == made[::-1]


async def test_records_are_listed_newest_key_first_in_pages(
    client: Client, http: aiohttp.ClientSession, opened: dict[str, str]
) -> None:
    made = [(await call(client.send_post, f"objava {number}")).uri for number in range(3)]
    query = {"repo": HANDLE, "collection": POST, "limit": "2"}
    _, first = await get(http, "com.atproto.repo.listRecords", **query)
    _, rest = await get(http, "com.atproto.repo.listRecords", cursor=first["cursor"], **query)
    assert [one["uri"] for one in first["records"] + rest["records"]] == made[::-1]
    _, turned = await get(http, "com.atproto.repo.listRecords", reverse="true", **query)
    assert [one["uri"] for one in turned["records"]] == made[:2]


async def test_a_deleted_post_is_gone_and_deleting_it_again_is_fine(
    client: Client, http: aiohttp.ClientSession, opened: dict[str, str]
) -> None:
    made = await call(client.send_post, "izbriši me")
    assert await call(client.delete_post, made.uri)
    assert await call(client.delete_post, made.uri)
    rkey = made.uri.rpartition("/")[2]
    status, body = await get(
        http, "com.atproto.repo.getRecord", repo=HANDLE, collection=POST, rkey=rkey
    )
    assert (status, body["error"]) == (400, "RecordNotFound")
    assert (await call(client.get_posts, [made.uri])).posts == []


async def test_creating_a_record_whose_key_is_taken_is_a_500(
    http: aiohttp.ClientSession,
    session: dict[str, str],
    opened: dict[str, str],
    network: PracticeNetwork,
) -> None:
    body = writing(opened, post(), rkey=TID)
    first = await xrpc(http, "com.atproto.repo.createRecord", body, session["accessJwt"])
    again = await xrpc(http, "com.atproto.repo.createRecord", body, session["accessJwt"])
    assert (first[0], again[0]) == (200, 500)
    assert again[1]["error"] == "InternalServerError"
    assert len(posted(network)) == 1


async def test_putting_the_same_record_again_changes_nothing(
    http: aiohttp.ClientSession,
    session: dict[str, str],
    opened: dict[str, str],
    network: PracticeNetwork,
) -> None:
    body = writing(opened, post(), rkey=TID, swapRecord=None)
    _, first = await xrpc(http, "com.atproto.repo.putRecord", body, session["accessJwt"])
    status, again = await xrpc(http, "com.atproto.repo.putRecord", body, session["accessJwt"])
    assert status == 200
    assert "commit" in first
    assert again == {name: first[name] for name in ("uri", "cid", "validationStatus")}
    assert len(posted(network)) == 1


async def test_putting_another_record_where_none_was_expected_is_a_conflict(
    http: aiohttp.ClientSession,
    session: dict[str, str],
    opened: dict[str, str],
    network: PracticeNetwork,
) -> None:
    body = writing(opened, post("prvo"), rkey=TID, swapRecord=None)
    _, first = await xrpc(http, "com.atproto.repo.putRecord", body, session["accessJwt"])
    other = writing(opened, post("drugo"), rkey=TID, swapRecord=None)
    status, body = await xrpc(http, "com.atproto.repo.putRecord", other, session["accessJwt"])
    assert (status, body["error"]) == (400, "InvalidSwap")
    assert body["message"] == f"Record was at {first['cid']}"
    assert posted(network) == ["prvo"]


async def test_putting_without_a_swap_replaces_the_record(
    http: aiohttp.ClientSession,
    session: dict[str, str],
    opened: dict[str, str],
    network: PracticeNetwork,
) -> None:
    for text in ("prvo", "drugo"):
        body = writing(opened, post(text), rkey=TID)
        await xrpc(http, "com.atproto.repo.putRecord", body, session["accessJwt"])
    _, read = await get(http, "com.atproto.repo.getRecord", repo=HANDLE, collection=POST, rkey=TID)
    assert read["value"]["text"] == "drugo"
    assert [one.kind for one in network.log()][-2:] == [Kind.POST, Kind.EDIT]


async def test_a_commit_swap_that_is_behind_is_refused(
    http: aiohttp.ClientSession, session: dict[str, str], opened: dict[str, str]
) -> None:
    _, first = await xrpc(
        http, "com.atproto.repo.createRecord", writing(opened, post()), session["accessJwt"]
    )
    _, second = await xrpc(
        http, "com.atproto.repo.createRecord", writing(opened, post()), session["accessJwt"]
    )
    body = writing(opened, post(), swapCommit=first["commit"]["cid"])
    status, refused = await xrpc(http, "com.atproto.repo.createRecord", body, session["accessJwt"])
    assert (status, refused["error"]) == (400, "InvalidSwap")
    body["swapCommit"] = second["commit"]["cid"]
    assert (await xrpc(http, "com.atproto.repo.createRecord", body, session["accessJwt"]))[0] == 200


async def test_a_batch_happens_whole_or_not_at_all(
    http: aiohttp.ClientSession,
    session: dict[str, str],
    opened: dict[str, str],
    network: PracticeNetwork,
) -> None:
    kind = "com.atproto.repo.applyWrites"
    gate = {"$type": "app.bsky.feed.threadgate", "post": f"at://x/{POST}/{TID}", "allow": []}
    writes = [
        {"$type": f"{kind}#create", "collection": POST, "rkey": TID, "value": post()},
        {
            "$type": f"{kind}#create",
            "collection": "app.bsky.feed.threadgate",
            "rkey": TID,
            "value": gate,
        },
    ]
    body = {"repo": opened["did"], "writes": writes}
    status, done = await xrpc(http, kind, body, session["accessJwt"])
    assert status == 200
    assert [one["$type"] for one in done["results"]] == [f"{kind}#createResult"] * 2
    fresh = {"$type": f"{kind}#create", "collection": POST, "value": post("novo")}
    again = {"repo": opened["did"], "writes": [fresh, writes[0]]}
    assert (await xrpc(http, kind, again, session["accessJwt"]))[0] == 500
    assert posted(network) == ["Dober dan"]
    removal = {"$type": f"{kind}#delete", "collection": POST, "rkey": TID}
    body = {"repo": opened["did"], "writes": [removal]}
    assert (await xrpc(http, kind, body, session["accessJwt"]))[0] == 200
    assert network.posts() == []


def blob(**more: Any) -> dict[str, Any]:
    return {"$type": "blob", "ref": {"$link": blob_cid(b"x")}, "mimeType": "image/png", **more}


def embed(**image: Any) -> dict[str, Any]:
    return {"$type": "app.bsky.embed.images", "images": [image]}


def facet(feature: dict[str, Any], start: int = 0, end: int = 5) -> list[dict[str, Any]]:
    return [{"index": {"byteStart": start, "byteEnd": end}, "features": [feature]}]


AT_URI = f"at://did:plc:{'a' * 24}/{POST}/{TID}"
LINK = "app.bsky.richtext.facet#link"
PREFIX = f"Invalid {POST} record: "


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (post("č" * 301), "grapheme too big (maximum 300, got 301) at $.record.text"),
        (post("👨‍👩‍👧‍👦" * 121), "string too big (maximum 3000, got 3025) at $.record.text"),
        (
            {"$type": POST, "text": "x"},
            "Expected string value type (got undefined) at $.record.createdAt",
        ),
        (post(createdAt="2027-03-22T06:00:00"), "Invalid datetime at $.record.createdAt"),
        (post(createdAt="2027-02-30T06:00:00Z"), "Invalid datetime at $.record.createdAt"),
        (
            post(langs=["sl", "en", "de", "fr"]),
            "array too big (maximum 3, got 4) at $.record.langs",
        ),
        (post(langs=["Slovenščina"]), "Invalid language at $.record.langs[0]"),
        (post(tags=["a"] * 9), "array too big (maximum 8, got 9) at $.record.tags"),
        (
            post(facets=facet({"$type": LINK, "uri": "karvenia"})),
            "Invalid URI at $.record.facets[0].features[0].uri",
        ),
        (
            post(facets=facet({"$type": LINK, "uri": "https://karvenia.example"}, start=-1)),
            "integer too small (minimum 0, got -1) at $.record.facets[0].index.byteStart",
        ),
        (
            post(facets=facet({"$type": "app.bsky.richtext.facet#mention", "did": HANDLE})),
            "Invalid DID at $.record.facets[0].features[0].did",
        ),
        (
            post(embed=embed(alt="x", image=blob(size=1_000_001))),
            "blob too big (maximum 1000000, got 1000001) at $.record.embed.images[0].image",
        ),
        (
            post(embed=embed(image=blob(size=1))),
            "Expected string value type (got undefined) at $.record.embed.images[0].alt",
        ),
        (
            post(embed={"$type": "app.bsky.embed.images", "images": [{}] * 5}),
            "array too big (maximum 4, got 5) at $.record.embed.images",
        ),
        (
            post(
                embed={"$type": "app.bsky.embed.external", "external": {"uri": "x", "title": "t"}}
            ),
            "Expected string value type (got undefined) at $.record.embed.external.description",
        ),
        (
            post(reply={"root": {"uri": "x", "cid": "y"}}),
            "Invalid AT-URI at $.record.reply.root.uri",
        ),
        (post(embed={}), 'Expected an object with a "$type" property at $.record.embed'),
        (post(embed="x"), "Expected object value type (got string) at $.record.embed"),
        (post(langs="sl"), "Expected array value type (got string) at $.record.langs"),
        (
            post(facets=[{"index": {"byteStart": True, "byteEnd": 1}, "features": []}]),
            "Expected integer value type (got boolean) at $.record.facets[0].index.byteStart",
        ),
        (
            post(facets=[{"index": {"byteStart": 0, "byteEnd": 1}}]),
            "Expected array value type (got undefined) at $.record.facets[0].features",
        ),
        (
            post(facets=facet({"tag": "x"})),
            'Expected an object with a "$type" property at $.record.facets[0].features[0]',
        ),
        (
            post(facets=facet({"$type": "app.bsky.richtext.facet#tag", "tag": "č" * 65})),
            "grapheme too big (maximum 64, got 65) at $.record.facets[0].features[0].tag",
        ),
        (
            post(embed=embed(alt="x", image={"$type": "blob", "ref": "x"})),
            "Expected a blob at $.record.embed.images[0].image",
        ),
        (
            post(embed=embed(alt="x", image=blob(size=1) | {"mimeType": "video/mp4"})),
            "Expected a blob of type image/* at $.record.embed.images[0].image",
        ),
        (
            post(embed=embed(alt="x", image=blob(size=1), aspectRatio={"width": 0, "height": 1})),
            "integer too small (minimum 1, got 0) at $.record.embed.images[0].aspectRatio.width",
        ),
        (
            post(embed={"$type": "app.bsky.embed.record", "record": {"uri": AT_URI, "cid": "x"}}),
            "Invalid CID at $.record.embed.record.cid",
        ),
        (
            post(embed={"$type": "app.bsky.embed.video", "video": None}),
            "Expected object value type (got undefined) at $.record.embed.video",
        ),
    ],
)
async def test_a_record_that_breaks_its_lexicon_is_refused(
    http: aiohttp.ClientSession,
    session: dict[str, str],
    opened: dict[str, str],
    network: PracticeNetwork,
    record: dict[str, Any],
    message: str,
) -> None:
    status, body = await xrpc(
        http, "com.atproto.repo.createRecord", writing(opened, record), session["accessJwt"]
    )
    assert (status, body) == (400, {"error": "InvalidRequest", "message": PREFIX + message})
    assert posted(network) == []


@pytest.mark.parametrize(
    "record",
    [
        post("č" * 300),
        post(facets=facet({"$type": LINK, "uri": "https://karvenia.example"}, end=10_000)),
        post(facets=facet({"$type": "example.karvenia#new"})),
        post(embed={"$type": "example.karvenia.unknown"}),
        post(createdAt="2027-03-22T07:00:00+01:00"),
        post(
            facets=facet({"$type": "app.bsky.richtext.facet#tag", "tag": "Karvenija"}), tags=["a"]
        ),
        post(
            embed={
                "$type": "app.bsky.embed.external",
                "external": {"uri": "https://mfa.karvenia.example", "title": "", "description": ""},
            }
        ),
        post(
            embed={
                "$type": "app.bsky.embed.recordWithMedia",
                "record": {"record": {"uri": AT_URI, "cid": blob_cid(b"x")}},
                "media": {"$type": "app.bsky.embed.images", "images": []},
            }
        ),
    ],
    ids=[
        "300-graphemes",
        "facet-past-the-end",
        "unknown-facet",
        "unknown-embed",
        "offset",
        "tag",
        "card",
        "quote",
    ],
)
async def test_what_a_pds_lets_pass_passes(
    http: aiohttp.ClientSession,
    session: dict[str, str],
    opened: dict[str, str],
    record: dict[str, Any],
) -> None:
    status, body = await xrpc(
        http, "com.atproto.repo.createRecord", writing(opened, record), session["accessJwt"]
    )
    assert (status, body["validationStatus"]) == (200, "valid")


@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"rkey": "my-own-key"}, 400, "InvalidRequest"),
        ({"rkey": "3lka2bcdefg2h/../x"}, 400, "InvalidRequest"),
        ({"collection": "no nsid"}, 400, "InvalidRequest"),
        ({"collection": "app.bsky.feed.like"}, 400, "InvalidRequest"),
        ({"repo": "nobody.karvenia.example"}, 400, "InvalidRequest"),
        ({"record": "text"}, 400, "InvalidRequest"),
        ({"record": post(langs=["sl"], extra=1.5)}, 400, "InvalidRequest"),
    ],
)
async def test_a_bad_write_is_refused(
    http: aiohttp.ClientSession,
    session: dict[str, str],
    opened: dict[str, str],
    change: dict[str, Any],
    status: int,
    error: str,
) -> None:
    body = writing(opened, post()) | change
    got, answer = await xrpc(http, "com.atproto.repo.createRecord", body, session["accessJwt"])
    assert (got, answer["error"]) == (status, error)


async def test_an_image_over_a_million_bytes_uploads_and_then_cannot_be_posted(
    client: Client,
) -> None:
    data = picture(1100, noise=True)
    assert len(data) > 1_000_000
    with pytest.raises(BadRequestError) as caught:
        await call(client.send_image, "velika", data, "šum")
    assert "blob too big (maximum 1000000" in caught.value.response.content.message


async def test_a_blob_that_was_never_uploaded_cannot_be_posted(
    http: aiohttp.ClientSession, session: dict[str, str], opened: dict[str, str]
) -> None:
    record = post(embed=embed(alt="x", image=blob(size=1)))
    status, body = await xrpc(
        http, "com.atproto.repo.createRecord", writing(opened, record), session["accessJwt"]
    )
    assert (status, body["error"]) == (400, "BlobNotFound")


async def test_the_blob_of_another_account_cannot_be_posted(
    client: Client, http: aiohttp.ClientSession, network: PracticeNetwork
) -> None:
    uploaded = (await call(client.upload_blob, picture())).blob.model_dump(by_alias=True)
    other = network.open_account(
        Platform.BLUESKY, NewAccount(handle="wien.karvenia.example", display_name="Wien")
    )
    _, session = await xrpc(http, "com.atproto.server.createSession", login(other))
    uploaded = {
        "$type": "blob",
        "ref": {"$link": blob_cid(picture())},
        "mimeType": uploaded["mimeType"],
        "size": uploaded["size"],
    }
    record = post(embed=embed(alt="x", image=uploaded))
    _, body = await xrpc(
        http, "com.atproto.repo.createRecord", writing(other, record), session["accessJwt"]
    )
    assert body["error"] == "BlobNotFound"


async def test_nobody_writes_to_the_repository_of_another(
    http: aiohttp.ClientSession, session: dict[str, str], network: PracticeNetwork
) -> None:
    other = network.open_account(
        Platform.BLUESKY, NewAccount(handle="wien.karvenia.example", display_name="Wien")
    )
    status, body = await xrpc(
        http, "com.atproto.repo.createRecord", writing(other, post()), session["accessJwt"]
    )
    assert (status, body["error"]) == (401, "AuthenticationRequired")
    assert posted(network) == []


async def test_a_wrong_password_opens_nothing(
    connect: Callable[[], Client], opened: dict[str, str]
) -> None:
    client = connect()
    for name in (HANDLE, "nobody.karvenia.example"):
        with pytest.raises(UnauthorizedError) as caught:
            await call(client.login, name, "wrong")
        content = caught.value.response.content
        assert (content.error, content.message) == (
            "AuthenticationRequired",
            "Invalid identifier or password",
        )


async def test_an_expired_session_is_a_400_and_a_refresh_helps(
    http: aiohttp.ClientSession, session: dict[str, str], opened: dict[str, str], clock: Clock
) -> None:
    clock.now_ns += 2 * HOUR_NS
    body = writing(opened, post())
    refused = await xrpc(http, "com.atproto.repo.createRecord", body, session["accessJwt"])
    assert refused == (400, {"error": "ExpiredToken", "message": "Token has expired"})
    status, fresh = await xrpc(
        http, "com.atproto.server.refreshSession", token=session["refreshJwt"]
    )
    assert status == 200
    assert fresh["refreshJwt"] != session["refreshJwt"]
    made = await xrpc(http, "com.atproto.repo.createRecord", body, fresh["accessJwt"])
    assert made[0] == 200


async def test_the_official_client_refreshes_a_session_that_is_about_to_end(
    connect: Callable[[], Client], network: PracticeNetwork, opened: dict[str, str], clock: Clock
) -> None:
    clock.now_ns = time.time_ns() - 7000 * 1_000_000_000
    client = connect()
    await call(client.login, HANDLE, opened["app_password"], fetch_bsky_profile=False)
    before = client.export_session_string()
    made = await call(client.send_post, "po osvežitvi", profile_identify=opened["did"])
    assert made.uri
    assert client.export_session_string() != before
    assert Kind.SESSION_ROTATED in [effect.kind for effect in network.log()]


async def test_an_old_refresh_token_works_two_hours_more_and_then_never(
    http: aiohttp.ClientSession, session: dict[str, str], clock: Clock
) -> None:
    refresh = "com.atproto.server.refreshSession"
    assert (await xrpc(http, refresh, token=session["refreshJwt"]))[0] == 200
    clock.now_ns += HOUR_NS
    assert (await xrpc(http, refresh, token=session["refreshJwt"]))[0] == 200
    clock.now_ns += HOUR_NS
    assert await xrpc(http, refresh, token=session["refreshJwt"]) == (
        400,
        {"error": "ExpiredToken", "message": "Token has been revoked"},
    )


async def test_a_session_that_was_ended_cannot_be_refreshed(
    http: aiohttp.ClientSession, session: dict[str, str]
) -> None:
    ended = await xrpc(http, "com.atproto.server.deleteSession", token=session["refreshJwt"])
    assert ended[0] == 200
    _, body = await xrpc(http, "com.atproto.server.refreshSession", token=session["refreshJwt"])
    assert body["error"] == "ExpiredToken"
    assert (await get(http, "com.atproto.server.getSession", session["accessJwt"]))[0] == 200


async def test_expiring_all_sessions_leaves_the_refresh_tokens(
    http: aiohttp.ClientSession, session: dict[str, str], network: PracticeNetwork
) -> None:
    network.turn(Platform.BLUESKY, Turn(expire_sessions=True))
    status, body = await get(http, "com.atproto.server.getSession", session["accessJwt"])
    assert (status, body["error"]) == (400, "ExpiredToken")
    _, fresh = await xrpc(http, "com.atproto.server.refreshSession", token=session["refreshJwt"])
    assert (await get(http, "com.atproto.server.getSession", fresh["accessJwt"]))[0] == 200


async def test_a_revoked_account_opens_nothing(
    http: aiohttp.ClientSession,
    session: dict[str, str],
    opened: dict[str, str],
    network: PracticeNetwork,
) -> None:
    network.turn(Platform.BLUESKY, Turn(revoke=HANDLE))
    _, body = await get(http, "com.atproto.server.getSession", session["accessJwt"])
    assert body["error"] == "ExpiredToken"
    _, body = await xrpc(http, "com.atproto.server.refreshSession", token=session["refreshJwt"])
    assert body == {"error": "ExpiredToken", "message": "Token has been revoked"}
    status, _ = await xrpc(http, "com.atproto.server.createSession", login(opened))
    assert status == 401
    again = network.open_account(
        Platform.BLUESKY, NewAccount(handle=HANDLE, display_name="MFA Karvenia")
    )
    assert again["did"] == opened["did"]
    assert (await xrpc(http, "com.atproto.server.createSession", login(again)))[0] == 200


def forged(token: str, **header: str) -> str:
    """The same claims under another header, unsigned."""
    _, claims, _ = token.split(".")
    head = base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    return f"{head}.{claims}."


async def test_bad_tokens_are_400s_and_a_missing_one_is_a_401(
    http: aiohttp.ClientSession, session: dict[str, str], opened: dict[str, str]
) -> None:
    method, body = "com.atproto.repo.createRecord", writing(opened, post())
    assert (await xrpc(http, method, body))[1]["error"] == "AuthMissing"
    assert (await xrpc(http, method, body))[0] == 401
    access = session["accessJwt"]
    broken = [access[:-2], "nonsense", "a.b.c", forged(access, alg="none"), "č"]
    for token in broken:
        status, answer = await xrpc(http, method, body, token)
        assert (status, answer["error"]) == (400, "InvalidToken")
    status, answer = await xrpc(http, method, body, session["refreshJwt"])
    assert (status, answer["message"]) == (400, "Bad token scope")


async def test_log_ins_are_limited_to_thirty_in_five_minutes(
    connect: Callable[[], Client], opened: dict[str, str], clock: Clock
) -> None:
    client = connect()
    for _ in range(30):
        await call(client.login, HANDLE, opened["app_password"], fetch_bsky_profile=False)
    with pytest.raises(RateLimitExceededError) as caught:
        await call(client.login, HANDLE, opened["app_password"], fetch_bsky_profile=False)
    assert caught.value.response.content.error == "RateLimitExceeded"
    headers = caught.value.response.headers
    assert headers["ratelimit-policy"] == "30;w=300"
    assert int(headers["ratelimit-reset"]) > clock.now_ns // 1_000_000_000
    assert headers["ratelimit-remaining"] == "0"


async def test_writes_cost_points_of_the_hour(
    http: aiohttp.ClientSession, session: dict[str, str], opened: dict[str, str]
) -> None:
    headers = {"Authorization": f"Bearer {session['accessJwt']}"}
    left = []
    for method, more in [
        ("createRecord", {}),
        ("putRecord", {"rkey": TID}),
        ("deleteRecord", {"rkey": TID}),
    ]:
        body = writing(opened, post(), **more)
        url = f"/xrpc/com.atproto.repo.{method}"
        async with http.post(url, json=body, headers=headers) as answer:
            assert answer.headers["RateLimit-Policy"] == "5000;w=3600"
            left.append(int(answer.headers["RateLimit-Remaining"]))
    assert left == [4997, 4995, 4994]


async def test_handles_resolve_and_unknown_ones_do_not(
    http: aiohttp.ClientSession, opened: dict[str, str]
) -> None:
    found = await get(http, "com.atproto.identity.resolveHandle", handle=HANDLE)
    assert found == (200, {"did": opened["did"]})
    status, body = await get(
        http, "com.atproto.identity.resolveHandle", handle="no.karvenia.example"
    )
    assert (status, body["message"]) == (400, "Unable to resolve handle")


async def test_the_server_and_the_repository_describe_themselves(
    client: Client, http: aiohttp.ClientSession
) -> None:
    await call(client.send_post, "x")
    _, server = await get(http, "com.atproto.server.describeServer")
    _, repo = await get(http, "com.atproto.repo.describeRepo", repo=HANDLE)
    assert server["did"].startswith("did:web:127.0.0.1")
    assert (repo["handle"], repo["collections"]) == (HANDLE, [POST])


async def test_an_unknown_method_and_a_wrong_verb_are_refused(
    client: Client, http: aiohttp.ClientSession
) -> None:
    with pytest.raises(RequestErrorBase) as caught:
        await call(client.app.bsky.feed.get_timeline)
    assert caught.value.response.status_code == 501
    status, body = await get(http, "com.atproto.repo.createRecord")
    assert (status, body["error"]) == (405, "InvalidRequest")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b"[]"),
        ("application/json", b'{"repo": 1, "collection": "a", "record": {}}'),
        ("application/json", b"[" * 100_000),
        ("text/plain", b"{}"),
        ("application/json", b"{}"),
    ],
)
async def test_a_broken_body_is_a_400(
    http: aiohttp.ClientSession, session: dict[str, str], content_type: str, body: bytes
) -> None:
    headers = {"Authorization": f"Bearer {session['accessJwt']}", "Content-Type": content_type}
    for method in ("createRecord", "putRecord", "applyWrites"):
        url = f"/xrpc/com.atproto.repo.{method}"
        async with http.post(url, data=body, headers=headers) as answer:
            assert answer.status == 400
            assert (await answer.json())["error"] == "InvalidRequest"


SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text("až👍\n\x00")
RECORDS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(alphabet="abcxyz", min_size=1), inner),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(min_size=1, alphabet="abcž"), RECORDS))
def test_records_are_encoded_as_the_reference_encoder_does(record: dict[str, Any]) -> None:
    assert encode(record) == libipld.encode_dag_cbor(record)


def test_content_identifiers_are_those_of_the_reference() -> None:
    record = post(embed=embed(alt="x", image=blob(size=1)))
    cid = CID.decode(record_cid(record))
    assert (cid.version, cid.codec) == (1, 0x71)
    assert record_cid(record).startswith("bafyrei")
    linked = {"a": {"$link": blob_cid(b"x")}}
    binary = (
        b"\xa1\x61a\xd8\x2a\x58\x25\x00" + bytes.fromhex("01551220") + hashlib.sha256(b"x").digest()
    )
    assert encode(linked) == binary
    assert libipld.decode_dag_cbor(encode(linked))
    assert CID.decode(blob_cid(b"x")).codec == 0x55


@pytest.mark.parametrize("value", [1.5, {"$link": "bafy"}, 2**64, {"$bytes": "!"}, {1}])
def test_what_has_no_place_in_a_record_is_refused(value: object) -> None:
    with pytest.raises(ValueError):
        encode(value)


async def test_a_link_card_is_shown_with_the_post(client: Client) -> None:
    card = models.AppBskyEmbedExternal.External(
        uri="https://mfa.karvenia.example/a", title="Naslov", description="Opis"
    )
    main = models.AppBskyEmbedExternal.Main(external=card)
    made = await call(client.send_post, "s kartico", embed=main)
    shown = (await call(client.get_posts, [made.uri])).posts[0].embed.external
    assert (shown.uri, shown.title, shown.description) == (card.uri, "Naslov", "Opis")


async def test_the_first_bytes_of_a_blob_say_what_it_is(
    client: Client, http: aiohttp.ClientSession, session: dict[str, str]
) -> None:
    headers = {"Authorization": f"Bearer {session['accessJwt']}", "Content-Type": "*/*"}
    kinds = {
        b"\xff\xd8\xff\xe0": "image/jpeg",
        b"GIF89a": "image/gif",
        b"RIFF\x00\x00\x00\x00WEBP": "image/webp",
        b"\x00\x00\x00\x18ftypmp42": "video/mp4",
        b"anything": "application/octet-stream",
    }
    for data, mime in kinds.items():
        url = "/xrpc/com.atproto.repo.uploadBlob"
        async with http.post(url, data=data, headers=headers) as answer:
            blob = (await answer.json())["blob"]
            assert (blob["mimeType"], blob["size"]) == (mime, len(data))
            assert blob["ref"]["$link"] == blob_cid(data)


async def test_a_blob_must_be_what_the_record_says_it_is(
    client: Client, http: aiohttp.ClientSession, session: dict[str, str], opened: dict[str, str]
) -> None:
    await call(client.upload_blob, picture())
    claimed = blob(size=3) | {"ref": {"$link": blob_cid(picture())}}
    record = post(embed=embed(alt="x", image=claimed))
    _, body = await xrpc(
        http, "com.atproto.repo.createRecord", writing(opened, record), session["accessJwt"]
    )
    assert body["error"] == "InvalidMimeType"


async def test_records_of_unknown_lexicons_are_kept_unless_validation_is_asked_for(
    http: aiohttp.ClientSession,
    session: dict[str, str],
    opened: dict[str, str],
    network: PracticeNetwork,
) -> None:
    body = {
        "repo": opened["did"],
        "collection": "example.karvenia.note",
        "record": {"text": "x"},
    }
    method = "com.atproto.repo.createRecord"
    status, made = await xrpc(http, method, body, session["accessJwt"])
    assert (status, made["validationStatus"]) == (200, "unknown")
    status, refused = await xrpc(http, method, body | {"validate": True}, session["accessJwt"])
    assert (status, refused["message"]) == (400, "Lexicon not found: lex:example.karvenia.note")
    assert network.posts() == []


async def test_no_post_escapes_its_lexicon(
    http: aiohttp.ClientSession, session: dict[str, str], opened: dict[str, str]
) -> None:
    body = writing(opened, post("č" * 301), validate=False)
    status, _ = await xrpc(http, "com.atproto.repo.createRecord", body, session["accessJwt"])
    assert status == 400


async def test_a_batch_updates_what_is_there_and_only_that(
    http: aiohttp.ClientSession,
    session: dict[str, str],
    opened: dict[str, str],
    network: PracticeNetwork,
) -> None:
    kind = "com.atproto.repo.applyWrites"
    await xrpc(
        http,
        "com.atproto.repo.createRecord",
        writing(opened, post("prvo"), rkey=TID),
        session["accessJwt"],
    )
    update = {"$type": f"{kind}#update", "collection": POST, "rkey": TID, "value": post("drugo")}
    body = {"repo": opened["did"], "writes": [update]}
    assert (await xrpc(http, kind, body, session["accessJwt"]))[0] == 200
    assert network.posts()[0]["text"] == "drugo"
    missing = update | {"rkey": "3lka2bcdefg3h"}
    for writes in ([missing], [{"$type": "x"}], [1], "x", [update | {"$type": f"{kind}#x"}]):
        body = {"repo": opened["did"], "writes": writes}
        assert (await xrpc(http, kind, body, session["accessJwt"]))[0] == 400


async def test_a_deletion_may_insist_on_the_record_it_means(
    http: aiohttp.ClientSession, session: dict[str, str], opened: dict[str, str]
) -> None:
    method = "com.atproto.repo.createRecord"
    _, made = await xrpc(http, method, writing(opened, post(), rkey=TID), session["accessJwt"])
    body = {"repo": HANDLE, "collection": POST, "rkey": TID, "swapRecord": blob_cid(b"x")}
    method = "com.atproto.repo.deleteRecord"
    status, refused = await xrpc(http, method, body, session["accessJwt"])
    assert (status, refused["error"]) == (400, "InvalidSwap")
    body["swapRecord"] = made["cid"]
    assert (await xrpc(http, method, body, session["accessJwt"]))[0] == 200


@pytest.mark.parametrize(
    ("method", "query", "error"),
    [
        ("com.atproto.repo.getRecord", {"repo": HANDLE, "collection": POST}, "InvalidRequest"),
        (
            "com.atproto.repo.listRecords",
            {"repo": "no.example", "collection": POST},
            "RepoNotFound",
        ),
        (
            "com.atproto.repo.listRecords",
            {"repo": HANDLE, "collection": POST, "limit": "101"},
            "InvalidRequest",
        ),
        ("com.atproto.sync.getBlob", {"did": "did:plc:x", "cid": "x"}, "BlobNotFound"),
        ("app.bsky.actor.getProfile", {"actor": "no.example"}, "InvalidRequest"),
        ("app.bsky.feed.getPosts", {}, "InvalidRequest"),
        ("app.bsky.feed.getPostThread", {"uri": AT_URI}, "NotFound"),
    ],
)
async def test_a_read_that_finds_nothing_says_so(
    http: aiohttp.ClientSession,
    session: dict[str, str],
    method: str,
    query: dict[str, str],
    error: str,
) -> None:
    status, body = await get(http, method, session["accessJwt"], **query)
    assert (status, body["error"]) == (400, error)


async def test_a_record_is_read_by_its_version(client: Client, http: aiohttp.ClientSession) -> None:
    made = await call(client.send_post, "x")
    query = {"repo": HANDLE, "collection": POST, "rkey": made.uri.rpartition("/")[2]}
    assert (await get(http, "com.atproto.repo.getRecord", cid=made.cid, **query))[0] == 200
    other = await get(http, "com.atproto.repo.getRecord", cid=blob_cid(b"x"), **query)
    assert other[1]["error"] == "RecordNotFound"


async def test_a_post_is_found_by_the_handle_too(client: Client) -> None:
    made = await call(client.send_post, "x")
    uri = made.uri.replace(client.me.did, HANDLE)
    assert (await call(client.get_posts, [uri])).posts[0].uri == made.uri


async def test_feeds_are_filtered(client: Client, opened: dict[str, str]) -> None:
    first = models.create_strong_ref(await call(client.send_post, "objava"))
    reply = models.AppBskyFeedPost.ReplyRef(root=first, parent=first)
    await call(client.send_post, "odgovor", reply_to=reply)
    await call(client.send_image, "slika", picture(), "x")
    texts = {}
    for name in ("posts_no_replies", "posts_with_media"):
        page = await call(client.get_author_feed, opened["did"], filter=name)
        texts[name] = [one.post.record.text for one in page.feed]
    assert texts == {"posts_no_replies": ["slika", "objava"], "posts_with_media": ["slika"]}


async def test_notifications_are_empty(client: Client) -> None:
    found = await call(client.app.bsky.notification.list_notifications)
    assert found.notifications == []


async def test_an_upload_over_the_limit_of_the_server_is_a_413(
    http: aiohttp.ClientSession, session: dict[str, str]
) -> None:
    headers = {"Authorization": f"Bearer {session['accessJwt']}", "Content-Type": "video/mp4"}
    data = io.BytesIO(bytes(BLOB_BYTES + 1))
    url = "/xrpc/com.atproto.repo.uploadBlob"
    async with http.post(url, data=data, headers=headers) as answer:
        assert (answer.status, (await answer.json())["error"]) == (413, "PayloadTooLarge")
