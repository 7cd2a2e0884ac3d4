"""What officers send: a post's texts, pictures, targets and time."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints

from scheduler.domain.calendar import Choice
from scheduler.domain.lateness import DEFAULT_LATE_MINUTES, MOST_LATE_MINUTES
from scheduler.domain.text import MAX_TEXT_LENGTH
from scheduler.services.writing import When, Writing
from scheduler.web.api.fields import (
    Code,
    Digest,
    Hash,
    Instant,
    Language,
    Name,
    Note,
    PostClass,
    Reason,
    Zone,
)
from scheduler.web.parsing import Input


class ImageBody(Input):
    sha256: Hash
    alt: Annotated[str, StringConstraints(max_length=10_000)] = ""


class SegmentBody(Input):
    """One post of a thread."""

    text: Annotated[str, StringConstraints(max_length=MAX_TEXT_LENGTH)]
    media: Annotated[list[ImageBody], Field(max_length=20, default_factory=list)]


Fact = Annotated[str, StringConstraints(pattern=r"^[a-z]+(?:[._][a-z]+){0,5}$", max_length=60)]
#: A number of a fact is a whole one: it stands in what is signed.
FactValue = (
    bool
    | Annotated[int, Field(ge=-(10**9), le=10**9)]
    | Annotated[str, StringConstraints(min_length=1, max_length=MAX_TEXT_LENGTH)]
    | Annotated[
        list[Annotated[str, StringConstraints(min_length=1, max_length=200)]], Field(max_length=100)
    ]
)
Segments = Annotated[list[SegmentBody], Field(min_length=1, max_length=100)]


class WhenBody(Input):
    """A wall time as people say it, or `local: null` for as soon as it is approved."""

    local: Annotated[str, StringConstraints(max_length=40)] | None
    zone: Zone | None = None
    choice: Choice | None = None
    late_minutes: Annotated[int, Field(ge=1, le=MOST_LATE_MINUTES)] = DEFAULT_LATE_MINUTES
    not_after: Instant | None = None


class LinkCardBody(Input):
    uri: Annotated[str, StringConstraints(pattern=r"^https?://[^\s]{1,2000}$")]
    title: Annotated[str, StringConstraints(min_length=1, max_length=500)]
    description: Annotated[str, StringConstraints(max_length=1000)] = ""


class WritingBody(Input):
    """What can be changed later; a field left out stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: Name | None = None
    post_class: Annotated[PostClass | None, Field(alias="class")] = None
    texts: Annotated[dict[Language, Segments], Field(max_length=40)] | None = None
    variants: Annotated[dict[Code, Segments], Field(max_length=200)] | None = None
    targets: Annotated[list[Code], Field(max_length=200)] | None = None
    languages: Annotated[dict[Code, Language], Field(max_length=200)] | None = None
    when: WhenBody | None = None
    link_card: LinkCardBody | None = None
    schedule_on_approval: bool | None = None
    campaign: Code | None = None
    facts: Annotated[dict[Fact, FactValue], Field(max_length=60)] | None = None

    def as_writing(self) -> Writing:
        return Writing(
            title=self.title,
            post_class=self.post_class,
            texts=_plain(self.texts),
            variants=_plain(self.variants),
            targets=None if self.targets is None else tuple(self.targets),
            languages=self.languages,
            when=None if self.when is None else When(**dict(self.when)),
            link_card=self._read_card(),
            schedule_on_approval=self.schedule_on_approval,
            campaign=self._read_campaign(),
            facts=self._read_facts(),
        )

    def _read_card(self) -> dict[str, str] | None:
        """Left out: as it is; `null`: without a card."""
        if self.link_card is not None:
            return self.link_card.model_dump()
        return {} if "link_card" in self.model_fields_set else None

    def _read_campaign(self) -> str | None:
        """Left out: as it is; `null`: none."""
        return self.campaign or ("" if "campaign" in self.model_fields_set else None)

    def _read_facts(self) -> dict[str, Any] | None:
        """Left out: as they are; `null`: none."""
        if self.facts is not None:
            return dict(self.facts)
        return {} if "facts" in self.model_fields_set else None


class DraftBody(WritingBody):
    mission: Code


RuleId = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class SubmitBody(Input):
    """`accept`: why one goes on in spite of a finding, by its rule."""

    accept: Annotated[dict[RuleId, Reason], Field(max_length=200, default_factory=dict)]


class DecideBody(Input):
    digest: Digest


class ApproveBody(DecideBody):
    """`break_glass`: why it cannot wait for the offices that have not cleared it."""

    break_glass: Reason | None = None


class ReturnBody(Input):
    comment: Note


def _plain(texts: dict[str, list[SegmentBody]] | None) -> dict[str, list[dict[str, Any]]] | None:
    if texts is None:
        return None
    return {key: [segment.model_dump() for segment in segments] for key, segments in texts.items()}
