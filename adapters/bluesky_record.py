"""Bluesky post records: making one, naming one, and comparing what stands with what was approved (pure)."""

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Final

from adapters import answers
from adapters.base import Content, Json, JsonObject, Segment
from adapters.text import bluesky_facets

COLLECTION: Final = "app.bsky.feed.post"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TID_DIGITS: Final = "234567abcdefghijklmnopqrstuvwxyz"
_TID_LENGTH: Final = 13
_RAW_SHA256_CID: Final = bytes((0x01, 0x55, 0x12, 0x20))
_CODES: Final = {
    "text": "text",
    "langs": "language",
    "reply": "parent",
    "facets": "links",
    "createdAt": "created_at",
}


def build_record(content: Content, index: int) -> JsonObject:
    """Return the record template of one segment; a card stands under the first."""
    segment = content.segments[index]
    record: dict[str, Json] = {
        "$type": COLLECTION,
        "text": segment.text,
        "createdAt": {"$slot": "created_at"},
        "langs": [content.language],
    }
    if facets := bluesky_facets(segment.text):
        record["facets"] = facets
    if segment.media:
        record["embed"] = _images(segment)
    elif content.card is not None and index == 0:
        record["embed"] = {
            "$type": "app.bsky.embed.external",
            "external": {
                "uri": content.card.uri,
                "title": content.card.title,
                "description": content.card.description,
            },
        }
    if index:
        record["reply"] = {"root": {"$slot": "root"}, "parent": {"$slot": "parent"}}
    return record


def _images(segment: Segment) -> JsonObject:
    return {
        "$type": "app.bsky.embed.images",
        "images": [
            {
                "image": {"$slot": "media", "sha256": media.sha256},
                "alt": media.alt,
                "aspectRatio": {"width": media.width, "height": media.height},
            }
            for media in segment.media
        ],
    }


def build_tid(created_at: datetime, key: str) -> str:
    """Return a TID: the millisecond of `created_at`, the rest from a hash of `key`, https://atproto.com/specs/tid.

    Raises:
        ValueError: for a naive time or one before 1970.
    """
    if created_at.tzinfo is None or created_at < _EPOCH:
        raise ValueError("a record key needs an aware time since 1970")
    noise = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    micros = (created_at - _EPOCH) // timedelta(milliseconds=1) * 1000 + noise % 1000
    number = micros << 10 | (noise >> 32) % 1024
    places = reversed(range(_TID_LENGTH))
    return "".join(_TID_DIGITS[number >> 5 * place & 31] for place in places)


def raw_cid(sha256: str) -> str:
    """Return the CID of a blob from the hex SHA-256 of its bytes, https://atproto.com/specs/blob."""
    digest = _RAW_SHA256_CID + bytes.fromhex(sha256)
    return "b" + base64.b32encode(digest).decode().lower().rstrip("=")


def strong_ref(sent: JsonObject, answer: JsonObject) -> JsonObject | None:
    """Return the address and CID in `answer` if they are those of the record that `sent` names."""
    uri = f"at://{sent['repo']}/{sent['collection']}/{sent['rkey']}"
    cid = answers.id_of(answer, "cid")
    if answers.text_of(answer, "uri") != uri or not cid:
        return None
    return {"uri": uri, "cid": cid}


def differences(sent: JsonObject, stored: JsonObject) -> tuple[str, ...]:
    """Return a code for each part that differs."""
    found: set[str] = set()
    for key in sent.keys() | stored.keys():
        if sent.get(key) != stored.get(key):
            found.add(
                _embed_difference(sent, stored) if key == "embed" else _CODES.get(key, "other")
            )
    return tuple(sorted(found))


def _embed_difference(sent: JsonObject, stored: JsonObject) -> str:
    ours, theirs = _image_list(sent), _image_list(stored)
    if len(ours) != len(theirs):
        return "media_count"
    if [item.get("alt") for item in ours] != [item.get("alt") for item in theirs]:
        return "alt"
    return "media" if ours else "card"


def _image_list(record: JsonObject) -> list[JsonObject]:
    found = answers.inner(record, "embed").get("images")
    items = found if isinstance(found, list) else []
    return [item if isinstance(item, dict) else {} for item in items]
