"""Conditions: what must be true of a post for a rule to apply.

```yaml
when:
  all:                                       # or any, not
    - class: [event, press]                  # a fact and what it is compared with
    - text: {has: [$relative_days, until further notice], in: [body, title]}
    - some: {of: links, where: {link.host: {outside: $link_hosts}}}
    - count: {of: emoji, above: 3}
    - glossary: own                          # the denied terms of this rule's glossary entries
```
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from scheduler.policy.comparing import Comparison, Facts, Scope, read_comparisons
from scheduler.policy.facts import COLLECTIONS, Item
from scheduler.policy.lists import ANY, NamedList
from scheduler.policy.matching import Span
from scheduler.policy.source import Node

MAX_NODES: Final = 200  #: conditions in one rule

PARTS: Final = ("body", "title", "alt", "card", "file")
_PUBLIC: Final = frozenset(PARTS)

Place = tuple[int, Span]
Places = tuple[Place, ...]


class Reading(Facts, Protocol):
    """A prepared post as conditions ask it."""

    def collection(self, name: str) -> Sequence[Item]: ...

    def with_item(self, name: str, item: Item) -> "Reading": ...

    def hits(self, list_name: str, parts: frozenset[str]) -> Places: ...

    def glossary(self, rule: str, *, quoted_too: bool) -> Places: ...


class Condition(Protocol):
    def find(self, reading: Reading) -> Places | None:
        """The places that make it true; empty where none is to be shown, None where it is not true."""

    def why(self, reading: Reading) -> str:
        """Why it is true or not, for people."""


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple[Condition, ...]

    def find(self, reading: Reading) -> Places | None:
        places: list[Place] = []
        for part in self.parts:
            found = part.find(reading)
            if found is None:
                return None
            places += found
        return tuple(places)

    def why(self, reading: Reading) -> str:
        for part in self.parts:
            if part.find(reading) is None:
                return part.why(reading)
        return "; ".join(part.why(reading) for part in self.parts)


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple[Condition, ...]

    def find(self, reading: Reading) -> Places | None:
        found = [places for part in self.parts if (places := part.find(reading)) is not None]
        return tuple(place for places in found for place in places) if found else None

    def why(self, reading: Reading) -> str:
        true = [part for part in self.parts if part.find(reading) is not None]
        return " or ".join(part.why(reading) for part in true or self.parts)


@dataclass(frozen=True, slots=True)
class Not:
    part: Condition

    def find(self, reading: Reading) -> Places | None:
        return () if self.part.find(reading) is None else None

    def why(self, reading: Reading) -> str:
        return self.part.why(reading)


@dataclass(frozen=True, slots=True)
class Fact:
    comparison: Comparison

    def find(self, reading: Reading) -> Places | None:
        return () if self.comparison.holds(reading) else None

    def why(self, reading: Reading) -> str:
        return self.comparison.why(reading)


@dataclass(frozen=True, slots=True)
class Some:
    """So many items of a collection for which a condition holds: more than `above`."""

    collection: str
    where: Condition | None
    above: int

    def find(self, reading: Reading) -> Places | None:
        places: list[Place] = []
        count = 0
        for item in reading.collection(self.collection):
            if self.where is None:
                found: Places | None = ()
            else:
                found = self.where.find(reading.with_item(COLLECTIONS[self.collection].item, item))
            if found is not None:
                count += 1
                places += item.places or found
        return tuple(places) if count > self.above else None

    def why(self, reading: Reading) -> str:
        items = reading.collection(self.collection)
        if not items:
            return f"it has no {self.collection}"
        if self.where is None:
            return f"it has {len(items)} {self.collection} (asked: more than {self.above})"
        name = COLLECTIONS[self.collection].item
        inner = [reading.with_item(name, item) for item in items]
        true = [each for each in inner if self.where.find(each) is not None]
        return f"{self.collection}: {self.where.why((true or inner)[0])}"


@dataclass(frozen=True, slots=True)
class Has:
    """The terms of some lists in the post's texts."""

    lists: tuple[str, ...]
    parts: frozenset[str]

    def find(self, reading: Reading) -> Places | None:
        places = tuple(place for name in self.lists for place in reading.hits(name, self.parts))
        return places or None

    def why(self, reading: Reading) -> str:
        if self.find(reading) is None:
            return f"no text has a term of {', '.join(self.lists)}"
        return f"a term of {', '.join(self.lists)} is in the text"


