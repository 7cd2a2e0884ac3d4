"""What awaits a supervisor, the review, and the decision that binds a digest."""

from typing import Any, Final
from uuid import UUID

from scheduler.db.rules import PolicyChangedError
from scheduler.domain.post_flow import IllegalMoveError
from scheduler.errors import NotFoundError
from scheduler.services import approvals, inspection
from scheduler.services.approvals import CommentMissingError, SelfApprovalError, StaleContentError
from scheduler.services.judging import PolicyBlockedError
from scheduler.services.writing import TargetDeniedError, TimePastError
from scheduler.web.api.fields import PersonRef
from scheduler.web.api.post_answers import (
    FindingAnswer,
    LinkCardAnswer,
    PayloadAnswer,
    PostAnswer,
    PostLine,
    SegmentAnswer,
    WhenAnswer,
    build_lines,
    build_payloads,
    build_post,
    build_texts,
    build_variants,
)
from scheduler.web.api.post_forms import ApproveBody, ReturnBody
from scheduler.web.paging import Page, Paging, page_of
from scheduler.web.routing import Answer, Route, Step, get, post


class HiddenAnswer(Answer):
    """A run of characters that a reader cannot see; offsets count code points."""

    field: str
    start: int
    end: int
    name: str


class ReviewAnswer(Answer):
    """Everything a supervisor decides on; `digest` is over exactly this."""

    post: UUID
    revision: int
    digest: str
    mission: str
    author: PersonRef
    campaign: str | None  #: not part of the digest
    title: str
    when: WhenAnswer
    texts: dict[str, list[SegmentAnswer]]
    variants: dict[str, list[SegmentAnswer]]
    link_card: LinkCardAnswer | None
    facts: dict[str, Any]  #: that its authors declare for the policy's rules
    payloads: list[PayloadAnswer]
    hidden_characters: list[HiddenAnswer]
    findings: list[FindingAnswer]


async def list_approvals(step: Step, query: Paging) -> Page[PostLine]:
    """The posts that await this person, the most urgent first."""
    found = await approvals.find_awaiting(step.uow, step.actor)
    shown, cursor = page_of(found, query, lambda each: each.id)
    return Page(items=await build_lines(step.uow, shown), next=cursor)


async def review_post(step: Step) -> ReviewAnswer:
    """What exactly will be public, and the digest that an approval names."""
    post_id = step.uuid("post_id")
    seen = await inspection.inspect(step.uow, step.app.kit, step.actor, post_id)
    [line] = await build_lines(step.uow, [seen.parts.post])
    card = seen.parts.post.link_card
    return ReviewAnswer(
        post=line.id,
        revision=line.revision,
        digest=seen.digest,
        mission=line.mission,
        author=line.author,
        campaign=line.campaign,
        title=line.title,
        when=line.when,
        texts=build_texts(seen),
        variants=build_variants(seen),
        link_card=None if card is None else LinkCardAnswer(**card),
        facts=seen.parts.post.facts or {},
        payloads=build_payloads(seen),
        hidden_characters=[
            HiddenAnswer(
                field=each.field, start=each.span.start, end=each.span.end, name=each.span.name
            )
            for each in inspection.find_hidden(seen)
        ],
        findings=[FindingAnswer.of(finding) for finding in seen.findings],
    )


async def approve_post(step: Step, body: ApproveBody) -> PostAnswer:
    """Approve exactly the content with this digest."""
    post_id = step.uuid("post_id")
    await approvals.approve(step.uow, step.actor, post_id, digest=body.digest)
    return await build_post(step.uow, step.app.kit, step.actor, post_id)


async def return_post(step: Step, body: ReturnBody) -> PostAnswer:
    """Send a post back to its author with what has to change."""
    post_id = step.uuid("post_id")
    await approvals.send_back(step.uow, step.actor, post_id, comment=body.comment)
    return await build_post(step.uow, step.app.kit, step.actor, post_id)


_NEEDS: Final = "approve, at the post's mission, and never for one's own words"
ROUTES: Final[tuple[Route, ...]] = (
    get("/approvals", list_approvals, "approve; without it the list is empty"),
    get("/approvals/{post_id}", review_post, errors=(NotFoundError,)),
    post(
        "/posts/{post_id}/approve",
        approve_post,
        _NEEDS,
        errors=(
            TargetDeniedError,
            NotFoundError,
            IllegalMoveError,
            SelfApprovalError,
            StaleContentError,
            PolicyBlockedError,
            PolicyChangedError,
            TimePastError,
        ),
    ),
    post(
        "/posts/{post_id}/return",
        return_post,
        _NEEDS,
        errors=(NotFoundError, IllegalMoveError, CommentMissingError),
    ),
)
