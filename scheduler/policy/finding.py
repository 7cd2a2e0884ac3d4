"""The collections of a post: what is found in its texts, and what registries say of it."""

import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import regex

from scheduler.policy import tokens
from scheduler.policy.facts import Item, TextFact, Value
from scheduler.policy.lists import fold_value, is_language
from scheduler.policy.matching import Span
from scheduler.policy.registries import Line, Term
from scheduler.policy.tokens import Token

if TYPE_CHECKING:
    from scheduler.policy.reading import Reading

_BETWEEN: Final = regex.compile(r"\s*(?:[,،、;]?\s*(?:\p{L}{1,4}|&)?)\s*")
_NAMED: Final = frozenset(
    {"x", "mastodon", "bluesky", "instagram", "threads", "telegram", "youtube"}
)
_ALPHABETICAL: Final = "en_alphabetical"
_SMALLEST_LIST: Final = 3  #: states that make an order
_STEM: Final = 5  #: letters of a formula's last word by which an echo of it is known
_AI_LABELS: Final = "ai_labels"
_ZONES: Final = "zone_names"
_SCRIPTS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("mk", "uk", "bg", "ru", "be", "sr-cyrl", "kk", "mn"), "Cyrillic"),
    **dict.fromkeys(("ja", "zh", "ko"), "CJK"),
    **dict.fromkeys(("ar", "fa", "ur", "ckb"), "Arabic"),
    "ka": "Georgian",
    "hy": "Armenian",
    "el": "Greek",
    "he": "Hebrew",
    "th": "Thai",
    "hi": "Devanagari",
}

Finder = Callable[["Reading", Sequence[Item]], Sequence[Item]]


def _item(index: int, fact: TextFact, token: Token, **more: Value) -> Item:
    values: dict[str, Value] = {"text": token.text, "field": fact.field, **token.parts, **more}
    return Item(values, ((index, token.span),))


def _every_text(reading: "Reading") -> Iterable[tuple[int, TextFact]]:
    return enumerate(reading.facts.texts)


def _simple(find: Callable[[str], Iterable[Token]], *, everywhere: bool = False) -> Finder:
    def finder(reading: "Reading", _declared: Sequence[Item]) -> Sequence[Item]:
        texts = _every_text(reading) if everywhere else reading.bodies()
        return [_item(i, fact, token) for i, fact in texts for token in find(fact.text)]

    return finder


def _find_mentions(reading: "Reading", _declared: Sequence[Item]) -> Sequence[Item]:
    """Mentions as each platform of the post reads them; `known` if the policy's registry has the handle there."""
    platforms = {str(each.values.get("platform") or "") for each in reading.collection("accounts")}
    found = []
    for platform in sorted(platforms & _NAMED):
        known = reading.registries.handles.get(platform, frozenset())
        for index, fact in reading.bodies():
            for token in tokens.find_mentions(fact.text, platform):
                is_known = fold_value(str(token.parts["name"])) in known
                found.append(_item(index, fact, token, platform=platform, known=is_known))
    return found


def _find_sentences(reading: "Reading", _declared: Sequence[Item]) -> Sequence[Item]:
    return [
        _item(index, fact, token, first=number == 0)
        for index, fact in reading.bodies()
        for number, token in enumerate(tokens.find_sentences(fact.text))
    ]


def _find_times(reading: "Reading", _declared: Sequence[Item]) -> Sequence[Item]:
    """Clock times; `zoned` where their sentence names a zone, as a table of cities does once for all."""
    found = []
    for index, fact in reading.bodies():
        sentences = tokens.find_sentences(fact.text)
        starts = [each.start for each in sentences]
        zones = {_place_of(starts, start) for start, _ in reading.found[index].get(_ZONES, ())}
        for token in tokens.find_times(fact.text):
            is_zoned = _place_of(starts, token.start) in zones
            found.append(_item(index, fact, token, zoned=is_zoned))
    return found


def _place_of(starts: Sequence[int], offset: int) -> int:
    """Which of the stretches that begin at `starts` an offset is in."""
    return bisect_right(starts, offset) - 1


def _find_officials(reading: "Reading", _declared: Sequence[Item]) -> Sequence[Item]:
    """Names of office holders; what fits is said only of a title that stands right before the name."""
    found = []
    for official in reading.registries.officials:
        for index, span in reading.hits_anywhere(official.found_by):
            title = _find_title(reading, index, span)
            fits: bool | None = (
                None if not (title and official.gender) else official.gender in title
            )
            current = official.valid.at(reading.publish_at) if title else None
            fact = reading.facts.texts[index]
            token = Token(*span, fact.text[slice(*span)], {"current": current, "title_fits": fits})
            found.append(_item(index, fact, token))
    return found


