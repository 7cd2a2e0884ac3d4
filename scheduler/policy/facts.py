"""What rules can ask about a post: the names of facts, their kinds, and the collections they look through."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from scheduler.policy.matching import Span


class Kind(StrEnum):
    TEXT = "text"
    NUMBER = "number"
    TRUTH = "true or false"
    INSTANT = "instant"
    SET = "set of texts"


Value = str | float | bool | datetime | frozenset[str] | None

_T, _N, _B, _I, _S = Kind.TEXT, Kind.NUMBER, Kind.TRUTH, Kind.INSTANT, Kind.SET

#: Facts of a post that its authors and the installation declare. `setting.NAME` are the policy's own settings, as text.
DECLARED: Final[Mapping[str, Kind]] = {
    "class": _T,
    "action": _T,
    "topic": _T,
    "format": _T,
    "language": _T,
    "origin": _T,
    "mark": _T,
    "exercise": _B,
    "publish_at": _I,
    "valid_until": _I,
    "incident_minute": _N,
    "source_ref": _T,
    "event_public": _B,
    "closes": _T,
    "corrects": _T,
    "supersedes": _T,
    "case.id": _T,
    "case.impact": _N,
    "clearances": _S,
    "line.id": _T,
    "line.version": _N,
    "joint.text": _T,
    "joint.missing": _S,
    "preflight.green": _B,
    "mirror.group": _T,
    "mirror.languages": _S,
    "official_languages": _S,
    "similar.score": _N,
    "similar.days": _N,
    "approval.by_author": _B,
    "approval.digest_matches": _B,
    "approval.role_current": _B,
    "approval.hours": _N,
    "approval.line_changed": _B,
    "change.kind": _T,
    "change.reason": _T,
    "change.captured": _B,
    "change.noted": _B,
    "change.minutes_public": _N,
    "notice.id": _T,
    "notice.minutes": _N,
    "notice.exempt": _B,
    "quotes.headquarters": _B,
    "target.trusted": _B,
    "target.kind": _T,
    "reply.to_state": _B,
    "review.done": _B,
    "rate.gap_minutes": _N,
    "rate.last_hour": _N,
    "source.text": _T,
    "source.language": _T,
    "alert.fields": _S,
}

#: Facts that are read from the texts and registries.
DERIVED: Final[Mapping[str, Kind]] = {
    "topics": _S,
    "mirror.missing": _S,
    "drift": _S,
    "alert.known": _N,
    "joint.matches": _B,
    "calendar": _S,
}

#: What a post's authors may declare, to be seen by who approves it. The rest the installation knows, or nobody does.
AUTHORED: Final = frozenset(
    {
        "alert.fields",
        "case.id",
        "case.impact",
        "closes",
        "corrects",
        "event_public",
        "format",
        "incident_minute",
        "line.id",
        "line.version",
        "mark",
        "mirror.group",
        "notice.id",
        "origin",
        "source.language",
        "source.text",
        "source_ref",
        "topic",
        "valid_until",
    }
)

FIELDS: Final[Mapping[str, Kind]] = {**DECLARED, **DERIVED}

_TOKEN: Final[Mapping[str, Kind]] = {"text": _T, "field": _T}


@dataclass(frozen=True, slots=True)
class Collection:
    """Things a post has several of; conditions name one of them by `item`."""

    item: str
    fields: Mapping[str, Kind]


COLLECTIONS: Final[Mapping[str, Collection]] = {
    "links": Collection("link", {**_TOKEN, "scheme": _T, "host": _T}),
    "hashtags": Collection("hashtag", {**_TOKEN, "letters": _N, "cased": _B, "apart": _B}),
    "mentions": Collection("mention", {**_TOKEN, "name": _T, "platform": _T, "known": _B}),
    "emails": Collection("email", {**_TOKEN, "host": _T}),
    "phones": Collection("phone", {**_TOKEN, "number": _T}),
    "emoji": Collection("emoji", {**_TOKEN, "placed": _B}),
    "sentences": Collection("sentence", {**_TOKEN, "words": _N, "first": _B}),
    "acronyms": Collection("acronym", {**_TOKEN, "explained": _B}),
    "times": Collection("time", {**_TOKEN, "zoned": _B}),
    "suspects": Collection("suspect", {**_TOKEN, "kind": _T, "within": _T, "rtl": _B}),
    "officials": Collection("official", {**_TOKEN, "current": _B, "title_fits": _B}),
    "state_lists": Collection("state_list", {**_TOKEN, "states": _N, "ordered": _B}),
    "designations": Collection("designation", {**_TOKEN, "marked": _B, "footnoted": _B}),
    "formulas": Collection(
        "formula", {"id": _T, "applies": _B, "echoed": _B, "quoted": _B, "text": _T, "field": _T}
    ),
    "lines": Collection(
        "line", {"id": _T, "on_topic": _B, "cited": _T, "quotes_old": _B, "text": _T, "field": _T}
    ),
    "embargoes": Collection(
        "embargo", {"id": _T, "lift": _I, "named": _B, "text": _T, "field": _T}
    ),
    "postures": Collection("posture", {"id": _T, "kind": _T, "allows": _S}),
    "accounts": Collection(
        "account",
        {
            "id": _T,
            "platform": _T,
            "language": _T,
            "text_language": _T,
            "role": _T,
            "sandbox": _B,
            "headquarters": _B,
            "mission": _T,
            "registered": _B,
            "granted": _B,
            "fits": _B,
        },
    ),
    "media": Collection(
        "media",
        {
            "kind": _T,
            "alt": _T,
            "alt_length": _N,
            "alt_is_text": _B,
            "alt_is_name": _B,
            "name": _T,
            "credit": _T,
            "licence": _T,
            "licence_until": _I,
            "faces": _T,
            "consent": _T,
            "contains": _S,
            "clearance": _T,
            "speech": _B,
            "live": _B,
            "captions": _S,
            "uncaptioned": _S,
            "synthetic": _B,
            "labelled": _B,
            "text_words": _N,
        },
    ),
}


@dataclass(frozen=True, slots=True)
class TextFact:
    """A text that will be public: the common text, a variant, a reply of the thread or an alt text.

    `part` is body, title, alt, card or file; `field` is where it stands in the caller's words, which findings repeat.
    """

    language: str  #: BCP 47
    text: str
    field: str = "text"
    part: str = "body"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing of a collection; `places` are where it was found, as (index of the text, span)."""

    values: Mapping[str, Value]
    places: tuple[tuple[int, Span], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PostFacts:
    """All that is known of one post: texts, declared facts by name, and declared items of collections."""

    texts: tuple[TextFact, ...]
    declared: Mapping[str, Value] = field(default_factory=dict)
    items: Mapping[str, Sequence[Mapping[str, Value]]] = field(default_factory=dict)

    @property
    def post_class(self) -> str:
        return str(self.declared.get("class") or "")

    @classmethod
    def of(cls, post_class: str, texts: Mapping[str, str]) -> "PostFacts":
        """A post with one text per language and nothing else."""
        facts = tuple(TextFact(language=tag, text=text) for tag, text in texts.items())
        first = next(iter(texts), "")
        return cls(texts=facts, declared={"class": post_class, "language": first})
