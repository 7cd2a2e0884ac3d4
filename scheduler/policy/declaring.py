"""Facts as people write them down, in a policy's examples and in files of posts to be judged.

A text alone is a routine post in English. A mapping has `text`, `language`, `title`, `thread`, `media`, `accounts`,
`postures`, and any declared fact by its name.
"""

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Final

from scheduler.policy.comparing import read_instant
from scheduler.policy.facts import COLLECTIONS, FIELDS, Kind, PostFacts, TextFact, Value
from scheduler.policy.source import Node

_TEXTS: Final = frozenset({"text", "title", "thread"})
_ITEMS: Final = ("media", "accounts", "postures")


def read_facts(node: Node) -> PostFacts:
    """Read a post from plain data; texts are taken in their composed form (NFC), as they are when they are stored.

    Raises:
        PolicyInvalidError: an unknown key, or a value of another kind.
    """
    if isinstance(node.value, str):
        return PostFacts.of("routine", {"en": _nfc(node.text())})
    found = node.fields(needed=frozenset({"text"}), optional=_TEXTS | FIELDS.keys() | set(_ITEMS))
    declared: dict[str, Value] = {"class": "routine", "language": "en"}
    for name, kind in FIELDS.items():
        if name in found:
            declared[name] = read_value(found[name], kind)
    items: dict[str, tuple[Mapping[str, Value], ...]] = {
        str(name): _read_items(name, found[name]) for name in _ITEMS if name in found
    }
    language = str(declared["language"] or "")
    return PostFacts(
        texts=tuple(_read_texts(found, items.get("media", ()), language)),
        declared=declared,
        items=items,
    )


def read_value(node: Node, kind: Kind) -> Value:
    """One fact's value; null is a fact that is known to be missing."""
    if node.value is None:
        return None
    match kind:
        case Kind.TEXT:
            return node.text(longest=100_000)
        case Kind.TRUTH:
            return node.truth()
        case Kind.INSTANT:
            return read_instant(node)
        case Kind.SET:
            return frozenset(node.texts())
        case Kind.NUMBER:
            if isinstance(node.value, bool) or not isinstance(node.value, int | float):
                node.refuse("must be a number")
            return float(node.value)


def _read_items(name: str, node: Node) -> tuple[Mapping[str, Value], ...]:
    kinds = COLLECTIONS[name].fields
    return tuple(
        {
            key: read_value(inner, kinds[key])
            for key, inner in each.fields(needed=frozenset(), optional=frozenset(kinds)).items()
        }
        for each in node.elements()
    )


def _read_texts(
    found: Mapping[str, Node], media: tuple[Mapping[str, Value], ...], language: str
) -> Iterator[TextFact]:
    yield TextFact(language, _nfc(found["text"].text(longest=1_000_000)))
    if "title" in found:
        yield TextFact(language, _nfc(found["title"].text()), "title", "title")
    if "thread" in found:
        for index, text in enumerate(found["thread"].texts()):
            yield TextFact(language, _nfc(text), f"thread.{index}")
    for index, each in enumerate(media):
        for key, part in (("alt", "alt"), ("name", "file")):
            shown = each.get(key)
            if isinstance(shown, str) and shown:
                yield TextFact(language, _nfc(shown), f"media.{index}.{key}", part)


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)
