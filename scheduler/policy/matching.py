"""Finding terms and patterns in a text: one RE2 pass over all rules, then a look at the few that were hit.

Case does not matter, nor does it matter whether a letter is composed, wide, styled or part of a ligature, whether
invisible characters stand between the letters, or which white space separates words. RE2 alone searches, in time linear
in the text.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, Final, Literal

import re2
import regex

MAX_HITS: Final = 100  #: of one term or pattern in one text; further ones add nothing for a reader
GROUP_SIZE: Final = 1_000  #: needles that one automaton looks for

_NEEDLE_MEMORY: Final = 1 << 20  # bytes; a pattern that needs more is refused
_GROUP_MEMORY: Final = 32 << 20  # bytes; reached only by large policies
_SURROGATE: Final = regex.compile(r"[\ud800-\udfff]")
_IGNORABLE: Final = regex.compile(r"\p{Default_Ignorable_Code_Point}")
_CLUSTER: Final = regex.compile(r"\X")
_WORD: Final = regex.compile(r"[\p{L}\p{N}\p{M}_]")
_SINGLE_BYTE: Final = regex.compile(r"(?<!\\)(?:\\\\)*\\C")
# A pattern that can match nothing does so in one of these, but for artful ones; `find` passes over what is left.
_SAMPLES: Final = ("", "a", "  ", " a ")
_EMPTY: Final = "it matches the empty text, so it would match everywhere"
_SPACE: Final = r"[\s\p{Z}]+"
_VOWELS: Final = "aeiouyàèìòùáéíóúâêîôûăãõäöüëïўаеиіоуяюєїыэებიაოუ"
_LETTER: Final = r"[\p{L}\p{M}'’]"
_SHORT_STEM: Final = 4  #: letters; after one this short, long endings make other words

Span = tuple[int, int]


class PatternError(ValueError):
    """Not a pattern that RE2 accepts, or one that matches nothing at all."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A text as it is searched; `starts` and `ends` lead back to the original, None where they are the same."""

    text: str
    data: bytes  #: the text in UTF-8
    source: str  #: what people wrote
    starts: Sequence[int] | None = None
    ends: Sequence[int] | None = None
    hits: dict["Needle", tuple[Span, ...]] = field(default_factory=dict, compare=False)

    def original(self, start: int, end: int) -> Span:
        if self.starts is None or self.ends is None:
            return start, end
        return self.starts[start], self.ends[end - 1]

    def is_boundary(self, offset: int) -> bool:
        """Whether no word runs across `offset`: as it is searched, or as it was written.

        An invisible character that was left out also ends a word, and so does a sign like ™ that folds to letters.
        """
        if not 0 < offset < len(self.text):
            return True
        if not (_WORD.match(self.text[offset - 1]) and _WORD.match(self.text[offset])):
            return True
        if (
            self.starts is None
            or self.ends is None
            or self.starts[offset - 1] == self.starts[offset]
        ):
            return False
        before, after = self.ends[offset - 1] - 1, self.starts[offset]
        if before + 1 < after:
            return True
        return not (_WORD.match(self.source[before]) and _WORD.match(self.source[after]))


class Needle:
    """One term (whole words only) or one pattern (as written).

    A term's word that ends in `*` stands for every form of it: its last vowel may change, and an ending may follow.
    Where such a term begins with a capital, so must what is found: it is a name.
    """

    __slots__ = ("_is_name", "_is_term", "_pattern", "probe", "source")

    def __init__(self, source: str, *, is_term: bool) -> None:
        """Compile it.

        Raises:
            PatternError: RE2 refuses the pattern, it matches the empty text, or nothing of the term is visible.
        """
        self._is_term = is_term
        self._is_name = is_term and "*" in source and source[:1].isupper()
        self.source = _term_pattern(source) if is_term else source
        #: What every occurrence holds, and cheap to look for with a thousand others: a term's longest stem.
        self.probe = _term_probe(source) if is_term else source
        self._pattern: Any = None
        if is_term and not self.probe:
            raise PatternError(_EMPTY)
        if is_term and "*" not in source:
            return  # escaped words, which always compile: that is done when a text first holds the longest
        if not is_term and _SINGLE_BYTE.search(source):
            raise PatternError(r"\C matches half a letter")
        if any(not match[0] for text in _SAMPLES for match in self._compiled.finditer(text)):
            raise PatternError(_EMPTY)

    @property
    def _compiled(self) -> Any:  # noqa: ANN401 - the library has no types
        if self._pattern is None:
            try:
                self._pattern = re2.compile(self.source, _options(_NEEDLE_MEMORY))
            except re2.error as error:
                raise PatternError(_reason(error)) from error
        return self._pattern

    def find(self, folded: Folded) -> Iterator[Span]:
        """Yield spans in the original text, in order; the occurrences of a term may overlap."""
        data = folded.data
        position = 0  # of the search, in bytes
        known = offset = 0  # where the last match started, in bytes and in characters
        while position <= len(data) and (match := self._compiled.search(data, position)):
            first, last = match.span()
            position = first + 1 if self._is_term or first == last else last
            if first == last:
                continue
            offset += len(data[known:first].decode())
            known = first
            end = offset + len(data[first:last].decode())
            if not self._is_term or self._is_whole(folded, offset, end):
                yield folded.original(offset, end)

    def _is_whole(self, folded: Folded, start: int, end: int) -> bool:
        if self._is_name and not folded.text[start].isupper():
            return False
        return folded.is_boundary(start) and folded.is_boundary(end)