def _find_title(reading: "Reading", index: int, name: Span) -> set[str]:
    """The genders of the titles that end right before the name."""
    text = reading.facts.texts[index].text
    return {
        gender
        for gender in ("f", "m")
        for _, end in reading.found[index].get(f"titles:{gender}", ())
        if end <= name[0] and not text[end : name[0]].strip()
    }


def _find_state_lists(reading: "Reading", _declared: Sequence[Item]) -> Sequence[Item]:
    """Runs of three or more states; `ordered` when they follow the protocol's order."""
    found = []
    for index, fact in reading.bodies():
        named = sorted(
            (span, position)
            for name, position in reading.registries.states.items()
            for span in reading.found[index].get(name, ())
        )
        for run in _runs(fact.text, named):
            order = [position for _, position in run]
            token = Token(
                run[0][0][0],
                run[-1][0][1],
                fact.text[run[0][0][0] : run[-1][0][1]],
                {"states": len(run), "ordered": order == sorted(order)},
            )
            found.append(_item(index, fact, token))
    return found


def _runs(text: str, named: Sequence[tuple[Span, int]]) -> Iterator[list[tuple[Span, int]]]:
    run: list[tuple[Span, int]] = []
    for span, position in named:
        if run and not _BETWEEN.fullmatch(text[run[-1][0][1] : span[0]]):
            if len(run) >= _SMALLEST_LIST:
                yield run
            run = []
        run.append((span, position))
    if len(run) >= _SMALLEST_LIST:
        yield run


def _find_designations(reading: "Reading", _declared: Sequence[Item]) -> Sequence[Item]:
    """Names that need a mark and a footnote, once for each glossary entry that is used."""
    found = []
    for term in reading.registries.terms:
        places = reading.hits_anywhere(term.denied) if term.footnote else ()
        if places and term.valid.at(reading.publish_at):
            found.append(_describe_designation(reading, term, places[0]))
    return found


def _describe_designation(reading: "Reading", term: Term, first: tuple[int, Span]) -> Item:
    index, span = first
    fact = reading.facts.texts[index]
    mark = term.term[span[1] - span[0] :]
    everything = _plain(" ".join(each.text for each in reading.facts.texts))
    token = Token(
        *span,
        fact.text[slice(*span)],
        {
            "marked": bool(mark) and fact.text.startswith(mark, span[1]),
            "footnoted": _plain(term.footnote) in everything,
        },
    )
    return _item(index, fact, token)


@lru_cache(maxsize=128)
def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def _text_of(line: Line, language: str) -> str:
    return next((text for tag, text in line.texts.items() if is_language(language, tag)), "")


def _find_formulas(reading: "Reading", _declared: Sequence[Item]) -> Sequence[Item]:
    """Canonical formulas in the languages of the texts: `echoed` by their last word, `quoted` word for word."""
    found = []
    topics = reading.topics()
    for line in reading.registries.lines:
        for index, fact in reading.bodies() if line.formula else ():
            formula = _plain(_text_of(line, fact.language))
            if formula and line.valid.at(reading.publish_at):
                place = _find_echo(fact.text, formula)
                values: dict[str, Value] = {
                    "id": line.id,
                    "applies": fold_value(line.topic) in topics if line.topic else bool(topics),
                    "echoed": place is not None,
                    "quoted": formula in _plain(fact.text),
                    "text": formula,
                    "field": fact.field,
                }
                found.append(Item(values, ((index, place),) if place else ()))
    return found


def _find_echo(text: str, formula: str) -> Span | None:
    stem = formula.rsplit(maxsplit=1)[-1][:_STEM]
    match = regex.search(rf"(?i)(?<!\p{{L}}){regex.escape(stem)}\p{{L}}*", text)
    return None if match is None else match.span()


def _find_lines(reading: "Reading", _declared: Sequence[Item]) -> Sequence[Item]:
    """Lines-to-take by id: whether one is on the post's topic, and which version the post cites."""
    found = []
    by_id: dict[str, list[Line]] = {}
    for line in reading.registries.lines:
        if not line.formula:
            by_id.setdefault(line.id, []).append(line)
    for name, versions in by_id.items():
        current = max(
            (each.version for each in versions if _is_current(each, reading)), default=None
        )
        old = [each for each in versions if current is None or each.version < current]
        place = _find_quote(reading, old)
        topics = reading.topics()
        values: dict[str, Value] = {
            "id": name,
            "on_topic": any(fold_value(each.topic) in topics for each in versions if each.topic)
            and current is not None,
            "cited": _cited(reading, name, current),
            "quotes_old": place is not None,
            "text": name,
            "field": "",
        }
        found.append(Item(values, (place,) if place else ()))
    return found