@dataclass(frozen=True, slots=True)
class Glossary:
    """The denied terms of the glossary entries that name this rule."""

    rule: str
    quoted_too: bool

    def find(self, reading: Reading) -> Places | None:
        return reading.glossary(self.rule, quoted_too=self.quoted_too) or None

    def why(self, reading: Reading) -> str:
        if self.find(reading) is None:
            return "no term that the glossary denies is in the text"
        return "a term that the glossary denies is in the text"


class ConditionReader:
    """Reads the conditions of one rule, and counts them; terms written in place become `lists` of their own."""

    def __init__(self, rule: str, scope: Scope, lists: list[NamedList]) -> None:
        self._rule = rule
        self._top = scope
        self._lists = lists
        self._count = 0

    def read(self, node: Node, scope: Scope | None = None) -> Condition:
        """Read a mapping of conditions, all of which must hold."""
        scope = scope or self._top
        parts: list[Condition] = []
        for key, inner in node.items():
            self._count += 1
            if self._count > MAX_NODES:
                inner.refuse(f"more than {MAX_NODES} conditions in one rule")
            parts += self._read_one(key, inner, scope)
        if not parts:
            node.refuse("a condition that asks nothing")
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _read_one(self, key: str, node: Node, scope: Scope) -> Iterable[Condition]:
        match key:
            case "all":
                found: Condition = All(self._read_several(node, scope))
            case "any":
                found = AnyOf(self._read_several(node, scope))
            case "not":
                found = Not(self.read(node, scope))
            case "some" | "count":
                found = self._read_some(key, node, scope)
            case "text":
                found = self._read_has(node, scope)
            case "glossary":
                found = _read_glossary(self._rule, node)
            case _:
                path = scope.path(key, node)
                return [Fact(each) for each in read_comparisons(path, node, scope)]
        return [found]

    def _read_several(self, node: Node, scope: Scope) -> tuple[Condition, ...]:
        found = tuple(self.read(inner, scope) for inner in node.elements())
        if not found:
            node.refuse("needs at least one condition")
        return found

    def _read_some(self, key: str, node: Node, scope: Scope) -> Some:
        needed = frozenset({"of", "above"}) if key == "count" else frozenset({"of"})
        found = node.fields(needed=needed, optional=frozenset({"where"}))
        name = found["of"].text()
        if name not in COLLECTIONS:
            found["of"].refuse(f"{name[:40]!a} is no collection; known: {', '.join(COLLECTIONS)}")
        where = None
        if "where" in found:
            where = self.read(found["where"], scope.inside(COLLECTIONS[name].item))
        above = found["above"].value if "above" in found else 0
        if type(above) is not int or above < 0:
            found["above"].refuse("must be a whole number")
        return Some(name, where, above)

    def _read_has(self, node: Node, scope: Scope) -> Has:
        found = node.fields(needed=frozenset({"has"}), optional=frozenset({"in"}))
        texts = found["has"].texts()
        names = [text[1:] for text in texts if text.startswith("$")]
        if unknown := [name for name in names if name not in scope.lists]:
            found["has"].refuse(f"${unknown[0][:60]} is no list of this policy")
        if terms := tuple(text for text in texts if not text.startswith("$")):
            names.append(f"terms:{len(self._lists)}")
            self._lists.append(NamedList(names[-1], found["has"], {ANY: terms}))
        parts = frozenset(found["in"].texts()) if "in" in found else _PUBLIC
        if strange := sorted(parts - _PUBLIC):
            found["in"].refuse(
                f"{strange[0][:40]!a} is no part of a post; known: {', '.join(PARTS)}"
            )
        return Has(tuple(names), parts)


def _read_glossary(rule: str, node: Node) -> Glossary:
    """`own`, or `{of: own, quoted: excused}`: then a term between quotation marks is let pass."""
    if node.value == "own":
        return Glossary(rule, quoted_too=True)
    found = node.fields(needed=frozenset({"of", "quoted"}), optional=frozenset())
    if (found["of"].value, found["quoted"].value) != ("own", "excused"):
        node.refuse("must be `own`, or `{of: own, quoted: excused}`")
    return Glossary(rule, quoted_too=False)
