"""Comparisons of one fact, such as `class: [event, press]` or `publish_at: {before: $embargo.lift}`.

A fact that nobody declared compares as nothing: only `given: false` and `not` hold for it.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from scheduler.policy.facts import COLLECTIONS, FIELDS, Kind, Value
from scheduler.policy.lists import fold_value, is_near
from scheduler.policy.source import Node

_SETTING: Final = "setting."
_ITEMS: Final = {collection.item: collection.fields for collection in COLLECTIONS.values()}


class Facts(Protocol):
    """Where values come from while a condition is asked."""

    def fact(self, path: "Path") -> Value: ...

    def names(self, name: str) -> frozenset[str]:
        """A named list as values for comparison."""


@dataclass(frozen=True, slots=True)
class Path:
    """The name of a fact; `item` is set where it is one of an item of a collection."""

    name: str
    kind: Kind
    item: str | None = None

    def __str__(self) -> str:
        return self.name if self.item is None else f"{self.item}.{self.name}"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a condition may refer to where it stands: the items it is inside of, and the policy's lists."""

    items: frozenset[str]
    lists: frozenset[str]

    def inside(self, item: str) -> "Scope":
        return Scope(self.items | {item}, self.lists)

    def path(self, name: str, node: Node) -> Path:
        """Resolve the name of a fact, or refuse it."""
        found = self.find(name)
        if found is None:
            root, _, rest = name.partition(".")
            if root in _ITEMS and root not in self.items and rest in _ITEMS[root]:
                node.refuse(f"{name} is a fact of one {root}; ask it inside of `some: {{of: …}}`")
            node.refuse(
                f"{name[:60]!a} is no fact that posts have; see the policy guide for their names"
            )
        return found

    def find(self, name: str) -> Path | None:
        if name in FIELDS:
            return Path(name, FIELDS[name])
        if name.startswith(_SETTING):
            return Path(name, Kind.TEXT)
        root, _, rest = name.partition(".")
        if root in self.items and rest in _ITEMS[root]:
            return Path(rest, _ITEMS[root][rest], item=root)
        return None


@dataclass(frozen=True, slots=True)
class Operand:
    """What a fact is compared with: a literal, another fact, or a named list."""

    literal: Any = None
    path: Path | None = None
    list_name: str | None = None

    def value(self, facts: Facts) -> Any:  # noqa: ANN401 - of the operator's kind
        if self.path is not None:
            return facts.fact(self.path)
        if self.list_name is not None:
            return facts.names(self.list_name)
        return self.literal

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        if self.list_name is not None:
            return f"the list {self.list_name}"
        if isinstance(self.literal, frozenset):
            return ", ".join(sorted(self.literal))
        return str(self.literal)


@dataclass(frozen=True, slots=True)
class Operator:
    kinds: frozenset[Kind]
    holds: Callable[[Any, Any], bool]
    says: str
    many: bool = False  #: compares with several values
    unknown: bool = False  #: what it is for a fact that nobody declared


@dataclass(frozen=True, slots=True)
class Comparison:
    """One fact against one operand."""

    path: Path
    operator: Operator
    operand: Operand

    def holds(self, facts: Facts) -> bool:
        value = facts.fact(self.path)
        if value is None:
            return self.operator.unknown
        operand = self.operand.value(facts)
        return operand is not None and self.operator.holds(value, operand)

    def why(self, facts: Facts) -> str:
        value = facts.fact(self.path)
        told = "not given" if value is None else _tell(value)
        return f"{self.path} is {told} (asked: {self.operator.says} {self.operand})"


def _tell(value: Value) -> str:
    if isinstance(value, frozenset):
        return ", ".join(sorted(value)) or "empty"
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value)[:80]


def _same(value: Any, operand: Any) -> bool:  # noqa: ANN401
    if isinstance(value, str) and isinstance(operand, str):
        return fold_value(value) == fold_value(operand)
    return isinstance(value, bool) == isinstance(operand, bool) and bool(value == operand)


def _among(value: str, names: Iterable[str]) -> bool:
    return fold_value(value) in names


def _holds_any(values: frozenset[str], names: Iterable[str]) -> bool:
    """`desk_officer` is held by `desk_officer.east` as well."""
    wanted = set(names)
    return any(
        folded in wanted or folded.partition(".")[0] in wanted for folded in map(fold_value, values)
    )


