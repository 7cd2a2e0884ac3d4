"""What the public reads is, byte for byte, what was approved: read back over the platforms' public addresses.

The reading is the test's own: no adapter, no token, and nothing of the practice network but its HTTP answers.
"""

import json
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from scheduler.canonical import sha256_hex
from scheduler.db.tables import Delivery
from scheduler.practice.scenario import DEFAULT_FILE, read_scenario
from scheduler.services import media
from scheduler.services.writing import When
from tests.integration.fault_fixtures import Yard, practice, yard_fixture  # noqa: F401 - fixtures
from tests.support.pictures import picture
from tests.support.world import connect

_FORMATS = ("JPEG", "PNG", "WEBP")  #: what both platforms take
_SHORT = 300  #: what Bluesky takes in one part


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A post as a stranger reads it."""

    text: str
    language: str
    pictures: tuple[bytes, ...]
    alts: tuple[str, ...]


class _Reader(HTMLParser):
    """The plain text of Mastodon's HTML, https://docs.joinmastodon.org/spec/activitypub/#sanitization."""

    def __init__(self) -> None:
        super().__init__()
        self.paragraphs = [""]

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "br":
            self.paragraphs[-1] += "\n"

    def handle_endtag(self, tag: str) -> None:
        if tag == "p":
            self.paragraphs.append("")

    def handle_data(self, data: str) -> None:
        self.paragraphs[-1] += data


@pytest.mark.parametrize("database", ["sqlite"])
@pytest.mark.timeout(120)
async def test_texts_in_all_the_ministrys_languages_are_public_byte_for_byte(yard: Yard) -> None:
    said = _texts_by_language()
    assert len(said) >= 8
    pictures = await _pictures(yard)
    posts = {}
    for number, (language, text) in enumerate(said.items()):
        codes = await connect(yard.world, f"in-{language}", "krv.hq", language)
        mine = pictures[number % len(pictures) :][:2]
        segment = {
            "text": text,
            "media": [{"sha256": sha256_hex(each), "alt": f"{text[:40]} 🌍"} for each in mine],
        }
        post = await yard.world.scheduled(
            texts={language: [segment]}, targets=tuple(codes), when=When(local=None)
        )
        posts[post.id] = Shown(
            text=text,
            language=language,
            pictures=tuple(mine),
            alts=tuple(each["alt"] for each in segment["media"]),
        )
    with yard.worker(patience=(10, 2, 10)) as worker:
        await yard.until_done(count=2 * len(said), worker=worker)
    for delivery in await yard.deliveries():
        assert _read(yard, delivery) == posts[delivery.post_id]


def _texts_by_language() -> dict[str, str]:
    """The longest text in each language that fits both platforms in one part."""
    data = json.loads(DEFAULT_FILE.read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    for each in data["posts"]:
        if len(each["text"]) < _SHORT and len(each["text"]) > len(found.get(each["lang"], "")):
            found[each["lang"]] = each["text"]
    own = {language for post in read_scenario().posts for language in (post.language,)}
    return {language: text for language, text in found.items() if language in own}


async def _pictures(yard: Yard) -> list[bytes]:
    """Pictures of each format as they were cleaned: these bytes are approved."""
    app, officer = yard.world.app, await yard.world.actor("hocevar")
    found = []
    for kind in _FORMATS:
        kept = await media.upload(
            app.open_uow, app.kit, officer, "krv.hq", picture(kind), f"image/{kind.lower()}"
        )
        found.append(app.kit.media.read(kept.sha256))
    return found


def _read(yard: Yard, delivery: Delivery) -> Shown:
    assert delivery.remote_id is not None
    if delivery.remote_id.startswith("at://"):
        return _read_bluesky(yard.practice.bluesky_url, delivery.remote_id)
    return _read_mastodon(yard.practice.mastodon_url, delivery.remote_id)


def _read_mastodon(url: str, number: str) -> Shown:
    status = json.loads(_get(f"{url}/api/v1/statuses/{number}"))
    reader = _Reader()
    reader.feed(status["content"])
    return Shown(
        text="\n\n".join(reader.paragraphs[:-1]),
        language=status["language"],
        pictures=tuple(_get(each["url"]) for each in status["media_attachments"]),
        alts=tuple(each["description"] for each in status["media_attachments"]),
    )


def _read_bluesky(url: str, uri: str) -> Shown:
    repo, collection, key = uri.removeprefix("at://").split("/")
    record = _xrpc(url, "com.atproto.repo.getRecord", repo=repo, collection=collection, rkey=key)
    value: dict[str, Any] = json.loads(record)["value"]
    images = value.get("embed", {}).get("images", [])
    return Shown(
        text=value["text"],
        language=value["langs"][0],
        pictures=tuple(
            _xrpc(url, "com.atproto.sync.getBlob", did=repo, cid=each["image"]["ref"]["$link"])
            for each in images
        ),
        alts=tuple(each["alt"] for each in images),
    )


def _xrpc(url: str, method: str, **query: str) -> bytes:
    return _get(f"{url}/xrpc/{method}?{urlencode(query)}")


def _get(url: str) -> bytes:
    with urlopen(url, timeout=20) as answer:
        content: bytes = answer.read()
        return content
