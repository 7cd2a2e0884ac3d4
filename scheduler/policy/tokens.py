"""What stands in a text: links, hashtags, mentions, emoji, sentences, clock times, numbers and dangerous characters."""

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final

import regex

from scheduler.policy.matching import Span

_LINK: Final = regex.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]{1,10})://(?P<host>[^\s/?#:@]*@?[^\s/?#:]*)(?:[/?#:][^\s]*)?"
    r"|(?<![\p{L}\p{N}@.-])(?P<bare>[a-z0-9-]++(?:\.[a-z0-9-]++)++)/[^\s]+",
    regex.IGNORECASE,
)
_TAIL: Final = ".,;:!?…)]»”’\"'"
_HASHTAG: Final = regex.compile(
    r"(?<![\p{L}\p{N}&/])[#＃](?P<name>[\p{L}\p{M}\p{N}_\u200c]*[\p{L}\p{M}_][\p{L}\p{M}\p{N}_\u200c]*)"
)
_MENTION: Final = regex.compile(
    r"(?<![\p{L}\p{N}@./])[@＠](?P<name>[\p{L}\p{N}_]+(?:[.-][\p{L}\p{N}_]+)*)(?P<host>@[\p{L}\p{N}.-]*[\p{L}\p{N}])?"
)
_SHORT_NAME: Final = regex.compile(r"[^\p{L}\p{N}_].*")
_EMAIL: Final = regex.compile(
    r"(?<![\p{L}\p{N}._%+-])[\p{L}\p{N}._%+-]++@(?P<host>[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)+)"
)
_PHONE: Final = regex.compile(r"(?<![\p{N}\p{L}])(?:\+|00)\p{Nd}[\p{Nd} ()./-]{5,}\p{Nd}")
_NUMBER: Final = regex.compile(r"\p{Nd}+(?:[.,   ’']\p{Nd}+)*")
_WORD: Final = regex.compile(r"[\p{L}\p{N}\p{M}]+(?:[’'\-‑][\p{L}\p{N}\p{M}]+)*")
_ACRONYM: Final = regex.compile(r"(?<![\p{L}\p{N}_#@])\p{Lu}{2,6}(?![\p{L}\p{N}_])")
_CAPITALS: Final = regex.compile(r"\p{Lu}{2}")
_EXPLAINED: Final = regex.compile(r"\((\p{Lu}{2,6})\)")
_EMOJI: Final = regex.compile(
    r"\p{Regional_Indicator}{2}|[0-9#*]\ufe0f?\u20e3|\p{Emoji_Presentation}|\p{Extended_Pictographic}\ufe0f"
)
_SENTENCE_END: Final = regex.compile(
    r"(?:(?<![.!?…])[.!?…]++[”»\"’)]*+(?=\s|\Z|\p{Extended_Pictographic})|[。！？؟]+|\n+)"
)
_FINAL: Final = frozenset(".!?…。！？؟:")
_SHORT_BEFORE: Final = regex.compile(r"(?<!\p{N})\p{N}{1,2}\Z|(?<!\p{L})\p{L}\Z")
_NEXT: Final = regex.compile(r"\s*+(\S)")
_TIME: Final = regex.compile(
    r"(?<![\p{N}:.,-])(?:"
    r"(?:[01]?\d|2[0-4])[:٫]\d{2}(?::\d{2})?(?!\p{N})"
    r"|(?:[01]?\d|2[0-4])\s?[hH](?:\s?\d{2})?(?![\p{L}\p{N}])"
    r"|(?:[01]?\d|2[0-4])(?:[.:]\d{2})?\s?(?:Uhr|[ap]\.?m\b\.?|o’clock|o'clock|時|点|點|시)"
    r"|(?<=\b(?:at|um|ob|alle|à|às|saat|godz\.|o|в|во|у|ora|ore|në) )"
    r"(?:[01]?\d|2[0-4])(?:\.\d{2})?(?=[\s!?.,;]|\Z)(?!\s?\p{L}{3,}))"
)
_BIDI: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_HIDDEN: Final = regex.compile(
    r"[\u202a-\u202e\u2066-\u2069\u200b-\u200d\u2060-\u2064\ufeff\u00ad\u180e]"
)
_JOINED: Final = regex.compile(
    r"[\p{Arabic}\p{Devanagari}\p{Bengali}\p{Tamil}\p{Telugu}\p{Kannada}\p{Malayalam}\p{Sinhala}\p{Gujarati}\p{Gurmukhi}\p{Oriya}\p{Khmer}\p{Mongolian}]"
)
_RTL: Final = regex.compile(r"[\p{Bidi_Class=R}\p{Bidi_Class=AL}]")
_LETTER: Final = regex.compile(r"\p{L}")
_SCRIPTS: Final = {
    name: regex.compile(rf"\p{{{name}}}")
    for name in (
        "Latin",
        "Cyrillic",
        "Greek",
        "Georgian",
        "Armenian",
        "Arabic",
        "Hebrew",
        "Han",
        "Hiragana",
        "Katakana",
        "Hangul",
        "Thai",
        "Devanagari",
    )
}
_LATIN: Final = frozenset({"Latin"})
_UNSPACED: Final = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}]")
_CJK: Final = frozenset({"Han", "Hiragana", "Katakana", "Hangul"})
#: Scripts whose letters have two cases. Georgian is not here: its capitals are a style, not a case.
_CASED: Final = frozenset({"Latin", "Cyrillic", "Greek", "Armenian"})