@lru_cache(maxsize=100_000)
def get_needle(source: str, *, is_term: bool) -> Needle:
    """The needle of a term or pattern: policies that have it in common share it, and what it finds in a text."""
    return Needle(source, is_term=is_term)


class Matcher:
    """All needles of a policy, searched together; a needle is known by its place in the sequence."""

    __slots__ = ("_groups", "_needles")

    def __init__(self, needles: Sequence[Needle], *, memory_bytes: int = _GROUP_MEMORY) -> None:
        """Compile the groups; `memory_bytes` bounds each group's automaton.

        Raises:
            PatternError: a group does not fit in its memory.
        """
        self._needles = tuple(needles)
        starts = range(0, len(self._needles), GROUP_SIZE)
        groups = (self._needles[start : start + GROUP_SIZE] for start in starts)
        self._groups = tuple(_build_group(group, memory_bytes) for group in groups)

    def find(self, folded: Folded) -> dict[int, tuple[Span, ...]]:
        """Return the spans, in the original text, of every needle that occurs."""
        spans: dict[int, tuple[Span, ...]] = {}
        for number, group in enumerate(self._groups):
            for index in self._find_candidates(group, number * GROUP_SIZE, folded.data):
                needle = self._needles[index]
                hits = folded.hits.get(needle)
                if hits is None:
                    hits = folded.hits[needle] = tuple(islice(needle.find(folded), MAX_HITS))
                if hits:
                    spans[index] = hits
        return spans

    def _find_candidates(self, group: re2.Set, start: int, data: bytes) -> Iterable[int]:
        """A search that ran out of memory answers nothing at all: then every needle of the group is looked for."""
        size = min(len(self._needles) - start, GROUP_SIZE)
        found = group.Match(data) or ()
        if size not in found:
            return range(start, start + size)
        return sorted(start + index for index in found if index < size)


def _build_group(needles: Sequence[Needle], memory_bytes: int) -> re2.Set:
    group = re2.Set.SearchSet(_options(memory_bytes))
    for needle in needles:
        group.Add(needle.probe)
    group.Add("")  # found in every text, unless the search failed
    try:
        group.Compile()
    except re2.error as error:
        raise PatternError("too long together to be searched at once") from error
    return group


@lru_cache(maxsize=16)
def folds(text: str) -> tuple[Folded, ...]:
    """The text in every way it is searched: as people read it, and with signs such as № as they were written."""
    read, written = fold(text), fold(text, form="NFC")
    return (read,) if read.text == written.text else (read, written)


def fold(text: str, *, form: Literal["NFC", "NFKC"] = "NFKC") -> Folded:
    """Compose the letters and leave out what is invisible, and remember where everything stood.

    NFKC makes a wide or styled letter the plain one, and a ligature its letters; case stays, because a script such as
    Georgian has no capitals that anybody would take for another spelling.
    """
    if text.isascii():
        return Folded(text, text.encode(), text)
    source, text = text, _SURROGATE.sub("\ufffd", text)
    if unicodedata.is_normalized(form, text) and not _IGNORABLE.search(text):
        return Folded(text, text.encode(), source)
    kept = [(offset, char) for offset, char in enumerate(text) if not _IGNORABLE.match(char)]
    folded: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for cluster in _CLUSTER.finditer("".join(char for _, char in kept)):
        composed = unicodedata.normalize(form, cluster[0])
        folded.append(composed)
        starts += [kept[cluster.start()][0]] * len(composed)
        ends += [kept[cluster.end() - 1][0] + 1] * len(composed)
    text = "".join(folded)
    return Folded(text, text.encode(), source, starts, ends)


def _term_pattern(term: str) -> str:
    return _SPACE.join(_word_pattern(word) for word in fold(term).text.split())


def _term_probe(term: str) -> str:
    stems = [_stem(word) for word in fold(term).text.split()]
    return str(re2.escape(max(stems, key=len, default="")))


def _stem(word: str) -> str:
    """The part of a word that all its forms share."""
    if not word.endswith("*") or len(word) == 1:
        return word
    stem = word[:-1]
    return stem[:-1] if len(stem) > _SHORT_STEM and stem[-1].lower() in _VOWELS else stem


def _word_pattern(word: str) -> str:
    stem = _stem(word)
    if stem == word:
        return str(re2.escape(word))
    if len(stem) < len(word) - 1 and stem[-1].lower() in _VOWELS:
        return (
            f"{re2.escape(stem)}[{_VOWELS}]{_LETTER}{{0,4}}"  # Crimea and its forms, but not crime
        )
    longest = 5 if len(word) - 1 > _SHORT_STEM else 3
    return f"{re2.escape(stem)}{_LETTER}{{0,{longest}}}"


def _options(memory_bytes: int) -> re2.Options:
    options = re2.Options()
    options.max_mem = memory_bytes
    options.case_sensitive = False
    options.log_errors = False
    return options


def _reason(error: Exception) -> str:
    reason = error.args[0]
    return reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
