"""What a PDS checks in a post before it stores it, after the app.bsky lexicons."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from scheduler.practice.bluesky.dag import is_cid
from scheduler.practice.graphemes import count_graphemes

POST: Final = "app.bsky.feed.post"
MAX_GRAPHEMES: Final = 300
MAX_BYTES: Final = 3000
MAX_IMAGES: Final = 4
IMAGE_BYTES: Final = 1_000_000  # what a PDS enforces; the lexicon of 2026 says two
VIDEO_BYTES: Final = 100_000_000
_MAX_LANGUAGES: Final = 3
_MAX_TAGS: Final = 8

_URI: Final = re.compile(r"\w+:(?://)?[^\s/][^\s]*")
_DID: Final = re.compile(r"did:[a-z]+:[a-zA-Z0-9._:%-]*[a-zA-Z0-9._-]")
_AT_URI: Final = re.compile(r"at://[a-zA-Z0-9._:%-]+/[a-zA-Z][a-zA-Z0-9.-]*/[a-zA-Z0-9._~:-]+")
_LANGUAGE: Final = re.compile(r"(?:i|[a-z]{2,3})(?:-[a-zA-Z0-9]+)*")
_DATETIME: Final = re.compile(
    r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d(?:\.\d+)?(?:Z|[+-][0-2]\d:[0-5]\d)"
)


class InvalidRecordError(ValueError):
    """The record is not what its lexicon says; the message is the PDS's own."""


def check_post(record: dict[str, Any]) -> None:
    """Check a post.

    Raises:
        InvalidRecordError: it breaks its lexicon.
    """
    path = "$.record"
    _text(record.get("text"), f"{path}.text", max_bytes=MAX_BYTES, max_graphemes=MAX_GRAPHEMES)
    _datetime(record.get("createdAt"), f"{path}.createdAt")
    for at, language in _items(record, "langs", path, maximum=_MAX_LANGUAGES):
        if not (isinstance(language, str) and _LANGUAGE.fullmatch(language)):
            raise _wrong("Invalid language", at)
    for at, tag in _items(record, "tags", path, maximum=_MAX_TAGS):
        _text(tag, at, max_bytes=640, max_graphemes=64)
    for at, facet in _items(record, "facets", path):
        _facet(facet, at)
    if "reply" in record:
        reply = _object(record["reply"], f"{path}.reply")
        for end in ("root", "parent"):
            _strong_ref(reply.get(end), f"{path}.reply.{end}")
    if "embed" in record:
        _embed(record["embed"], f"{path}.embed")


def blobs(value: object) -> Iterator[dict[str, Any]]:
    """Every blob that a record points at, in the order it is written."""
    if isinstance(value, list):
        for item in value:
            yield from blobs(item)
    elif isinstance(value, dict):
        if value.get("$type") == "blob":
            yield value
        else:
            for item in value.values():
                yield from blobs(item)


