"""Cutting a long text into the parts of a thread, at the place that a reader minds least.

Every part is a slice of the text as it was written; only the white space at the cuts is dropped.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import regex

from scheduler.errors import InvalidError

_NO_BREAK_SPACES: Final = frozenset("\u00a0\u2007\u202f")
_CJK_PUNCTUATION: Final = r"\u3001-\u303f\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
_ADDRESS_END: Final = rf"\s{_CJK_PUNCTUATION}"
_GAP: Final = r"\s+(?![\p{Grapheme_Extend}\p{GCB=SpacingMark}\u200d])"
_LEADING_GAP: Final = regex.compile(rf"(?:{_GAP})?")
_SIGHT: Final = (
    16  #: how far back the end of a sentence is looked for, behind its closing quotes and brackets
)
# Tokens from left to right. A link, a mention or a hashtag stays whole; a space that carries a combining mark is a
# letter. Each alternative looks at a character a bounded number of times, so that the scan is linear.
_TOKEN: Final = regex.compile(
    rf"""
      (?P<whole>
          https?://[^{_ADDRESS_END}]+
        | (?<![A-Za-z0-9.-])(?:[A-Za-z0-9-]++\.)+[A-Za-z]{{2,}}/[^{_ADDRESS_END}]*
        | [@＠][A-Za-z0-9_.-]+(?:@[\w.-]+)?
        | [\#＃]\w+
      )
    | (?P<gap>{_GAP})
    | (?P<letter>\X)
    """,
    regex.VERBOSE | regex.IGNORECASE,
)
_ENDS_SENTENCE: Final = regex.compile(
    r"(?:\p{SB=STerm}|(?<!\p{N})\p{SB=ATerm})\p{SB=Close}*+$"  # not the point of "30. marca"
)
_STARTS_LOWER: Final = regex.compile(r"\p{SB=Lower}")  # Georgian has no case and is not Lower
# Scripts that write no spaces between words: a cut is possible on either side of such a letter …
_UNSPACED: Final = regex.compile(
    rf"[\p{{Han}}\p{{Hiragana}}\p{{Katakana}}\p{{Thai}}\p{{Lao}}\p{{Khmer}}\p{{Myanmar}}{_CJK_PUNCTUATION}]"
)
# … but not before a closing mark, a small or lengthened kana or a combining mark, nor after an opening one.
_NOT_FIRST: Final = regex.compile(
    r"(?![@＠#＃])[\p{Pe}\p{Pf}\p{Po}\p{Lm}\p{Grapheme_Extend}\u200dぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ]"
)
_NOT_LAST: Final = regex.compile(r"[\p{Ps}\p{Pi}@＠\#＃]$")
_ENDS_CLAUSE: Final = regex.compile(r"[\p{Po}\p{Pe}\p{Pf}]$")


class ThreadWordTooLongError(InvalidError):
    """One word, link or mention is longer than a part may be; the details hold its start and its offset."""

    code = "thread_word_too_long"


class Cut(IntEnum):
    """How good a place is to cut, worst first."""

    LETTER = 0  #: inside a run of a script without spaces
    WORD = 1
    SENTENCE = 2
    LINE = 3
    PARAGRAPH = 4


@dataclass(frozen=True, slots=True)
class _Place:
    end: int  #: where the part before the cut ends
    next: int  #: where the part after it starts
    cut: Cut


@dataclass(frozen=True, slots=True)
class _Rest:
    """What is left of the text; item n is its first n pieces."""

    text: str
    start: int
    places: Sequence[_Place]
    first: int

    def __len__(self) -> int:
        return len(self.places) - self.first

    def __getitem__(self, count: int) -> str:
        return self.text[self.start : self.places[self.first + count - 1].end]


def split_thread(text: str, fits: Callable[[str], bool]) -> tuple[str, ...]:
    """Cut `text` into parts that all fit, at paragraphs first, then lines, sentences and words.

    `fits` judges one part; it should accept every beginning of a part that it accepts, or parts become shorter than
    they need to be. A text that fits is one part; a blank text has none. Links, mentions, hashtags and graphemes
    stay whole; scripts without spaces (Japanese, Thai, …) are cut between letters where nothing better is near.

    Raises:
        ThreadWordTooLongError: a word does not fit in a part of its own.
    """
    places = list(_find_places(text))
    parts: list[str] = []
    first = 0
    start = _find_start(text)
    while first < len(places):
        count = _count_fitting(_Rest(text, start, places, first), fits)
        if count == 0:
            raise _too_long(text[start : places[first].end], start)
        last = _best(places, first, first + count)
        parts.append(text[start : places[last].end])
        start, first = places[last].next, last + 1
    return tuple(parts)


def _best(places: Sequence[_Place], first: int, stop: int) -> int:
    """The last of the best places; the end of the text beats them all."""
    if stop == len(places):
        return stop - 1
    return max(range(first, stop), key=lambda index: (places[index].cut, index))


def _count_fitting(rest: _Rest, fits: Callable[[str], bool]) -> int:
    """The largest number of pieces that fit, by doubling: no probe is much longer than the answer."""
    step = 1
    while step <= len(rest) and fits(rest[step]):
        step *= 2
    untried = range(step // 2 + 1, min(step, len(rest) + 1))
    # The key answers whether a number is too large, and the search finds the first that is.
    return step // 2 + bisect_left(untried, True, key=lambda count: not fits(rest[count]))  # noqa: FBT003 - a key's value


def _find_places(text: str) -> Iterator[_Place]:
    """Every place where a cut is possible, the end of the text included."""
    body = text.rstrip()
    before: regex.Match[str] | None = None
    for token in _TOKEN.finditer(body, _find_start(body)):
        if token["gap"] is not None:
            word = body[max(token.start() - _SIGHT, 0) : token.start()]
            cut = _judge_gap(token[0], word, body[token.end()])
            if cut is not None:
                yield _Place(token.start(), token.end(), cut)
            before = None
            continue
        if before is not None and _can_part(before[0], token[0]):
            yield _Place(token.start(), token.start(), _judge_letters(before[0]))
        before = token
    if body:
        yield _Place(len(body), len(text), Cut.PARAGRAPH)


def _find_start(text: str) -> int:
    match = _LEADING_GAP.match(text)
    return match.end() if match else 0


def _judge_gap(gap: str, word: str, following: str) -> Cut | None:
    if all(space in _NO_BREAK_SPACES for space in gap):
        return None
    lines = gap.count("\n") + 2 * gap.count("\u2029") + gap.count("\u2028")
    if lines:
        return Cut.LINE if lines == 1 else Cut.PARAGRAPH
    if _ENDS_SENTENCE.search(word) and not _STARTS_LOWER.match(following):
        return Cut.SENTENCE
    return Cut.WORD


def _can_part(before: str, after: str) -> bool:
    if not (_UNSPACED.match(before) or _UNSPACED.match(after)):
        return False
    return not (_NOT_LAST.search(before) or _NOT_FIRST.match(after))


def _judge_letters(before: str) -> Cut:
    if _ENDS_SENTENCE.search(before):
        return Cut.SENTENCE
    return Cut.WORD if _ENDS_CLAUSE.search(before) else Cut.LETTER


def _too_long(word: str, offset: int) -> ThreadWordTooLongError:
    return ThreadWordTooLongError(
        f"“{word[:40]}” at character {offset + 1} is longer than one part of the thread may be",
        word=word[:40],
        offset=offset,
    )
