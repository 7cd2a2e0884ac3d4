r"""Named lists: words that are looked for in texts, and values that facts are compared with.

```yaml
lists:
  link_hosts: [mzz.karvenia.example, un.example]  # values, and terms in any language
  relative_days:
    terms:
      en: [tomorrow, yesterday]  # whole words, in any case
      sl: [jutri, včeraj]
    patterns: ['\bnext \w+day\b']  # RE2, as written, in any case
    exceptions: {de: [guten Morgen]}  # inside these nothing is found
    inflected: true  # every term with any ending; or write `izjava*`
```
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Final

import regex

from scheduler.policy.matching import (
    MAX_HITS,
    Folded,
    Matcher,
    Needle,
    PatternError,
    Span,
    folds,
    get_needle,
)
from scheduler.policy.source import Node

MAX_ITEMS: Final = 50_000  #: of all lists of a policy together
MAX_LENGTH: Final = 500  #: code points of one term or pattern

ANY: Final = "any"  #: the key of terms for texts in every language
_KEYS: Final = frozenset({"terms", "patterns", "exceptions", "inflected"})
_NAME: Final = regex.compile(r"[a-z][a-z0-9_]{0,59}")
_LANGUAGE: Final = regex.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}|any")
_WORD: Final = regex.compile(r"[\p{L}\p{M}\p{N}'’*]+")
_PHONE: Final = regex.compile(r"\+[\d ]+")
_QUOTED: Final = regex.compile(
    r"“[^”“]{1,300}[”“]|„[^“”„]{1,300}[“”]|«[^»]{1,300}»|»[^«]{1,300}«|\"[^\"]{1,300}\""
)


@lru_cache(maxsize=1_024)
def is_language(tag: str, wider: str) -> bool:
    """RFC 4647 §3.3.1: what holds for `sr` holds for `sr-Cyrl`; `any` holds for all."""
    return wider == ANY or f"{tag.lower()}-".startswith(f"{wider.lower()}-")


@dataclass(frozen=True, slots=True)
class NamedList:
    """A list as it was written; `scoped` are its terms and patterns by language."""

    name: str
    node: Node
    terms: Mapping[str, tuple[str, ...]]
    patterns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exceptions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def values(self) -> frozenset[str]:
        """Its terms as values, folded for comparison."""
        return frozenset(fold_value(term) for term in chain(*self.terms.values()))


@lru_cache(maxsize=4_096)
def fold_value(value: str) -> str:
    """The form in which values are compared: composed, without case; telephone numbers without spaces."""
    folded = unicodedata.normalize("NFC", value).casefold().strip()
    return "".join(folded.split()) if _PHONE.fullmatch(folded) else folded


def read_list(name: str, node: Node) -> NamedList:
    """Read one named list."""
    if not _NAME.fullmatch(name):
        node.refuse("a list's name is small letters, digits and _, at most 60")
    if not isinstance(node.value, dict):
        return NamedList(name, node, {ANY: _read_items(node)})
    found = node.fields(needed=frozenset(), optional=_KEYS)
    parts = {
        key: _read_scoped(found[key]) if key in found else {}
        for key in ("terms", "patterns", "exceptions")
    }
    if not (parts["terms"] or parts["patterns"]):
        node.refuse("needs terms or patterns")
    if "inflected" in found and found["inflected"].truth():
        parts["terms"] = {
            language: tuple(_inflect(term) for term in terms)
            for language, terms in parts["terms"].items()
        }
    return NamedList(name, node, **parts)


def _inflect(term: str) -> str:
    return _WORD.sub(lambda word: word[0] if word[0].endswith("*") else f"{word[0]}*", term)


def _read_scoped(node: Node) -> dict[str, tuple[str, ...]]:
    if not isinstance(node.value, dict):
        return {ANY: _read_items(node)}
    for language, inner in node.items():
        if not _LANGUAGE.fullmatch(language):
            inner.refuse(f"{language[:40]!a} is not a language tag")
    return {language: _read_items(inner) for language, inner in node.items()}


def _read_items(node: Node) -> tuple[str, ...]:
    found = node.texts()
    for item in found:
        if len(item) > MAX_LENGTH:
            node.refuse(f"at most {MAX_LENGTH} characters each")
    return found


class Lexicon:
    """All lists of a policy, compiled into one search."""

    def __init__(self, lists: Iterable[NamedList]) -> None:
        """Compile them; refuses what RE2 refuses, and more than `MAX_ITEMS` terms and patterns."""
        self.lists = {each.name: each for each in lists}
        self._values = {name: each.values for name, each in self.lists.items()}
        self._exceptions: dict[str, list[tuple[str, Needle]]] = {}
        self._owners: list[tuple[str, str]] = []  # of each needle: its list and its language
        needles: list[Needle] = []
        for each in self.lists.values():
            for language, needle in _needles(each, each.terms, each.patterns):
                needles.append(needle)
                self._owners.append((each.name, language))
            self._exceptions[each.name] = list(_needles(each, each.exceptions, {}))
            if len(needles) > MAX_ITEMS:
                each.node.refuse(f"more than {MAX_ITEMS} terms and patterns in all lists together")
        self._matcher = Matcher(needles)

    def values(self, name: str) -> frozenset[str]:
        """A list as values for comparison; see `fold_value`."""
        return self._values[name]

    def find(self, text: str, language: str) -> dict[str, tuple[Span, ...]]:
        """Where the terms of each list occur in a text, in order; lists without a hit are left out."""
        searched = folds(text)
        found: dict[str, list[tuple[Span, ...]]] = {}
        for folded in searched:
            for index, spans in self._matcher.find(folded).items():
                name, scope = self._owners[index]
                if is_language(language, scope):
                    found.setdefault(name, []).append(spans)
        judged = {name: self._judge(name, language, hits, searched) for name, hits in found.items()}
        return {name: spans for name, spans in judged.items() if spans}

    def _judge(
        self,
        name: str,
        language: str,
        found: Sequence[tuple[Span, ...]],
        searched: Sequence[Folded],
    ) -> tuple[Span, ...]:
        """Drop hits inside longer ones and inside exceptions.

        Where there were more hits than are looked at, the last one counts: nothing hides behind a hundred exceptions.
        """
        outer = outermost(chain(*found))
        shelters = [
            span
            for scope, needle in self._exceptions[name]
            if is_language(language, scope)
            for folded in searched
            for span in needle.find(folded)
        ]
        is_cut = any(len(spans) == MAX_HITS for spans in found)
        kept = [span for span in outer if not is_inside(span, shelters)]
        if is_cut and outer[-1] not in kept:
            kept.append(outer[-1])
        return tuple(kept)


def _needles(
    owner: NamedList,
    terms: Mapping[str, tuple[str, ...]],
    patterns: Mapping[str, tuple[str, ...]],
) -> Iterable[tuple[str, Needle]]:
    for scoped, is_term in ((terms, True), (patterns, False)):
        for language, sources in scoped.items():
            for source in sources:
                try:
                    yield language, get_needle(source, is_term=is_term)
                except PatternError as exc:
                    owner.node.refuse(f"“{source[:60]}”: {exc}")


def outermost(spans: Iterable[Span]) -> list[Span]:
    """The spans that are not inside another one, in order."""
    outer: list[Span] = []
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if not outer or end > outer[-1][1]:
            outer.append((start, end))
    return outer


def is_inside(span: Span, shelters: Iterable[Span]) -> bool:
    return any(start <= span[0] and span[1] <= end for start, end in shelters)


def find_quoted(text: str) -> list[Span]:
    """What stands between quotation marks, with them."""
    return [match.span() for match in _QUOTED.finditer(text)]


def is_near(value: str, names: Iterable[str]) -> bool:
    """Whether a value is one insertion, deletion, change or swap of neighbours away from a name, and is no name."""
    folded = fold_value(value)
    return any(_is_one_edit(folded, name) for name in names)


def _is_one_edit(one: str, other: str) -> bool:
    if abs(len(one) - len(other)) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), None)
    if start is None:
        return len(one) != len(other)
    rest, others = one[start:], other[start:]
    if len(one) == len(other):
        swapped = rest[1::-1] + rest[2:]
        return rest[1:] == others[1:] or swapped == others
    return rest[1:] == others or rest == others[1:]