def _is_current(line: Line, reading: "Reading") -> bool:
    return not line.superseded and line.valid.at(reading.publish_at)


def _cited(reading: "Reading", name: str, current: float | None) -> str:
    cited, version = reading.value("line.id"), reading.value("line.version")
    if not isinstance(cited, str) or fold_value(cited) != fold_value(name):
        return "none"
    return "current" if version == current else "older"


def _find_quote(reading: "Reading", old: Sequence[Line]) -> tuple[int, Span] | None:
    for line in old:
        for index, fact in reading.bodies():
            words = _lower(_text_of(line, fact.language)).strip(" .")
            start = _lower(fact.text).find(words) if words else -1
            if start >= 0:
                return index, (start, min(start + len(words), len(fact.text)))
    return None


_lower = lru_cache(maxsize=128)(str.casefold)


def _find_embargoes(reading: "Reading", _declared: Sequence[Item]) -> Sequence[Item]:
    found = []
    for embargo in reading.registries.embargoes:
        places = reading.hits_anywhere(embargo.protected)
        values: dict[str, Value] = {
            "id": embargo.id,
            "lift": embargo.lift,
            "named": bool(places),
            "text": embargo.id,
            "field": "",
        }
        found.append(Item(values, tuple(places)))
    return found


def _complete_accounts(reading: "Reading", declared: Sequence[Item]) -> Sequence[Item]:
    """Add whether the language and script of what goes there fit the account."""
    return [
        Item({"fits": _fits(reading, each.values), **each.values}, each.places) for each in declared
    ]


def _fits(reading: "Reading", account: Mapping[str, Value]) -> bool | None:
    own = account.get("language")
    sent = account.get("text_language") or reading.value("language")
    if not isinstance(own, str) or not isinstance(sent, str):
        return None
    if not (is_language(sent, own) or is_language(own, sent)):
        return False
    texts = [
        tokens.blank(each.text, [token.span for token in tokens.find_links(each.text)])
        for _, each in reading.bodies()
        if is_language(each.language, sent)
    ]
    script = tokens.main_script("\n".join(texts))
    return not script or script == _script_of(own)


def _script_of(language: str) -> str:
    tag = language.lower()
    return _SCRIPTS.get(tag) or _SCRIPTS.get(tag.partition("-")[0]) or "Latin"


def _complete_media(reading: "Reading", declared: Sequence[Item]) -> Sequence[Item]:
    """Add what follows from a medium's own facts and the texts around it."""
    bodies = [each.text for _, each in reading.bodies()]
    language = str(reading.value("language") or "")
    labelled = bool(reading.hits_anywhere(_AI_LABELS))
    return [
        Item({**_describe_media(each.values, bodies, language, labelled=labelled), **each.values})
        for each in declared
    ]


def _describe_media(
    values: Mapping[str, Value], bodies: Sequence[str], language: str, *, labelled: bool
) -> dict[str, Value]:
    alt = values.get("alt")
    alt = alt.strip() if isinstance(alt, str) else ""
    captions = values.get("captions")
    has = isinstance(captions, frozenset) and any(is_language(language, tag) for tag in captions)
    name = values.get("name")
    looks_like_name = bool(regex.fullmatch(r"[\p{L}\p{N}_ ().-]+\.[A-Za-z0-9]{2,5}", alt))
    return {
        "alt_length": float(len(alt)),
        "alt_is_text": any(_plain(alt) == _plain(text) for text in bodies if alt),
        "alt_is_name": looks_like_name or (bool(alt) and alt == name),
        "uncaptioned": None if has else frozenset({language}),
        "labelled": labelled or values.get("labelled") is True,
    }


FINDERS: Final[Mapping[str, Finder]] = {
    "links": _simple(tokens.find_links, everywhere=True),
    "hashtags": _simple(tokens.find_hashtags),
    "mentions": _find_mentions,
    "emails": _simple(tokens.find_emails, everywhere=True),
    "phones": _simple(tokens.find_phones, everywhere=True),
    "emoji": _simple(tokens.find_emoji),
    "sentences": _find_sentences,
    "acronyms": _simple(tokens.find_acronyms),
    "times": _find_times,
    "suspects": _simple(tokens.find_suspects, everywhere=True),
    "officials": _find_officials,
    "state_lists": _find_state_lists,
    "designations": _find_designations,
    "formulas": _find_formulas,
    "lines": _find_lines,
    "embargoes": _find_embargoes,
    "accounts": _complete_accounts,
    "media": _complete_media,
}
