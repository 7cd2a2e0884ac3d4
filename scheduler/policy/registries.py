"""What a policy knows by name: denied terms, office holders, states, lines-to-take, embargoes, handles and days."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from scheduler.policy.comparing import read_instant
from scheduler.policy.lists import ANY, NamedList, fold_value
from scheduler.policy.source import Node

SECTIONS: Final = (
    "glossary",
    "officials",
    "titles",
    "states",
    "lines",
    "embargoes",
    "handles",
    "calendar",
)
_GENDERS: Final = ("f", "m")


@dataclass(frozen=True, slots=True, kw_only=True)
class Valid:
    """From when until when something holds; None is open."""

    since: datetime | None = None
    until: datetime | None = None

    def at(self, instant: datetime | None) -> bool:
        if instant is None:
            return self.until is None
        begun = self.since is None or self.since <= instant
        return begun and (self.until is None or instant < self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """A glossary entry: what is denied, and what is written instead; with a footnote it is a designation."""

    term: str
    rule: str
    denied: str  #: the name of the list of its denied terms
    valid: Valid
    footnote: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Official:
    name: str
    found_by: str  #: the name of the list of the forms of the name
    gender: str  #: f, m or empty
    valid: Valid


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A version of a line-to-take; `formula` is one that is quoted word for word."""

    id: str
    version: float
    topic: str
    formula: bool
    superseded: bool
    valid: Valid
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Embargo:
    id: str
    lift: datetime
    protected: str  #: the name of the list of its protected terms


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    date: str  #: ISO 8601
    kind: str


