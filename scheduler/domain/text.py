"""What a text may contain, and which of its characters nobody sees.

Nothing here changes a text: what the officer wrote is what is approved, so composed and decomposed letters stay
different. Offsets count code points from 0. The edge turns a form's CRLF into a newline before it asks.
"""

import unicodedata
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import regex

from scheduler.errors import InvalidError

MAX_TEXT_LENGTH: Final = 100_000  #: code points

_SURROGATE: Final = regex.compile(r"[\ud800-\udfff]")
_CONTROL: Final = regex.compile(r"[\p{Cc}--\n\t]", regex.VERSION1)
_BIDI_OVERRIDE: Final = regex.compile(r"[\u202a-\u202e]")
_BIDI_STRUCTURE: Final = regex.compile(r"[\n\u2029\u2066-\u2069]")
_BIDI_CLOSE: Final = "\u2069"
_PARAGRAPH_ENDS: Final = "\n\u2029"  # an isolate ends with its paragraph (UAX #9, rule X8)
# A black flag, a region of three to six letters or digits, and the cancel tag (UTS #51, ED-14a).
_FLAG: Final = r"\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f"
_FLAG_OR_TAG: Final = regex.compile(rf"{_FLAG}|(?P<found>[\U000e0000-\U000e007f])")
_PICTURE: Final = rf"(?:{_FLAG}|\p{{Extended_Pictographic}}[\ufe0e\ufe0f]?\p{{Emoji_Modifier}}?)"
_EMOJI: Final = rf"{_PICTURE}(?:\u200d{_PICTURE})*|[0-9#*]\ufe0f\u20e3"
# U+2800 is a Braille letter without a dot.
_HIDDEN: Final = r"[[\p{Default_Ignorable_Code_Point}\p{C}\p{Z}\u2800]--[ \n\t]]"
_EMOJI_OR_HIDDEN: Final = regex.compile(rf"{_EMOJI}|(?P<found>{_HIDDEN})", regex.VERSION1)


class TextError(InvalidError):
    """What no post may hold; the details name the field, the offset and the code point, or the length."""


class TextSurrogateError(TextError):
    """Half of a UTF-16 pair: no platform and no database can carry it."""

    code = "text_surrogate"


class TextControlError(TextError):
    """A control character other than newline and tab."""

    code = "text_control"


class TextTooLargeError(TextError):
    code = "text_too_large"


class TextBidiError(TextError):
    """A control that makes text read in another order than it is stored."""

    code = "text_bidi"


class TextTagError(TextError):
    """An invisible tag character outside the flag of a region."""

    code = "text_tag"


@dataclass(frozen=True, slots=True, kw_only=True)
class HiddenSpan:
    """A run of one invisible or look-alike character."""

    start: int
    end: int  #: the offset after the run
    character: str
    name: str  #: as Unicode names it, or `U+…` where it has no name


def check_text(text: str, field: str) -> None:
    """Refuse what could hide a meaning from the reviewer or break on the way to a platform.

    Isolates (U+2066 to U+2069) are allowed when they are balanced within their paragraph, and so are the marks U+200E,
    U+200F and U+061C: Arabic text with links and numbers needs them.

    Raises:
        TextTooLargeError: more than `MAX_TEXT_LENGTH` code points.
        TextSurrogateError: a lone surrogate.
        TextControlError: a control character other than newline and tab.
        TextBidiError: an embedding or override (U+202A to U+202E), or an isolate without its other end.
        TextTagError: a tag character outside a flag emoji.
    """
    if len(text) > MAX_TEXT_LENGTH:
        raise TextTooLargeError(
            f"{field} has {len(text)} characters; at most {MAX_TEXT_LENGTH} are allowed",
            field=field,
            length=len(text),
        )
    _refuse(TextSurrogateError, _first(_SURROGATE, text), text, field)
    _refuse(TextControlError, _first(_CONTROL, text), text, field)
    if text.isascii():
        return
    _refuse(TextBidiError, _first(_BIDI_OVERRIDE, text), text, field)
    _refuse(TextBidiError, _find_unbalanced(text), text, field)
    tags = (match for match in _FLAG_OR_TAG.finditer(text) if match["found"])
    _refuse(TextTagError, next((match.start() for match in tags), None), text, field)


def hidden_characters(text: str) -> tuple[HiddenSpan, ...]:
    """Find what a reviewer cannot see or takes for a space, to be marked on the approval page.

    Joiners and selectors that an emoji is made of are left out. Accepts every text, also one that `check_text` refuses.
    """
    found = [match.start() for match in _EMOJI_OR_HIDDEN.finditer(text) if match["found"]]
    runs = groupby(enumerate(found), key=lambda item: (item[1] - item[0], text[item[1]]))
    spans = []
    for (_, character), run in runs:
        offsets = [offset for _, offset in run]
        spans.append(
            HiddenSpan(
                start=offsets[0],
                end=offsets[-1] + 1,
                character=character,
                name=unicodedata.name(character, _code_point(character)),
            )
        )
    return tuple(spans)


def _first(pattern: regex.Pattern[str], text: str) -> int | None:
    match = pattern.search(text)
    return None if match is None else int(match.start())


def _find_unbalanced(text: str) -> int | None:
    """Return the offset of the first isolate control whose partner is not in the same paragraph."""
    opened: list[int] = []
    for match in _BIDI_STRUCTURE.finditer(text):
        character = match[0]
        if character in _PARAGRAPH_ENDS:
            if opened:
                break
        elif character != _BIDI_CLOSE:
            opened.append(match.start())
        elif opened:
            opened.pop()
        else:
            return int(match.start())
    return opened[0] if opened else None


def _refuse(error: type[TextError], offset: int | None, text: str, field: str) -> None:
    if offset is None:
        return
    code_point = _code_point(text[offset])
    raise error(
        f"{field} holds {code_point} at character {offset + 1}; remove it",
        field=field,
        offset=offset,
        code_point=code_point,
    )


def _code_point(character: str) -> str:
    return f"U+{ord(character):04X}"
