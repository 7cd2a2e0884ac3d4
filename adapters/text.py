"""How long a text is on each platform, and where its links and hashtags stand: the one place for counting.

Graphemes are Unicode extended grapheme clusters (UAX 29). A link is recognised only with its scheme.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import regex

from adapters.base import JsonObject

_GRAPHEME: Final = regex.compile(r"\X")
_LINK: Final = regex.compile(
    r"""(?<![a-z0-9_@#$/])https?://[\w-]+(?:\.[\w-]+)+(?::\d{1,5})?(?:[/?#][^\s<>"。、，！？；：「」『』【】《》]*)?""",
    regex.IGNORECASE,
)
_LINK_TAIL: Final = ".,;:!?'…»”’"
_BRACKETS: Final = {")": "(", "]": "[", "}": "{"}
_REMOTE_MENTION: Final = regex.compile(
    r"(?<![\w/=])@([a-z0-9_](?:[a-z0-9_.-]*[a-z0-9_])?)@[\w-]+(?:\.[\w-]+)+", regex.IGNORECASE
)
_TAG: Final = regex.compile(r"(?<!\S)[#＃]([^\s#＃]+)")
_TAG_WORD: Final = regex.compile(r"[^\d\p{P}]")
_TAG_GRAPHEMES: Final = 64
_TAG_BYTES: Final = 640


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of code points."""

    start: int
    end: int


def graphemes(text: str) -> int:
    if text.isascii():
        return len(text) - text.count("\r\n")
    return sum(1 for _ in _GRAPHEME.finditer(text))


def utf8_length(text: str) -> int:
    """Return bytes; a lone surrogate counts as three, so that bad text can still be measured."""
    return len(text.encode("utf-8", "surrogatepass"))


def links(text: str) -> Iterator[Span]:
    """Yield each http or https address, without the punctuation that ends the sentence around it."""
    for match in _LINK.finditer(text):
        yield Span(match.start(), match.start() + len(_without_tail(match.group())))


def _without_tail(link: str) -> str:
    end = len(link)
    surplus = {
        close: link.count(close) - link.count(opening) for close, opening in _BRACKETS.items()
    }
    while True:
        last = link[end - 1]
        if last in _LINK_TAIL:
            end -= 1
        elif surplus.get(last, 0) > 0:
            surplus[last] -= 1
            end -= 1
        else:
            return link[:end]


def without_mention_hosts(text: str) -> str:
    """Shorten `@user@host` to `@user`, which is what Mastodon counts and shows."""
    return str(_REMOTE_MENTION.sub(r"@\1", text))


def mastodon_length(text: str, *, url_length: int) -> int:
    """Count graphemes, each link as `url_length` and `@user@host` as `@user`.

    https://docs.joinmastodon.org/user/posting/#text
    """
    pieces = []
    done = 0
    for span in links(text):
        pieces += [text[done : span.start], "x" * url_length]
        done = span.end
    pieces.append(text[done:])
    return graphemes(without_mention_hosts("".join(pieces)))


def bluesky_facets(text: str) -> tuple[JsonObject, ...]:
    """Return links and hashtags by UTF-8 byte offsets, in reading order.

    A mention stays plain text: its facet would need the handle's DID, which may change between approval and sending.
    https://docs.bsky.app/docs/advanced-guides/post-richtext
    """
    kind = "app.bsky.richtext.facet"
    found: list[tuple[Span, JsonObject]] = [
        (span, {"$type": f"{kind}#link", "uri": text[span.start : span.end]})
        for span in links(text)
    ]
    found += [
        (span, {"$type": f"{kind}#tag", "tag": text[span.start + 1 : span.end]})
        for span in _tags(text)
    ]
    found.sort(key=lambda item: item[0].start)
    return tuple(
        {
            "index": {
                "byteStart": utf8_length(text[: span.start]),
                "byteEnd": utf8_length(text[: span.end]),
            },
            "features": [feature],
        }
        for span, feature in found
    )


def _tags(text: str) -> Iterator[Span]:
    for match in _TAG.finditer(text):
        tag = str(match.group(1))
        while tag and unicodedata.category(tag[-1]).startswith("P"):
            tag = tag[:-1]
        short = graphemes(tag) <= _TAG_GRAPHEMES and utf8_length(tag) <= _TAG_BYTES
        if short and _TAG_WORD.search(tag):
            yield Span(match.start(), match.start() + 1 + len(tag))