@dataclass(slots=True)
class Registries:
    """All sections, and the lists that finding their terms needs."""

    terms: list[Term] = field(default_factory=list)
    officials: list[Official] = field(default_factory=list)
    states: dict[str, int] = field(
        default_factory=dict
    )  #: the list of each state's names, and its place in order
    lines: list[Line] = field(default_factory=list)
    embargoes: list[Embargo] = field(default_factory=list)
    handles: dict[str, frozenset[str]] = field(default_factory=dict)
    days: list[Day] = field(default_factory=list)
    lists: list[NamedList] = field(default_factory=list)

    def read(self, section: str, node: Node) -> None:
        """Read one section of a file; sections of several files add up."""
        getattr(self, f"_read_{section}")(node)

    def rules_named(self) -> Iterable[tuple[str, str]]:
        return ((each.rule, each.term) for each in self.terms)

    def _list(
        self,
        name: str,
        node: Node,
        terms: Mapping[str, tuple[str, ...]],
        exceptions: Mapping[str, tuple[str, ...]] | None = None,
    ) -> str:
        self.lists.append(NamedList(name, node, terms, {}, exceptions or {}))
        return name

    def _read_glossary(self, node: Node) -> None:
        for each in node.elements():
            found = each.fields(
                needed=frozenset({"term", "rule", "deny"}),
                optional=frozenset(
                    {"languages", "exceptions", "valid_from", "valid_until", "footnote"}
                ),
            )
            languages = found["languages"].texts() if "languages" in found else (ANY,)
            exceptions = found["exceptions"].texts() if "exceptions" in found else ()
            denied = found["deny"].texts()
            name = self._list(
                f"glossary:{len(self.terms)}",
                each,
                dict.fromkeys(languages, denied),
                exceptions={ANY: exceptions} if exceptions else {},
            )
            self.terms.append(
                Term(
                    term=found["term"].text(),
                    rule=found["rule"].text(),
                    denied=name,
                    valid=_read_valid(found),
                    footnote=found["footnote"].text() if "footnote" in found else "",
                )
            )

    def _read_officials(self, node: Node) -> None:
        for each in node.elements():
            found = each.fields(
                needed=frozenset({"name"}),
                optional=frozenset({"gender", "valid_from", "valid_until"}),
            )
            gender = found["gender"].text() if "gender" in found else ""
            if gender not in {*_GENDERS, ""}:
                found["gender"].refuse("must be f or m")
            forms = " ".join(f"{word}*" for word in found["name"].text().split())
            name = self._list(f"official:{len(self.officials)}", each, {ANY: (forms,)})
            self.officials.append(
                Official(
                    name=found["name"].text(),
                    found_by=name,
                    gender=gender,
                    valid=_read_valid(found),
                )
            )

    def _read_titles(self, node: Node) -> None:
        """Words for offices by grammatical gender and language."""
        found = node.fields(needed=frozenset(), optional=frozenset(_GENDERS))
        for gender, inner in found.items():
            self._list(
                f"titles:{gender}", inner, {tag: each.texts() for tag, each in inner.items()}
            )

    def _read_states(self, node: Node) -> None:
        """States in protocol order, each with its names."""
        for each in node.elements():
            position = len(self.states)
            terms = tuple(f"{name}*" for name in each.texts())
            self.states[self._list(f"state:{position}", each, {ANY: terms})] = position

    def _read_lines(self, node: Node) -> None:
        for each in node.elements():
            found = each.fields(
                needed=frozenset({"id", "version", "text"}),
                optional=frozenset({"topic", "kind", "status", "valid_from", "valid_until"}),
            )
            version = found["version"].value
            if type(version) is not int:
                found["version"].refuse("must be a whole number")
            self.lines.append(
                Line(
                    id=found["id"].text(),
                    version=version,
                    topic=found["topic"].text() if "topic" in found else "",
                    formula="kind" in found and found["kind"].text() == "canonical_formula",
                    superseded="status" in found and found["status"].text() == "superseded",
                    valid=_read_valid(found),
                    texts={tag: inner.text() for tag, inner in found["text"].items()},
                )
            )

    def _read_embargoes(self, node: Node) -> None:
        for each in node.elements():
            found = each.fields(
                needed=frozenset({"id", "lift", "protected_terms"}), optional=frozenset({"title"})
            )
            terms = tuple(_with_endings(term) for term in found["protected_terms"].texts())
            name = self._list(f"embargo:{len(self.embargoes)}", each, {ANY: terms})
            self.embargoes.append(
                Embargo(id=found["id"].text(), lift=read_instant(found["lift"]), protected=name)
            )

    def _read_handles(self, node: Node) -> None:
        for platform, inner in node.items():
            names = frozenset(fold_value(name).removeprefix("@") for name in inner.texts())
            self.handles[platform] = self.handles.get(platform, frozenset()) | names

    def _read_calendar(self, node: Node) -> None:
        for each in node.elements():
            found = each.fields(
                needed=frozenset({"date", "kind"}), optional=frozenset({"who", "note"})
            )
            read_instant(found["date"])
            self.days.append(Day(date=found["date"].text(), kind=found["kind"].text()))


def find_changed_lines(old: Registries, new: Registries) -> dict[str, float | None]:
    """The lines, by folded id, of which another version or text is in force now; None: none is any more."""
    before, now = _lines_in_force(old), _lines_in_force(new)
    return {
        name: None if name not in now else now[name].version
        for name, line in before.items()
        if name not in now or (now[name].version, now[name].texts) != (line.version, line.texts)
    }


def _lines_in_force(registries: Registries) -> dict[str, Line]:
    newest = sorted(registries.lines, key=lambda line: line.version)
    return {fold_value(line.id): line for line in newest if not line.superseded}


def _read_valid(found: Mapping[str, Node]) -> Valid:
    return Valid(
        since=read_instant(found["valid_from"]) if "valid_from" in found else None,
        until=read_instant(found["valid_until"]) if "valid_until" in found else None,
    )


def _with_endings(term: str) -> str:
    """A protected word is protected in every form; a hashtag has one."""
    return " ".join(word if word[0] in "#@" else f"{word}*" for word in term.split())