_TEXT: Final = frozenset({Kind.TEXT})
_NUMBER: Final = frozenset({Kind.NUMBER})
_INSTANT: Final = frozenset({Kind.INSTANT})
_SET: Final = frozenset({Kind.SET})
_ALL: Final = frozenset(Kind)

OPERATORS: Final[Mapping[str, Operator]] = {
    "is": Operator(_ALL - _SET, _same, "is"),
    "not": Operator(_ALL - _SET, lambda a, b: not _same(a, b), "is not", unknown=True),
    "in": Operator(_TEXT, _among, "one of", many=True),
    "outside": Operator(_TEXT, lambda a, b: not _among(a, b), "none of", many=True),
    "near": Operator(_TEXT, is_near, "one letter away from one of", many=True),
    "above": Operator(_NUMBER, operator.gt, "above"),
    "below": Operator(_NUMBER, operator.lt, "below"),
    "at_least": Operator(_NUMBER, operator.ge, "at least"),
    "at_most": Operator(_NUMBER, operator.le, "at most"),
    "before": Operator(_INSTANT, operator.lt, "before"),
    "after": Operator(_INSTANT, operator.gt, "after"),
    "has": Operator(_SET, _holds_any, "has one of", many=True),
    "lacks": Operator(
        _SET, lambda a, b: not _holds_any(a, b), "has none of", many=True, unknown=True
    ),
}
_GIVEN: Final = {
    True: Operator(_ALL, lambda _value, _operand: True, "given:"),
    False: Operator(_ALL, lambda _value, _operand: False, "given:", unknown=True),
}
_LITERALS: Final[Mapping[Kind, tuple[type, ...]]] = {
    Kind.TEXT: (str,),
    Kind.NUMBER: (int, float),
    Kind.TRUTH: (bool,),
}


def read_comparisons(path: Path, node: Node, scope: Scope) -> list[Comparison]:
    """Read what follows a fact's name: a value, a list of values, or operators."""
    if not isinstance(node.value, dict):
        name = "in" if isinstance(node.value, list) else "is"
        if path.kind is Kind.SET:
            name = "has"
        return [_read_one(path, name, node, scope)]
    found = [_read_one(path, name, inner, scope) for name, inner in node.items()]
    if not found:
        node.refuse("compares with nothing")
    return found


def _read_one(path: Path, name: str, node: Node, scope: Scope) -> Comparison:
    if name == "given":
        return Comparison(path, _GIVEN[node.truth()], Operand(node.value))
    chosen = OPERATORS.get(name)
    if chosen is None:
        node.refuse(f"unknown operator {name[:40]!a}; known: given, {', '.join(OPERATORS)}")
    if path.kind not in chosen.kinds:
        node.refuse(f"{path} is {path.kind.value}; `{name}` does not compare that")
    return Comparison(path, chosen, _read_operand(path, chosen, node, scope))


def _read_operand(path: Path, chosen: Operator, node: Node, scope: Scope) -> Operand:
    if isinstance(node.value, str) and node.value.startswith("$"):
        return _read_reference(path, chosen, node, scope)
    if chosen.many:
        return Operand(frozenset(map(fold_value, node.texts())))
    if path.kind is Kind.INSTANT:
        return Operand(read_instant(node))
    if not isinstance(node.value, _LITERALS[path.kind]) or (
        path.kind is Kind.NUMBER and isinstance(node.value, bool)
    ):
        node.refuse(f"{path} is {path.kind.value}; this is not")
    return Operand(node.value)


def _read_reference(path: Path, chosen: Operator, node: Node, scope: Scope) -> Operand:
    name = node.value[1:]
    other = scope.find(name)
    if other is not None:
        wanted = Kind.SET if chosen.many else path.kind
        if other.kind is not wanted:
            node.refuse(f"{name} is {other.kind.value}; here {wanted.value} is needed")
        return Operand(path=other)
    if name not in scope.lists:
        node.refuse(f"{node.value[:60]!a} is neither a list of this policy nor a fact")
    if not chosen.many:
        node.refuse("one value cannot be compared with a list; use in, outside, near, has or lacks")
    return Operand(list_name=name)


def read_instant(node: Node) -> datetime:
    """An ISO 8601 date and time with its zone; a date alone is its first instant in UTC."""
    text = node.text(longest=40)
    if len(text) == len("2027-04-01"):
        text = f"{text}T00:00:00+00:00"
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        node.refuse("must be a date and time such as 2027-04-01T10:00:00Z")
    if found.tzinfo is None:
        node.refuse("needs its zone, such as Z or +02:00")
    return found
