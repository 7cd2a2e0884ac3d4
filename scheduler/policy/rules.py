"""A policy: versioned rules as data, read from YAML files and compiled once.

A policy is a folder. Which file holds what is free: sections of the same name in several files add up.

```yaml
format: 2
version: 2027.03.1
settings: {rebuttal.smallest_impact: "5"}
lists: …          # scheduler.policy.lists
workflows: …      # who decides: scheduler.policy.workflows
glossary: …       # and the other registries: scheduler.policy.registries
rules:
  - id: link.allowlist
    title: Links lead to hosts on the list
    effect: block                # block, require (an extra approval) or warn
    when:                        # scheduler.policy.conditions
      some: {of: links, where: {link.host: {outside: $link_hosts}}}
    message: The link leads to a host that is not on the list.
    fix: Use the ministry's own link.

Examples:
      pass: ["Programme: https://mzz.karvenia.example/en"]
      violation: ["Programme: https://elsewhere.example/x"]
```
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Self

from scheduler.canonical import JsonValue, canonical, sha256_hex
from scheduler.policy.comparing import Scope
from scheduler.policy.conditions import Condition, ConditionReader
from scheduler.policy.facts import PostFacts
from scheduler.policy.indexing import Index
from scheduler.policy.lists import Lexicon, NamedList, read_list
from scheduler.policy.matching import PatternError
from scheduler.policy.reading import Reading
from scheduler.policy.registries import SECTIONS, Registries
from scheduler.policy.source import Node, read
from scheduler.policy.workflows import BreakGlass, Workflow, read_break_glass, read_workflows

FORMAT: Final = 2
MAX_RULES: Final = 10_000
MAX_FILES: Final = 200

_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_ID: Final = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+){0,9}")
_FILE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,99}\.ya?ml")
_ONCE: Final = ("format", "version", "break_glass")
_TOP: Final = frozenset({*_ONCE, "settings", "lists", "rules", "workflows", *SECTIONS})
_NEEDED: Final = frozenset({"id", "title", "message"})
_OPTIONAL: Final = frozenset(
    {"effect", "when", "cases", "fix", "approver", "override", "waits", "source", "examples", "key"}
)
_CASE: Final = frozenset({"effect", "when"})


class Effect(StrEnum):
    BLOCK = "block"
    REQUIRE = "require"  #: leaves only after a further approval
    WARN = "warn"


_STRENGTH: Final = {Effect.BLOCK: 0, Effect.REQUIRE: 1, Effect.WARN: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One condition of a rule with its effect; `waits` where time alone may end it, so that the post is kept."""

    effect: Effect
    when: Condition
    message: str
    waits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A text with declared facts on which a rule must pass, or apply."""

    node: Node
    violates: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule; the strongest of its cases that holds makes its finding."""

    id: str
    title: str
    cases: tuple[Case, ...]  #: the strongest effects first
    fix: str = ""
    approver: str = ""
    override: str = ""
    source: str = ""
    examples: tuple[Example, ...] = ()

    @property
    def effect(self) -> Effect:
        """The strongest that it can have."""
        return self.cases[0].effect


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A whole policy, compiled; equal digests mean equal data, whatever the comments say."""

    version: str
    digest: str  #: `sha256:` and 64 hex digits
    rules: tuple[Rule, ...]
    settings: Mapping[str, str]
    registries: Registries = field(repr=False, compare=False)
    lexicon: Lexicon = field(repr=False, compare=False)
    index: Index = field(repr=False, compare=False)
    workflows: tuple[Workflow, ...] = field(default=(), repr=False, compare=False)
    break_glass: BreakGlass | None = None  #: None: nobody

    @classmethod
    def load(cls, files: Mapping[str, str], extra: Iterable[Node] = ()) -> Self:
        """Read a policy's files, by name; `extra` are sections that come from elsewhere.

        Raises:
            PolicyInvalidError: names file, line and field of the first fault.
        """
        if not 0 < len(files) <= MAX_FILES:
            Node(None, "policy", 1).refuse(f"a policy has 1 to {MAX_FILES} files")
        builder = _Builder()
        for name in sorted(files):
            if not _FILE.fullmatch(name):
                Node(None, name[:100], 1).refuse("a policy's files are named like rules/terms.yaml")
            builder.take(read(name, files[name]))
        for node in extra:
            builder.take(node)
        return cls(**builder.build())

    def read(self, facts: PostFacts) -> Reading:
        """Prepare a post for this policy's rules."""
        return Reading(facts, self.lexicon, self.registries, self.settings)

    def find_concerned(self, reading: Reading) -> Iterator[Rule]:
        """The rules that can apply to the post, in their order; of the others it is known that they do not."""
        return (self.rules[place] for place in self.index.find(reading))


