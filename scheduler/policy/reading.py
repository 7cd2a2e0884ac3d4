"""A post prepared for a policy: its texts searched once, and everything else worked out when a rule asks for it."""

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import regex

from scheduler.policy import tokens
from scheduler.policy.comparing import Path
from scheduler.policy.conditions import Place, Places
from scheduler.policy.facts import Item, PostFacts, TextFact, Value
from scheduler.policy.finding import FINDERS
from scheduler.policy.lists import Lexicon, find_quoted, fold_value, is_inside, is_language
from scheduler.policy.matching import Span
from scheduler.policy.registries import Registries

TOPIC_LIST: Final = "topic_"  #: how the names of lists begin whose terms tell a topic
_ALERT_ACTIONS: Final = "alert_actions"
_PLACE: Final = regex.compile(
    r"\b(?:in|at|near|v|na|në|во|в|у|à|a|en|im|bei|w|la|në)\s+\p{Lu}\p{L}{2,}"
)
_MAGNITUDES: Final = "magnitude_"


@dataclass(slots=True)
class Reading:
    """Implements what conditions ask; values and collections are kept once they were worked out."""

    facts: PostFacts
    lexicon: Lexicon
    registries: Registries
    settings: Mapping[str, str]
    found: list[dict[str, tuple[Span, ...]]] = field(init=False)
    _values: dict[str, Value] = field(init=False)
    _collections: dict[str, Sequence[Item]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.found = [self.lexicon.find(each.text, each.language) for each in self.facts.texts]
        self._values = dict(self.facts.declared)

    @property
    def publish_at(self) -> datetime | None:
        value = self._values.get("publish_at")
        return value if isinstance(value, datetime) else None

    def fact(self, path: Path) -> Value:
        return self.value(path.name)

    def value(self, name: str) -> Value:
        """A fact by its name: declared, else worked out."""
        if name in self._values:
            return self._values[name]
        derive = _DERIVED.get(name)
        if derive is None:
            return self.settings.get(name.removeprefix("setting.")) if "." in name else None
        self._values[name] = derive(self)
        return self._values[name]

    def names(self, name: str) -> frozenset[str]:
        return self.lexicon.values(name)

    def collection(self, name: str) -> Sequence[Item]:
        found = self._collections.get(name)
        if found is None:
            declared = tuple(Item(values) for values in self.facts.items.get(name, ()))
            complete = FINDERS.get(name)
            found = declared if complete is None else complete(self, declared)
            self._collections[name] = found
        return found

    def with_item(self, name: str, item: Item) -> "View":
        return View(self, {name: item})

    def hits(self, list_name: str, parts: frozenset[str]) -> Places:
        """Where the terms of a list stand in the texts of some parts."""
        return tuple(
            (index, span)
            for index, found in enumerate(self.found)
            if list_name in found and self.facts.texts[index].part in parts
            for span in found[list_name]
        )

    def hits_anywhere(self, list_name: str) -> Places:
        return tuple(
            (index, span)
            for index, found in enumerate(self.found)
            for span in found.get(list_name, ())
        )

    def glossary(self, rule: str, *, quoted_too: bool) -> Places:
        places: list[Place] = []
        for term in self.registries.terms:
            if term.rule == rule and not term.footnote and term.valid.at(self.publish_at):
                places += self.hits_anywhere(term.denied)
        if quoted_too or not places:
            return tuple(places)
        quoted = [find_quoted(each.text) for each in self.facts.texts]
        return tuple(place for place in places if not is_inside(place[1], quoted[place[0]]))

    def bodies(self) -> Iterable[tuple[int, TextFact]]:
        """The texts that people read as the post's own words."""
        return (
            (i, each) for i, each in enumerate(self.facts.texts) if each.part in {"body", "title"}
        )

    def topics(self) -> frozenset[str]:
        value = self.value("topics")
        return value if isinstance(value, frozenset) else frozenset()


@dataclass(frozen=True, slots=True)
class View:
    """A reading inside of `some`: the facts of one item, and all the others."""

    reading: Reading
    items: Mapping[str, Item]

    def fact(self, path: Path) -> Value:
        if path.item is not None:
            return self.items[path.item].values.get(path.name)
        return self.reading.value(path.name)

    def names(self, name: str) -> frozenset[str]:
        return self.reading.names(name)

    def collection(self, name: str) -> Sequence[Item]:
        return self.reading.collection(name)

    def with_item(self, name: str, item: Item) -> "View":
        return View(self.reading, {**self.items, name: item})

    def hits(self, list_name: str, parts: frozenset[str]) -> Places:
        return self.reading.hits(list_name, parts)

    def glossary(self, rule: str, *, quoted_too: bool) -> Places:
        return self.reading.glossary(rule, quoted_too=quoted_too)


def _find_topics(reading: Reading) -> frozenset[str]:
    """The declared topic, and those that the texts give away."""
    declared = reading.value("topic")
    names = {declared} if isinstance(declared, str) and declared else set()
    for found in reading.found:
        names |= {name.removeprefix(TOPIC_LIST) for name in found if name.startswith(TOPIC_LIST)}
    return frozenset(map(fold_value, names))


def _find_missing_mirrors(reading: Reading) -> frozenset[str] | None:
    """The official languages in which nothing of the mirror set is written."""
    official, written = reading.value("official_languages"), reading.value("mirror.languages")
    if not isinstance(official, frozenset) or not isinstance(written, frozenset):
        return None
    missing = {tag for tag in official if not any(is_language(own, tag) for own in written)}
    return frozenset(missing) or None


def _find_drift(reading: Reading) -> frozenset[str] | None:
    """Numbers and magnitudes that the text has and its source has not, or the other way round."""
    source = reading.value("source.text")
    if not isinstance(source, str):
        return None
    text = "\n".join(each.text for _, each in reading.bodies())
    own = _measures(reading, text, reading.value("language"))
    other = _measures(reading, source, reading.value("source.language"))
    return frozenset(own ^ other) or None


def _measures(reading: Reading, text: str, language: Value) -> set[str]:
    names = reading.lexicon.find(text, str(language or ""))
    return {*tokens.find_numbers(text), *(name for name in names if name.startswith(_MAGNITUDES))}


def _count_alert_fields(reading: Reading) -> float:
    """How many of place, time with zone, action, telephone and source an alert names."""
    declared = reading.value("alert.fields")
    if isinstance(declared, frozenset):
        return float(len(declared))
    text = "\n".join(each.text for _, each in reading.bodies())
    return float(
        sum(
            (
                bool(_PLACE.search(text)),
                any(item.values["zoned"] for item in reading.collection("times")),
                bool(reading.hits_anywhere(_ALERT_ACTIONS)),
                bool(reading.collection("phones")),
                bool(reading.collection("links")),
            )
        )
    )


def _matches_joint(reading: Reading) -> bool | None:
    """Whether the agreed text stands word for word in every text of the post."""
    agreed = reading.value("joint.text")
    if not isinstance(agreed, str):
        return None
    wanted = unicodedata.normalize("NFC", agreed)
    bodies = [each.text for _, each in reading.bodies() if each.part == "body"]
    return wanted in unicodedata.normalize("NFC", "\n".join(bodies))


def _find_days(reading: Reading) -> frozenset[str]:
    instant = reading.publish_at
    if instant is None:
        return frozenset()
    today = instant.date().isoformat()
    return frozenset(each.kind for each in reading.registries.days if each.date == today)


_DERIVED: Final[Mapping[str, Callable[[Reading], Value]]] = {
    "topics": _find_topics,
    "mirror.missing": _find_missing_mirrors,
    "drift": _find_drift,
    "alert.known": _count_alert_fields,
    "joint.matches": _matches_joint,
    "calendar": _find_days,
}