#: Several rules ask for the same tokens of a text, one after the other; this many texts are kept with theirs.
_kept = lru_cache(maxsize=32)

Part = str | float | bool | None


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of a text with what rules may ask of it."""

    start: int
    end: int
    text: str
    parts: dict[str, Part]

    @property
    def span(self) -> Span:
        return self.start, self.end


def scripts_of(text: str) -> frozenset[str]:
    """The scripts of its letters; Japanese and Korean mix theirs, so all of these count as one."""
    if text.isascii():
        return _LATIN if _LETTER.search(text) else frozenset()
    found = {name for name, pattern in _SCRIPTS.items() if pattern.search(text)}
    return frozenset({"CJK" if name in _CJK else name for name in found})


def main_script(text: str) -> str:
    """The script of most letters; empty where there is none."""
    if text.isascii():
        return "Latin" if _LETTER.search(text) else ""
    counts = {name: len(pattern.findall(text)) for name, pattern in _SCRIPTS.items()}
    best = max(counts, key=lambda name: counts[name])
    if not counts[best]:
        return ""
    return "CJK" if best in _CJK else best


@_kept
def find_links(text: str) -> tuple[Token, ...]:
    """Web addresses with a scheme, or with a path after the host; `host` is without user name and port."""
    found: list[Token] = []
    if "/" not in text:
        return ()
    for match in _LINK.finditer(text):
        whole = match[0].rstrip(_TAIL)
        host = match["bare"] or match["host"].rpartition("@")[2]
        parts: dict[str, Part] = {
            "text": whole,
            "scheme": (match["scheme"] or "").lower(),
            "host": host.lower().rstrip("."),
        }
        found.append(Token(match.start(), match.start() + len(whole), whole, parts))
    return tuple(found)


def blank(text: str, spans: Iterable[Span]) -> str:
    """The text with the spans made spaces, so that offsets stay."""
    pieces = []
    done = 0
    for start, end in sorted(spans):
        pieces += [text[done:start], " " * (end - max(start, done))]
        done = max(done, end)
    return "".join((*pieces, text[done:]))


@_kept
def find_hashtags(text: str) -> tuple[Token, ...]:
    """Hashtags; `letters`, and whether the script has `capitals` and words are told `apart` by them or by `_`."""
    found = []
    for match in _HASHTAG.finditer(text):
        name = match["name"]
        is_cased = bool(scripts_of(name) & _CASED)
        parts: dict[str, Part] = {
            "text": match[0],
            "letters": len(_LETTER.findall(name)),
            "cased": is_cased,
            "apart": "_" in name or any(char.isupper() for char in name[1:]),
        }
        found.append(Token(match.start(), match.end(), match[0], parts))
    return tuple(found)


def find_mentions(text: str, platform: str) -> list[Token]:
    """Mentions as the platform reads them: X, Instagram and others end a name at a dot or have none in it."""
    found = []
    for match in _MENTION.finditer(text):
        name = match["name"]
        if platform == "mastodon":
            name += match["host"] or ""
        elif platform == "x":
            name = _SHORT_NAME.sub("", name)
        end = match.start() + 1 + len(name)
        parts: dict[str, Part] = {"text": f"@{name}", "name": name}
        found.append(Token(match.start(), end, f"@{name}", parts))
    return found


def find_emails(text: str) -> list[Token]:
    return [
        Token(*match.span(), match[0], {"text": match[0], "host": match["host"].lower()})
        for match in _EMAIL.finditer(text)
    ]


def find_phones(text: str) -> list[Token]:
    """International numbers; `number` has its digits alone, with the plus."""
    found = []
    for match in _PHONE.finditer(text):
        number = clean_phone(match[0])
        found.append(Token(*match.span(), match[0], {"text": match[0], "number": number}))
    return found


def clean_phone(number: str) -> str:
    digits = "".join(str(unicodedata.decimal(char)) for char in number if char.isdecimal())
    return f"+{digits.removeprefix('00') if not number.startswith('+') else digits}"


def find_emoji(text: str) -> list[Token]:
    """Emoji by grapheme; `placed` at the end of a sentence or of the text."""
    if not _EMOJI.search(text):
        return []
    spans = [match.span() for match in regex.finditer(r"\X", text) if _EMOJI.match(match[0])]
    tail = _tail_start(text, spans)
    found: list[Token] = []
    previous_end = 0
    is_placed = False
    for start, end in spans:
        between = text[previous_end:start].rstrip()
        follows = is_placed and bool(found) and not between
        is_placed = start >= tail or follows or between[-1:] in _FINAL
        parts: dict[str, Part] = {"text": text[start:end], "placed": is_placed}
        found.append(Token(start, end, text[start:end], parts))
        previous_end = end
    return found


def _tail_start(text: str, emoji: list[Span]) -> int:
    """Where that begins which only trails: hashtags, links and emoji at the very end."""
    trailing = sorted(
        [
            *emoji,
            *(token.span for token in find_links(text)),
            *(token.span for token in find_hashtags(text)),
        ],
        reverse=True,
    )
    start = len(text)
    for first, last in trailing:
        if text[last:start].strip(" \n\t.,"):
            break
        start = first
    return start


@_kept
def find_sentences(text: str) -> tuple[Token, ...]:
    """Sentences with their number of `words`; a short number before a full stop does not end one (`30. März`)."""
    plain = blank(text, [token.span for token in find_links(text)])
    ends = [match.end() for match in _SENTENCE_END.finditer(plain) if _is_end(plain, match)]
    borders = [0, *ends, len(text)]
    found = []
    for start, end in pairwise(borders):
        piece = plain[start:end]
        words = _count_words(piece)
        if words:
            found.append(Token(start, end, text[start:end], {"words": words}))
    return tuple(found)


def _is_end(text: str, match: "regex.Match[str]") -> bool:
    if not match[0].startswith("."):
        return True
    if _SHORT_BEFORE.search(text[max(0, match.start() - 3) : match.start()]):
        return False
    after = _NEXT.match(text, match.end())
    first = after[1] if after else ""
    return not (first.islower() and bool(scripts_of(first) & _CASED))


def _count_words(text: str) -> int:
    """Words between spaces; a script without spaces is not counted."""
    if _UNSPACED.search(text) and main_script(text) in {"CJK", "Thai"}:
        return 1 if text.strip() else 0
    return len(_WORD.findall(text))


def find_times(text: str) -> list[Token]:
    """Clock times, as many languages write them."""
    return [Token(*match.span(), match[0], {"text": match[0]}) for match in _TIME.finditer(text)]


def find_acronyms(text: str) -> list[Token]:
    """Words of two to six capitals outside links; `explained` when the text says what they stand for in brackets."""
    if not _CAPITALS.search(text):
        return []
    plain = blank(text, [token.span for token in find_links(text)])
    explained = set(_EXPLAINED.findall(plain))
    return [
        Token(
            *match.span(),
            match[0],
            {"text": match[0], "explained": match[0] in explained},
        )
        for match in _ACRONYM.finditer(plain)
    ]


def find_suspects(text: str) -> Iterator[Token]:
    """Characters that make a text look like another: `kind` is mixed_script, bidi or invisible; `within` is where."""
    places = [(token, "link") for token in find_links(text)]
    places += [(token, "hashtag") for token in find_hashtags(text)]
    places += [(token, "handle") for token in find_mentions(text, "mastodon")]
    for token, within in places:
        letters = token.parts["host"] if within == "link" else token.text
        if len(scripts_of(str(letters))) > 1:
            yield _suspect(token.start, token.end, token.text, "mixed_script", within)
    places.sort(key=lambda place: place[0].start)
    starts = [token.start for token, _ in places]
    rtl = _is_rtl(text)
    for match in _HIDDEN.finditer(text):
        offset, char = match.start(), match[0]
        place = bisect_right(starts, offset) - 1
        is_within = place >= 0 and offset < places[place][0].end
        within = places[place][1] if is_within else "text"
        if char in _BIDI:
            yield _suspect(offset, offset + 1, char, "bidi", within, rtl=rtl)
        elif not _is_needed(text, offset):
            yield _suspect(offset, offset + 1, char, "invisible", within)


def _suspect(
    start: int, end: int, text: str, kind: str, within: str, *, rtl: bool = False
) -> Token:
    shown = text if kind == "mixed_script" else f"U+{ord(text):04X}"
    return Token(start, end, text, {"kind": kind, "within": within, "rtl": rtl, "text": shown})


def _is_rtl(text: str) -> bool:
    return bool(_RTL.search(text))


def _is_needed(text: str, offset: int) -> bool:
    """A joiner inside an emoji or between letters of a script that joins them."""
    around = text[max(0, offset - 2) : offset] + text[offset + 1 : offset + 3]
    return bool(
        _JOINED.search(around)
        or _EMOJI.search(around)
        or regex.search(r"\p{Extended_Pictographic}", around)
    )


def find_numbers(text: str) -> list[str]:
    """The numbers of a text as plain digits with a point before decimals, without clock times and phone numbers."""
    hidden = [token.span for token in (*find_links(text), *find_phones(text), *find_times(text))]
    return [_plain_number(match[0]) for match in _NUMBER.finditer(blank(text, hidden))]


def _plain_number(written: str) -> str:
    digits = "".join(
        str(unicodedata.decimal(char)) if char.isdecimal() else char for char in written
    )
    head, separator, tail = _split_decimal(digits)
    whole = "".join(char for char in head if char.isdecimal()).lstrip("0") or "0"
    return f"{whole}.{tail}" if separator else whole


def _split_decimal(digits: str) -> tuple[str, str, str]:
    """Three digits after the last separator are thousands, fewer are decimals."""
    position = max(digits.rfind("."), digits.rfind(","))
    if position < 0 or len(digits) - position - 1 == 3:  # noqa: PLR2004 - a group of thousands
        return digits, "", ""
    return digits[:position], ".", digits[position + 1 :]
