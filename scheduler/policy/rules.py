r"""The policy file: which words block a post, need a further approval, or deserve a second look.

A file is TOML, because people write it by hand: it has comments for the reasons, its parser refuses a key given twice,
and Python reads it without a library.

    format = 1
    version = "2027.03.1"

    [[rules]]
    id = "term.example"
    effect = "block"             # block, require (a further approval) or warn
    kind = "blocked_term"        # or "required_term": one of the terms or patterns must occur
    languages = ["en"]           # absent: all; "sr" includes "sr-Cyrl"
    classes = ["routine"]        # absent: all
    terms = ["Old Name"]         # whole words, in any case
    patterns = ['Old\s+Names?'] # RE2, as written, in any case; `\b` and `\w` know ASCII only
    exceptions = ["Old Name Street"]
    message = "What is wrong."
    fix = "What to write instead."
"""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import Final, Self, TypeVar

from scheduler.canonical import JsonObject, JsonValue, canonical, sha256_hex
from scheduler.errors import InvalidError
from scheduler.policy.matching import MAX_HITS, Folded, Matcher, Needle, PatternError, Span, folds

FORMAT: Final = 1
MAX_RULES: Final = 10_000
MAX_FILE_BYTES: Final = 8 << 20
MAX_LIST: Final = 1_000
MAX_LENGTH: Final = 500  #: code points of one term, pattern, message or fix

_VERSION: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
_ID: Final = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+){0,9}")
_LANGUAGE: Final = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}")
_CLASS: Final = re.compile(r"[a-z]+(?:_[a-z]+){0,4}")
_TEXT: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f]+")
_FILE_KEYS: Final = frozenset({"format", "version", "rules"})
_REQUIRED_KEYS: Final = frozenset({"id", "effect", "kind", "message"})
_LISTS: Final[Mapping[str, re.Pattern[str]]] = {
    "languages": _LANGUAGE,
    "classes": _CLASS,
    "terms": _TEXT,
    "patterns": _TEXT,
    "exceptions": _TEXT,
}
_RULE_KEYS: Final = _REQUIRED_KEYS | {"fix"} | _LISTS.keys()

_E = TypeVar("_E", bound=StrEnum)


class PolicyInvalidError(InvalidError):
    """The file is refused as a whole; the details name the place, and the policy in force stays."""

    code = "policy_invalid"


class Effect(StrEnum):
    BLOCK = "block"
    REQUIRE = "require"  #: leaves only after a further approval
    WARN = "warn"


class Kind(StrEnum):
    BLOCKED_TERM = "blocked_term"
    REQUIRED_TERM = "required_term"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule as it stands in the file; `languages` and `classes` are None where it applies to all."""

    id: str
    effect: Effect
    kind: Kind
    message: str
    fix: str = ""
    languages: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    terms: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()
    exceptions: tuple[str, ...] = ()

    def covers_class(self, post_class: str) -> bool:
        return self.classes is None or post_class in self.classes

    def covers_language(self, language: str) -> bool:
        """RFC 4647 §3.3.1: a rule for `sr` covers `sr-Cyrl`."""
        if self.languages is None:
            return True
        tag = language.lower()
        return any(f"{tag}-".startswith(f"{own.lower()}-") for own in self.languages)

    def as_json(self) -> JsonObject:
        """What the digest covers: the keys that are given, in the file's words."""
        lists: dict[str, JsonValue] = {name: getattr(self, name) for name in _LISTS}
        return {
            "id": self.id,
            "effect": self.effect,
            "kind": self.kind,
            "message": self.message,
            "fix": self.fix,
        } | {name: value for name, value in lists.items() if value}


