"""Which rules a post can meet at all, so that hundreds of rules cost as little as the few that concern it.

From each rule's conditions follows what a post must have at least: a class, a term of a list, a declared fact, an item
of a collection. A rule from whose conditions nothing follows is asked of every post. The index only leaves out; what it
leaves in is asked in full, so findings are the same with it and without.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from scheduler.policy.comparing import OPERATORS, Comparison
from scheduler.policy.conditions import All, AnyOf, Condition, Fact, Glossary, Has, Some
from scheduler.policy.facts import DECLARED
from scheduler.policy.lists import fold_value
from scheduler.policy.reading import Reading

#: What a post must have: ("class", "event"), ("list", "relative_days"), ("given", "valid_until"), ("items", "links").
Trait = tuple[str, str]
Needs = frozenset[Trait]  #: at least one of them

_CLASS: Final = "class"
_LIST: Final = "list"
_GIVEN: Final = "given"
_ITEMS: Final = "items"
_GLOSSARY: Final = "glossary"
#: Nearly every post has these: they tell little.
_COMMON: Final = frozenset(
    {
        *((_GIVEN, name) for name in ("class", "language", "official_languages", "publish_at")),
        *((_ITEMS, name) for name in ("accounts", "sentences")),
    }
)
_NAMING: Final = (OPERATORS["is"], OPERATORS["in"])
_RARITY: Final = (_GLOSSARY, _LIST, _CLASS, _GIVEN, _ITEMS)


def find_needs(condition: Condition) -> Needs | None:
    """What a post must have one of for the condition to hold; None: nothing follows from it."""
    needs: Needs | None = None
    match condition:
        case All(parts):
            found = [each for part in parts if (each := find_needs(part)) is not None]
            needs = min(found, key=_rank, default=None)
        case AnyOf(parts):
            needs = _unite(map(find_needs, parts))
        case Fact(comparison):
            needs = _of_comparison(comparison)
        case Some(collection=name):
            needs = frozenset({(_ITEMS, name)})
        case Has(lists=lists):
            needs = frozenset((_LIST, name) for name in lists)
        case Glossary(rule=rule):
            needs = frozenset({(_GLOSSARY, rule)})
        case _:
            pass  # of what must not be, nothing follows
    return needs


def _unite(several: Iterable[Needs | None]) -> Needs | None:
    found: set[Trait] = set()
    for needs in several:
        if needs is None:
            return None
        found |= needs
    return frozenset(found)


def _of_comparison(comparison: Comparison) -> Needs | None:
    path, operand = comparison.path, comparison.operand
    if comparison.operator.unknown or path.item is not None or path.name not in DECLARED:
        return None
    if path.name == _CLASS and comparison.operator in _NAMING and operand.literal is not None:
        names = [operand.literal] if isinstance(operand.literal, str) else operand.literal
        return frozenset((_CLASS, fold_value(name)) for name in names)
    return frozenset({(_GIVEN, path.name)})


def _rank(needs: Needs) -> tuple[bool, int, int]:
    """Rare traits first."""
    return (
        not _COMMON.isdisjoint(needs),
        max((_RARITY.index(kind) for kind, _ in needs), default=0),
        len(needs),
    )


class Index:
    """The places of a policy's rules by what a post must have for them."""

    def __init__(
        self, rules: Sequence[Iterable[Condition]], denied: Mapping[str, Sequence[str]]
    ) -> None:
        """`rules` are the conditions of each rule's cases; `denied` the lists of each rule's glossary entries."""
        self._always: list[int] = []
        self._by_trait: dict[Trait, list[int]] = defaultdict(list)
        for place, conditions in enumerate(rules):
            needs = _unite(map(find_needs, conditions))
            if needs is None:
                self._always.append(place)
                continue
            for trait in _resolve(needs, denied):
                self._by_trait[trait].append(place)
        self._collections = [name for kind, name in self._by_trait if kind == _ITEMS]

    def find(self, reading: Reading) -> list[int]:
        """The places of the rules that are to be asked, in order."""
        found = set(self._always)
        for trait in self._traits(reading):
            found.update(self._by_trait.get(trait, ()))
        return sorted(found)

    def _traits(self, reading: Reading) -> Iterator[Trait]:
        yield _CLASS, fold_value(reading.facts.post_class)
        for name, value in reading.facts.declared.items():
            if value is not None:
                yield _GIVEN, name
        for texts in reading.found:
            for name in texts:
                yield _LIST, name
        for name in self._collections:
            if reading.collection(name):
                yield _ITEMS, name


def _resolve(needs: Needs, denied: Mapping[str, Sequence[str]]) -> Iterator[Trait]:
    for kind, name in needs:
        if kind == _GLOSSARY:
            yield from ((_LIST, each) for each in denied.get(name, ()))
        else:
            yield kind, name