class _Builder:
    """Collects the sections of all files, then compiles them in the order in which they need each other."""

    def __init__(self) -> None:
        self._once: dict[str, Node] = {}
        self._settings: dict[str, str] = {}
        self._lists: dict[str, NamedList] = {}
        self._rules: list[Node] = []
        self._workflows: list[Node] = []
        self._registries = Registries()
        self._content: list[JsonValue] = []
        self._last = Node(None, "policy", 1)

    def take(self, file: Node) -> None:
        self._last = file
        for key, node in file.fields(needed=frozenset(), optional=_TOP).items():
            match key:
                case _ if key in _ONCE:
                    if key in self._once:
                        node.refuse(f"{key} stands in {self._once[key].file} already")
                    self._once[key] = node
                case "settings":
                    self._take_settings(node)
                case "lists":
                    self._take_lists(node)
                case "rules":
                    self._rules += node.elements()
                case "workflows":
                    self._workflows += node.elements()
                case _:
                    self._registries.read(key, node)
        self._content.append(_canonical_form(file.plain()))

    def _take_settings(self, node: Node) -> None:
        for name, inner in node.items():
            if name in self._settings:
                inner.refuse(f"the setting {name[:60]!a} is given twice")
            self._settings[name] = inner.text()

    def _take_lists(self, node: Node) -> None:
        for name, inner in node.items():
            if name in self._lists:
                inner.refuse(
                    f"the list {name[:60]} stands in {self._lists[name].node.file} already"
                )
            self._lists[name] = read_list(name, inner)

    def build(self) -> dict[str, Any]:
        self._check_format()
        version = self._once["version"].text()
        if not _VERSION.fullmatch(version):
            self._once["version"].refuse("a version is letters, digits and . _ -, at most 40")
        if len(self._rules) > MAX_RULES:
            self._rules[MAX_RULES].refuse(f"more than {MAX_RULES} rules")
        written: list[NamedList] = []
        scope = Scope(frozenset(), frozenset(self._lists))
        rules = tuple(_read_rule(node, scope, written) for node in self._rules)
        self._check_ids(rules)
        workflows = read_workflows(self._workflows, scope, written)
        try:
            lexicon = Lexicon([*self._lists.values(), *self._registries.lists, *written])
        except PatternError as exc:
            self._last.refuse(f"the terms of all lists are {exc}")
        try:
            digest = sha256_hex(canonical(self._content))
        except ValueError as exc:
            self._last.refuse(f"cannot be signed for: {exc}")
        return {
            "version": version,
            "digest": f"sha256:{digest}",
            "rules": rules,
            "settings": self._settings,
            "registries": self._registries,
            "lexicon": lexicon,
            "index": Index([[case.when for case in rule.cases] for rule in rules], self._denied()),
            "workflows": workflows,
            "break_glass": self._read_break_glass(),
        }

    def _read_break_glass(self) -> BreakGlass | None:
        node = self._once.get("break_glass")
        return None if node is None else read_break_glass(node)

    def _denied(self) -> dict[str, list[str]]:
        """The lists of the glossary's entries, by the rule that they name."""
        found: dict[str, list[str]] = {}
        for term in self._registries.terms:
            found.setdefault(term.rule, []).append(term.denied)
        return found

    def _check_format(self) -> None:
        for key in ("format", "version"):
            if key not in self._once:
                self._last.refuse(f"no file of this policy has the key {key}")
        if self._once["format"].value != FORMAT:
            self._once["format"].refuse(f"this release reads format {FORMAT}")

    def _check_ids(self, rules: tuple[Rule, ...]) -> None:
        seen: dict[str, Node] = {}
        for rule, node in zip(rules, self._rules, strict=True):
            if rule.id in seen:
                node.refuse(f"the id {rule.id} stands in line {seen[rule.id].line} already")
            seen[rule.id] = node
        for owner, term in self._registries.rules_named():
            if owner not in seen:
                self._last.refuse(f"the glossary entry {term!a} names no rule: {owner[:60]!a}")


def _canonical_form(value: Any) -> JsonValue:  # noqa: ANN401 - plain data
    """Plain data without the floats that canonical JSON has no one form for."""
    if isinstance(value, dict):
        return {key: _canonical_form(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_canonical_form(each) for each in value]
    return str(value) if isinstance(value, float) else value


def _read_rule(node: Node, scope: Scope, written: list[NamedList]) -> Rule:
    found = node.fields(needed=_NEEDED, optional=_OPTIONAL)
    rule_id = found["id"].text()
    if not _ID.fullmatch(rule_id):
        found["id"].refuse("an id is letters and digits with . _ - between them")
    if ("cases" in found) == ("when" in found):
        node.refuse("needs `effect` and `when`, or `cases` with several of them")
    reader = ConditionReader(rule_id, scope, written)
    nodes = list(found["cases"].elements()) if "cases" in found else [node]
    if not nodes:
        found["cases"].refuse("needs at least one case")
    cases = [_read_case(each, found, reader) for each in nodes]
    texts = {
        key: found[key].text() if key in found else ""
        for key in ("fix", "approver", "override", "source")
    }
    return Rule(
        id=rule_id,
        title=found["title"].text(),
        cases=tuple(sorted(cases, key=lambda case: _STRENGTH[case.effect])),
        examples=_read_examples(found["examples"]) if "examples" in found else (),
        **texts,
    )


def _read_case(node: Node, rule: Mapping[str, Node], reader: ConditionReader) -> Case:
    found = dict(node.items())
    if node.path != rule["id"].path.rpartition(".")[0]:
        found = node.fields(needed=_CASE, optional=frozenset({"message", "waits"}))
    elif missing := sorted(_CASE - found.keys()):
        node.refuse(f"needs the key {missing[0]}")
    effect = found["effect"].value
    if effect not in list(Effect):
        found["effect"].refuse(f"must be one of {', '.join(Effect)}")
    return Case(
        effect=Effect(effect),
        when=reader.read(found["when"]),
        message=found.get("message", rule["message"]).text(),
        waits="waits" in found and found["waits"].truth(),
    )


def _read_examples(node: Node) -> tuple[Example, ...]:
    found = node.fields(needed=frozenset(), optional=frozenset({"pass", "violation"}))
    return tuple(
        Example(node=inner, violates=key == "violation")
        for key, each in found.items()
        for inner in each.elements()
    )