@dataclass(frozen=True, slots=True)
class Hits:
    """Where a rule's terms occur in a text, in order; excused are those inside one of its exceptions."""

    counted: tuple[Span, ...]
    excused: tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A whole policy file, compiled; equal digests mean equal rules, whatever the comments say."""

    version: str
    rules: tuple[Rule, ...]
    digest: str  #: `sha256:` and 64 hex digits over the canonical form of the version and the rules
    required: tuple[int, ...]  #: the places in `rules` of those that require a term
    _matcher: Matcher = field(repr=False, compare=False)
    _owners: tuple[int, ...] = field(repr=False, compare=False)  #: the rule of each needle
    _exceptions: tuple[tuple[Needle, ...], ...] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read a policy file, strictly.

        Raises:
            PolicyInvalidError: an unknown key or word, a wrong type, a rule given twice, over 10,000 rules, a pattern
                that RE2 refuses, or rules that contradict themselves or each other.
        """
        version, rules = _read_file(body)
        needles: list[Needle] = []
        owners: list[int] = []
        exceptions: list[tuple[Needle, ...]] = []
        for index, rule in enumerate(rules):
            own = (*_compile(index, rule, "terms"), *_compile(index, rule, "patterns"))
            needles += own
            owners += [index] * len(own)
            exceptions.append(_compile(index, rule, "exceptions"))
        try:
            matcher = Matcher(needles)
        except PatternError as error:
            raise _invalid("rules", f"the terms and patterns are {error}") from error
        content: JsonObject = {
            "format": FORMAT,
            "version": version,
            "rules": [rule.as_json() for rule in rules],
        }
        policy = cls(
            version=version,
            rules=rules,
            digest=f"sha256:{sha256_hex(canonical(content))}",
            required=tuple(i for i, rule in enumerate(rules) if rule.kind is Kind.REQUIRED_TERM),
            _matcher=matcher,
            _owners=tuple(owners),
            _exceptions=tuple(exceptions),
        )
        policy._refuse_contradictions()
        return policy

    def find(self, text: str) -> dict[int, Hits]:
        """Return the hits of every rule that has any, by the rule's index, whatever the rule's scope; never raises."""
        searched = folds(text)
        spans: dict[int, list[tuple[Span, ...]]] = {}
        for folded in searched:
            for needle, found in self._matcher.find(folded).items():
                spans.setdefault(self._owners[needle], []).append(found)
        return {index: self._judge(index, found, searched) for index, found in spans.items()}

    def _judge(
        self, index: int, found: list[tuple[Span, ...]], searched: tuple[Folded, ...]
    ) -> Hits:
        """Drop hits inside longer ones, then set aside the excused.

        Where there were more hits than are looked at, the last one counts: nothing hides behind a hundred exceptions.
        """
        outer: list[Span] = []
        for start, end in sorted(chain(*found), key=lambda span: (span[0], -span[1])):
            if not outer or end > outer[-1][1]:
                outer.append((start, end))
        is_cut = any(len(spans) == MAX_HITS for spans in found)
        shelters = [
            span
            for folded in searched
            for needle in self._exceptions[index]
            for span in needle.find(folded)
        ]
        excused = {span for span in outer[: -1 if is_cut else None] if _is_inside(span, shelters)}
        return Hits(
            counted=tuple(span for span in outer if span not in excused),
            excused=tuple(span for span in outer if span in excused),
        )

    def _refuse_contradictions(self) -> None:
        for index, rule in enumerate(self.rules):
            for number, term in enumerate(rule.terms):
                place = f"{_place(index, rule.id)}.terms[{number}]"
                self._check_term(index, rule, term, place)
            for number, exception in enumerate(rule.exceptions):
                if index not in self.find(exception):
                    place = f"{_place(index, rule.id)}.exceptions[{number}]"
                    raise _invalid(place, f"“{exception}” holds none of the rule's terms")

    def _check_term(self, index: int, rule: Rule, term: str, place: str) -> None:
        if rule.kind is Kind.BLOCKED_TERM:
            if rule.exceptions and not self.find(term)[index].counted:
                raise _invalid(place, f"“{term}” is blocked and excepted by the same rule")
            return
        for other_index, hits in self.find(term).items():
            other = self.rules[other_index]
            if hits.counted and _forbids(other) and _share_posts(rule, other):
                raise _invalid(place, f"“{term}” is required here and blocked by {other.id}")


def _forbids(rule: Rule) -> bool:
    return rule.kind is Kind.BLOCKED_TERM and rule.effect is Effect.BLOCK


def _share_posts(one: Rule, other: Rule) -> bool:
    if one.classes and other.classes and not set(one.classes) & set(other.classes):
        return False
    if not (one.languages and other.languages):
        return True
    return any(other.covers_language(language) for language in one.languages) or any(
        one.covers_language(language) for language in other.languages
    )


def _is_inside(span: Span, shelters: Sequence[Span]) -> bool:
    return any(start <= span[0] and span[1] <= end for start, end in shelters)


