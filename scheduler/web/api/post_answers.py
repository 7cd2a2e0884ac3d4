"""How posts are answered: in a list, whole, and as a supervisor reviews them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from scheduler.db import series
from scheduler.db.tables import Post
from scheduler.db.uow import UnitOfWork
from scheduler.domain.delivery_flow import DeliveryState
from scheduler.domain.people import Actor
from scheduler.domain.post_flow import PostState
from scheduler.policy.evaluation import Finding
from scheduler.policy.rules import Effect
from scheduler.services import directory, inspection, rendering
from scheduler.services.directory import Names
from scheduler.services.inspection import Flaw, Inspection
from scheduler.services.kit import Kit
from scheduler.web.api.fields import PersonRef
from scheduler.web.routing import Answer


class WhenAnswer(Answer):
    local: str | None
    zone: str
    choice: str | None
    due_at: datetime | None
    late_minutes: int
    not_after: datetime | None


class PostLine(Answer):
    """A post in a list."""

    id: UUID
    mission: str
    author: PersonRef
    campaign: str | None
    title: str
    post_class: Annotated[str, Field(alias="class")]
    state: PostState
    revision: int
    digest: str | None
    when: WhenAnswer
    created_at: datetime
    updated_at: datetime


class ImageAnswer(Answer):
    sha256: str
    alt: str


class SegmentAnswer(Answer):
    text: str
    media: list[ImageAnswer]


class LinkCardAnswer(Answer):
    uri: str
    title: str
    description: str


class DeliveryLine(Answer):
    id: UUID
    account: str
    platform: str
    language: str
    state: DeliveryState
    due_at: datetime | None
    remote_url: str | None
    reason: str


class CommentAnswer(Answer):
    person: str
    kind: str
    revision: int
    text: str
    created_at: datetime


class FindingAnswer(Answer):
    """One rule's result at one place; `span` counts code points."""

    rule: str
    version: str
    effect: Effect
    language: str
    field: str
    span: tuple[int, int] | None
    message: str
    fix: str
    approver: str  #: who may clear it; empty: nobody needs to
    override: str  #: who may let it pass all the same; empty: nobody

    @classmethod
    def of(cls, finding: Finding) -> "FindingAnswer":
        return cls(**{name: getattr(finding, name) for name in cls.model_fields})


class ProblemAnswer(Answer):
    """What keeps the post, or one account of it, from being submitted; or what only has to be known."""

    account: str | None
    code: str
    message: str
    segment: int | None
    blocks: bool

    @classmethod
    def of(cls, flaw: Flaw) -> "ProblemAnswer":
        return cls(**{name: getattr(flaw, name) for name in cls.model_fields})


class LengthAnswer(Answer):
    """As the account's platform counts."""

    account: str
    segment: int
    used: int
    limit: int


class PayloadAnswer(Answer):
    """Exactly what will be public on one account; a `$slot` is filled with what the platform answers."""

    account: str
    platform: str
    language: str
    parts: list[dict[str, Any]]


class PostAnswer(PostLine):
    """A post whole; its ETag is the revision."""

    texts: dict[str, list[SegmentAnswer]]
    variants: dict[str, list[SegmentAnswer]]
    targets: list[str]
    link_card: LinkCardAnswer | None
    schedule_on_approval: bool
    facts: dict[str, Any]  #: that its authors declare for the policy's rules
    accepted: dict[str, str]  #: why its author goes on in spite of a finding, by rule
    policy: str | None
    deliveries: list[DeliveryLine]
    series: UUID | None  #: that it was drafted in
    comments: list[CommentAnswer]
    findings: list[FindingAnswer]
    problems: list[ProblemAnswer]
    lengths: list[LengthAnswer]
    payloads: list[PayloadAnswer]

    def headers(self) -> dict[str, str]:
        return {"ETag": f'"{self.revision}"'}