def images(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The images of a post's embed, also of one that quotes a record."""
    embed = record.get("embed")
    if isinstance(embed, dict) and embed.get("$type") == "app.bsky.embed.recordWithMedia":
        embed = embed.get("media")
    if not isinstance(embed, dict) or embed.get("$type") != "app.bsky.embed.images":
        return []
    return [one for one in embed.get("images") or () if isinstance(one, dict)]


def _embed(value: object, path: str) -> None:
    """Check a known embed; one of an unknown type passes, as the union is open."""
    embed = _object(value, path)
    match embed.get("$type"):
        case "app.bsky.embed.images":
            for at, image in _items(embed, "images", path, maximum=MAX_IMAGES, required=True):
                _image(image, at)
        case "app.bsky.embed.external":
            _external(embed.get("external"), f"{path}.external")
        case "app.bsky.embed.video":
            _blob(embed.get("video"), f"{path}.video", accept="video/mp4", most=VIDEO_BYTES)
        case "app.bsky.embed.record":
            _strong_ref(embed.get("record"), f"{path}.record")
        case "app.bsky.embed.recordWithMedia":
            _strong_ref(_object(embed.get("record"), path).get("record"), f"{path}.record.record")
            _embed(embed.get("media"), f"{path}.media")
        case str():
            return
        case _:
            raise _wrong('Expected an object with a "$type" property', path)


def _image(value: object, path: str) -> None:
    image = _object(value, path)
    _text(image.get("alt"), f"{path}.alt")
    _blob(image.get("image"), f"{path}.image", accept="image/", most=IMAGE_BYTES)
    if "aspectRatio" in image:
        ratio = _object(image["aspectRatio"], f"{path}.aspectRatio")
        for side in ("width", "height"):
            _integer(ratio.get(side), f"{path}.aspectRatio.{side}", minimum=1)


def _external(value: object, path: str) -> None:
    card = _object(value, path)
    for name in ("uri", "title", "description"):
        _text(card.get(name), f"{path}.{name}")
    _uri(card["uri"], f"{path}.uri")
    if "thumb" in card:
        _blob(card["thumb"], f"{path}.thumb", accept="image/", most=1_000_000)


def _facet(value: object, path: str) -> None:
    """A range beyond the text passes: a PDS does not compare it with the text."""
    facet = _object(value, path)
    index = _object(facet.get("index"), f"{path}.index")
    for end in ("byteStart", "byteEnd"):
        _integer(index.get(end), f"{path}.index.{end}", minimum=0)
    for at, item in _items(facet, "features", path, required=True):
        feature = _object(item, at)
        match feature.get("$type"):
            case "app.bsky.richtext.facet#link":
                _uri(feature.get("uri"), f"{at}.uri")
            case "app.bsky.richtext.facet#mention":
                if not _DID.fullmatch(_text(feature.get("did"), f"{at}.did")):
                    raise _wrong("Invalid DID", f"{at}.did")
            case "app.bsky.richtext.facet#tag":
                _text(feature.get("tag"), f"{at}.tag", max_bytes=640, max_graphemes=64)
            case str():
                continue
            case _:
                raise _wrong('Expected an object with a "$type" property', at)


def _blob(value: object, path: str, *, accept: str, most: int) -> None:
    blob = _object(value, path)
    reference = blob.get("ref")
    link = reference.get("$link") if isinstance(reference, dict) else None
    if blob.get("$type") != "blob" or not is_cid(link):
        raise _wrong("Expected a blob", path)
    size = _integer(blob.get("size"), f"{path}.size", minimum=0)
    if size > most:
        raise _wrong(f"blob too big (maximum {most}, got {size})", path)
    if not _text(blob.get("mimeType"), f"{path}.mimeType").startswith(accept):
        raise _wrong(f"Expected a blob of type {accept}*", path)


def _strong_ref(value: object, path: str) -> None:
    reference = _object(value, path)
    if not _AT_URI.fullmatch(_text(reference.get("uri"), f"{path}.uri")):
        raise _wrong("Invalid AT-URI", f"{path}.uri")
    if not is_cid(reference.get("cid")):
        raise _wrong("Invalid CID", f"{path}.cid")


def _datetime(value: object, path: str) -> None:
    text = _text(value, path)
    if not _DATETIME.fullmatch(text):
        raise _wrong("Invalid datetime", path)
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise _wrong("Invalid datetime", path) from None


def _uri(value: object, path: str) -> None:
    if not _URI.fullmatch(_text(value, path)):
        raise _wrong("Invalid URI", path)


def _object(value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(f"Expected object value type (got {_named(value)})", path)
    return value


def _integer(value: object, path: str, *, minimum: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(f"Expected integer value type (got {_named(value)})", path)
    if value < minimum:
        raise _wrong(f"integer too small (minimum {minimum}, got {value})", path)
    return value


def _text(
    value: object, path: str, *, max_bytes: int | None = None, max_graphemes: int | None = None
) -> str:
    if not isinstance(value, str):
        raise _wrong(f"Expected string value type (got {_named(value)})", path)
    if max_bytes is not None and (length := len(value.encode())) > max_bytes:
        raise _wrong(f"string too big (maximum {max_bytes}, got {length})", path)
    if max_graphemes is not None and len(value) > max_graphemes:
        length = count_graphemes(value)
        if length > max_graphemes:
            raise _wrong(f"grapheme too big (maximum {max_graphemes}, got {length})", path)
    return value


def _items(
    value: dict[str, Any],
    name: str,
    path: str,
    *,
    maximum: int | None = None,
    required: bool = False,
) -> Iterator[tuple[str, object]]:
    if name not in value and not required:
        return
    items = value.get(name)
    if not isinstance(items, list):
        raise _wrong(f"Expected array value type (got {_named(items)})", f"{path}.{name}")
    if maximum is not None and len(items) > maximum:
        raise _wrong(f"array too big (maximum {maximum}, got {len(items)})", f"{path}.{name}")
    for number, item in enumerate(items):
        yield f"{path}.{name}[{number}]", item


def _named(value: object) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer"}
    return "undefined" if value is None else names.get(type(value), "unknown")


def _wrong(problem: str, path: str) -> InvalidRecordError:
    return InvalidRecordError(f"{problem} at {path}")