def _read_file(body: bytes) -> tuple[str, tuple[Rule, ...]]:
    if len(body) > MAX_FILE_BYTES:
        raise _invalid("file", f"larger than {MAX_FILE_BYTES} bytes")
    try:
        content = tomllib.loads(body.decode())
    except (ValueError, RecursionError) as error:  # not UTF-8, not TOML, or nested without end
        raise _invalid("file", f"not TOML: {error}") from error
    _check_keys("file", content, allowed=_FILE_KEYS, needed=_FILE_KEYS)
    if (type(content["format"]), content["format"]) != (int, FORMAT):  # True and 1.0 equal 1
        raise _invalid("format", f"this release reads format {FORMAT}")
    version = _read_text("version", content["version"], _VERSION)
    tables = content["rules"]
    if not isinstance(tables, list):
        raise _invalid("rules", "must be a list of tables")
    if len(tables) > MAX_RULES:
        raise _invalid("rules", f"{len(tables)} rules; at most {MAX_RULES} are allowed")
    rules = tuple(_read_rule(index, table) for index, table in enumerate(tables))
    seen: dict[str, int] = {}
    for index, rule in enumerate(rules):
        first = seen.setdefault(rule.id, index)
        if first != index:
            raise _invalid(_place(index, rule.id), f"the id is that of rules[{first}] too")
    return version, rules


def _read_rule(index: int, table: object) -> Rule:
    if not isinstance(table, dict):
        raise _invalid(f"rules[{index}]", "must be a table")
    place = _place(index, table.get("id"))
    _check_keys(place, table, allowed=_RULE_KEYS, needed=_REQUIRED_KEYS)
    lists = {
        name: _read_list(f"{place}.{name}", table[name], pattern)
        for name, pattern in _LISTS.items()
        if name in table
    }
    rule = Rule(
        id=_read_text(f"{place}.id", table["id"], _ID),
        effect=_read_word(f"{place}.effect", table["effect"], Effect),
        kind=_read_word(f"{place}.kind", table["kind"], Kind),
        message=_read_text(f"{place}.message", table["message"], _TEXT),
        fix=_read_text(f"{place}.fix", table["fix"], _TEXT) if "fix" in table else "",
        **lists,
    )
    if not (rule.terms or rule.patterns):
        raise _invalid(place, "needs terms or patterns")
    if rule.exceptions and rule.kind is Kind.REQUIRED_TERM:
        raise _invalid(f"{place}.exceptions", "only a blocked term has exceptions")
    return rule


def _read_list(place: str, value: object, pattern: re.Pattern[str]) -> tuple[str, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= MAX_LIST:
        raise _invalid(place, f"must be a list of 1 to {MAX_LIST} texts")
    items = tuple(_read_text(f"{place}[{n}]", item, pattern) for n, item in enumerate(value))
    if len(set(items)) < len(items):
        raise _invalid(place, "names something twice")
    return items


def _read_text(place: str, value: object, pattern: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _invalid(place, f"must be text of the form {pattern.pattern}")
    if len(value) > MAX_LENGTH or value != value.strip():
        raise _invalid(place, f"at most {MAX_LENGTH} characters, no space at either end")
    return value


def _read_word(place: str, value: object, words: type[_E]) -> _E:
    if isinstance(value, str) and value in list(words):
        return words(value)
    raise _invalid(place, f"must be one of {', '.join(words)}")


def _check_keys(
    place: str, table: Mapping[str, object], *, allowed: frozenset[str], needed: frozenset[str]
) -> None:
    unknown = sorted(table.keys() - allowed)
    if unknown:
        raise _invalid(place, f"unknown key {unknown[0][:60]!a}")
    missing = sorted(needed - table.keys())
    if missing:
        raise _invalid(place, f"needs the key {missing[0]}")


def _compile(index: int, rule: Rule, name: str) -> tuple[Needle, ...]:
    sources: tuple[str, ...] = getattr(rule, name)
    needles = []
    for number, source in enumerate(sources):
        try:
            needles.append(Needle(source, is_term=name != "patterns"))
        except PatternError as error:
            place = f"{_place(index, rule.id)}.{name}[{number}]"
            raise _invalid(place, str(error)) from error
    return tuple(needles)


def _place(index: int, rule_id: object) -> str:
    return f"rules[{index}] ({rule_id[:60]})" if isinstance(rule_id, str) else f"rules[{index}]"


def _invalid(place: str, reason: str) -> PolicyInvalidError:
    return PolicyInvalidError(f"{place}: {reason}", place=place)