async def build_lines(uow: UnitOfWork, found: Sequence[Post]) -> list[PostLine]:
    names = await directory.find_names(
        uow,
        person_ids=[post.author_id for post in found],
        mission_ids=[post.mission_id for post in found],
        campaign_ids=[post.campaign_id for post in found],
    )
    return [PostLine(**_line(post, names)) for post in found]


async def build_post(uow: UnitOfWork, kit: Kit, actor: Actor, post_id: UUID) -> PostAnswer:
    """The post as it stands in this unit of work."""
    seen = await inspection.inspect(uow, kit, actor, post_id)
    post = seen.parts.post
    names = await directory.find_names(
        uow,
        person_ids=[post.author_id],
        mission_ids=[post.mission_id],
        campaign_ids=[post.campaign_id],
    )
    return PostAnswer(
        **_line(post, names),
        **_content(seen),
        schedule_on_approval=post.schedule_on_approval,
        facts=post.facts or {},
        accepted=post.accepted or {},
        policy=post.policy,
        series=await series.find_of_post(uow, post.id),
        comments=[
            CommentAnswer(
                person=name,
                kind=comment.kind,
                revision=comment.revision,
                text=comment.text,
                created_at=comment.created_at,
            )
            for comment, name in seen.comments
        ],
        findings=[FindingAnswer.of(finding) for finding in seen.findings],
        problems=[ProblemAnswer.of(flaw) for flaw in seen.flaws],
        lengths=[
            LengthAnswer(
                account=each.account, segment=each.segment, used=each.used, limit=each.limit
            )
            for each in seen.lengths
        ],
        payloads=build_payloads(seen),
    )


def build_payloads(seen: Inspection) -> list[PayloadAnswer]:
    return [
        PayloadAnswer(
            account=each.account,
            platform=each.platform,
            language=each.language,
            parts=[dict(part) for part in each.parts],
        )
        for each in seen.payloads
    ]


def build_texts(seen: Inspection) -> dict[str, list[SegmentAnswer]]:
    return {text.language: _segments(text.segments) for text in seen.parts.texts}


def build_variants(seen: Inspection) -> dict[str, list[SegmentAnswer]]:
    return {seen.codes[each.account_id]: _segments(each.segments) for each in seen.parts.variants}


def _content(seen: Inspection) -> dict[str, Any]:
    card = seen.parts.post.link_card
    return {
        "texts": build_texts(seen),
        "variants": build_variants(seen),
        "targets": [account.code for _, account in seen.parts.deliveries],
        "link_card": None if card is None else LinkCardAnswer(**card),
        "deliveries": [
            DeliveryLine(
                id=delivery.id,
                account=account.code,
                platform=account.platform,
                language=rendering.language_for(seen.parts, account),
                state=DeliveryState(delivery.state),
                due_at=delivery.due_at,
                remote_url=delivery.remote_url,
                reason=delivery.reason,
            )
            for delivery, account in seen.parts.deliveries
        ],
    }


def _line(post: Post, names: Names) -> dict[str, Any]:
    return {
        "id": post.id,
        "mission": names.missions[post.mission_id],
        "author": PersonRef.of(names.persons[post.author_id]),
        "campaign": None if post.campaign_id is None else names.campaigns[post.campaign_id],
        "title": post.title,
        "post_class": post.post_class,
        "state": PostState(post.state),
        "revision": post.revision,
        "digest": post.digest,
        "when": WhenAnswer(
            local=post.local_time,
            zone=post.zone,
            choice=post.choice,
            due_at=post.due_at,
            late_minutes=post.late_minutes,
            not_after=post.not_after,
        ),
        "created_at": post.created_at,
        "updated_at": post.updated_at,
    }


def _segments(segments: Sequence[dict[str, Any]]) -> list[SegmentAnswer]:
    return [
        SegmentAnswer(
            text=segment["text"], media=[ImageAnswer(**image) for image in segment["media"]]
        )
        for segment in segments
    ]
