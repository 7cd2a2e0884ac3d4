"""What awaits a supervisor, the review, and the decision that binds a digest."""

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from scheduler.db import posts
from scheduler.db.rules import PolicyChangedError
from scheduler.db.tables import Post
from scheduler.domain.calendar import get_zone
from scheduler.domain.post_flow import IllegalMoveError, PostState
from scheduler.errors import NotFoundError
from scheduler.policy.clearance import Mode
from scheduler.services import approvals, directory, inspection
from scheduler.services.approvals import (
    BreakGlassError,
    ClearanceMissingError,
    CommentMissingError,
    DecidedAlreadyError,
    NotAskedError,
    SelfApprovalError,
    StaleContentError,
)
from scheduler.services.clearing import describe_open
from scheduler.services.critical_path import PathStep, find_path
from scheduler.services.inspection import Inspection
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
from scheduler.web.api.post_forms import ApproveBody, DecideBody, ReturnBody
from scheduler.web.paging import Page, Paging, page_of
from scheduler.web.routing import Answer, Route, Step, get, post


class HiddenAnswer(Answer):
    """A run of characters that a reader cannot see; offsets count code points."""

    field: str
    start: int
    end: int
    name: str


class CandidateAnswer(PersonRef):
    """Somebody who could answer a step now."""

    zone: str  #: of their mission
    act_by_local: datetime | None  #: on their clock


class StepAnswer(Answer):
    """Decisions that the post needs, and who could give them by when."""

    mode: Mode
    offices: list[str]  #: any one of them
    quorum: int
    missing: int  #: persons; 0: done, or passed over
    rule: str  #: that asks for it; empty: the workflow
    act_by: datetime | None
    is_late: bool
    waits: bool  #: for offices that have to clear first
    may_be_passed_over: bool  #: once it is late
    deputies: list[str]  #: may answer too once it is late
    candidates: list[CandidateAnswer]


class DecisionAnswer(Answer):
    """What somebody has decided, as it counts now."""

    person: PersonRef
    mode: Mode
    at: datetime
    reason: str


class AwaitingLine(PostLine):
    """A post in review that may be yours to decide on."""

    turn: Literal["clear", "approve", "later"]
    waits_for: str  #: whose decisions, in a sentence


class ReviewAnswer(Answer):
    """Everything that is decided on; `digest` is over exactly this."""

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
    accepted: dict[str, str]  #: why its author goes on in spite of a finding, by rule
    workflow: str  #: title of the policy's, not part of the digest; like it:
    steps: list[StepAnswer]
    decisions: list[DecisionAnswer]
    turn: Literal["clear", "approve"] | None  #: what is yours to do now
    payloads: list[PayloadAnswer]
    hidden_characters: list[HiddenAnswer]
    findings: list[FindingAnswer]


async def list_approvals(step: Step, query: Paging) -> Page[AwaitingLine]:
    """The posts in review that this person neither wrote nor decided, the most urgent first."""
    found = await approvals.find_awaiting(step.uow, step.actor)
    shown, cursor = page_of(found, query, lambda each: each.post.id)
    lines = await build_lines(step.uow, [each.post for each in shown])
    return Page(
        items=[
            AwaitingLine(
                **dict(line),
                turn="later" if each.turn is None else each.turn.value,
                waits_for=describe_open(each.open),
            )
            for line, each in zip(lines, shown, strict=True)
        ],
        next=cursor,
    )


async def review_post(step: Step) -> ReviewAnswer:
    """What exactly will be public, and the digest that an approval names."""
    post_id = step.uuid("post_id")
    seen = await inspection.inspect(step.uow, step.app.kit, step.actor, post_id)
    [line] = await build_lines(step.uow, [seen.parts.post])
    clearing = await _build_clearing(step, seen)
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
        accepted=seen.parts.post.accepted or {},
        **clearing,
        payloads=build_payloads(seen),
        hidden_characters=[
            HiddenAnswer(
                field=each.field, start=each.span.start, end=each.span.end, name=each.span.name
            )
            for each in inspection.find_hidden(seen)
        ],
        findings=[FindingAnswer.of(finding) for finding in seen.findings],
    )


async def _build_clearing(step: Step, seen: Inspection) -> dict[str, Any]:
    """Who has decided, and who is asked; nobody where the post is not in review, or no policy can be asked."""
    empty: dict[str, Any] = {"workflow": "", "steps": [], "decisions": [], "turn": None}
    if seen.judgement is None or seen.parts.post.state != PostState.IN_REVIEW:
        return empty
    [standing] = await approvals.find_standings(step.uow, [seen.parts], [seen.judgement])
    path = await find_path(step.uow, standing)
    return {
        "workflow": seen.judgement.workflow.title,
        "steps": [_build_step(each) for each in path],
        "decisions": await _build_decisions(step, seen.parts.post),
        "turn": standing.find_turn(step.actor, step.uow.now),
    }


def _build_step(each: PathStep) -> StepAnswer:
    return StepAnswer(
        mode=each.step.mode,
        offices=sorted(each.step.offices),
        quorum=each.step.quorum,
        missing=each.missing,
        rule=each.step.rule,
        act_by=each.act_by,
        is_late=each.is_late,
        waits=each.waits,
        may_be_passed_over=each.step.proceeds,
        deputies=sorted(each.step.deputies),
        candidates=[
            CandidateAnswer(
                **dict(PersonRef.of(candidate.person)),
                zone=candidate.zone,
                act_by_local=each.act_by and each.act_by.astimezone(get_zone(candidate.zone)),
            )
            for candidate in each.candidates
        ],
    )


async def _build_decisions(step: Step, post: Post) -> list[DecisionAnswer]:
    found = (await posts.find_approvals(step.uow, [post.id]))[post.id]
    names = await directory.find_names(
        step.uow, person_ids=[each.person_id for each in found], mission_ids=[]
    )
    return [
        DecisionAnswer(
            person=PersonRef.of(names.persons[each.person_id]),
            mode=Mode(each.mode),
            at=each.decided_at,
            reason=each.reason,
        )
        for each in found
    ]


async def clear_post(step: Step, body: DecideBody) -> PostAnswer:
    """Say for one's office that nothing speaks against exactly the content with this digest."""
    return await _decide(step, body.digest, Mode.CLEAR)


async def approve_post(step: Step, body: ApproveBody) -> PostAnswer:
    """Approve exactly the content with this digest, when every office that is asked has cleared it."""
    mode = Mode.APPROVE if body.break_glass is None else Mode.BREAK_GLASS
    return await _decide(step, body.digest, mode, body.break_glass or "")


async def _decide(step: Step, digest: str, mode: Mode, reason: str = "") -> PostAnswer:
    post_id = step.uuid("post_id")
    await approvals.decide(step.uow, step.actor, post_id, digest=digest, mode=mode, reason=reason)
    return await build_post(step.uow, step.app.kit, step.actor, post_id)


async def return_post(step: Step, body: ReturnBody) -> PostAnswer:
    """Send a post back to its author with what has to change."""
    post_id = step.uuid("post_id")
    await approvals.send_back(step.uow, step.actor, post_id, comment=body.comment)
    return await build_post(step.uow, step.app.kit, step.actor, post_id)


_NEEDS: Final = "approve, at the post's mission, and never for one's own words"
_DECIDING: Final = (
    TargetDeniedError,
    NotFoundError,
    IllegalMoveError,
    SelfApprovalError,
    StaleContentError,
    DecidedAlreadyError,
    NotAskedError,
    PolicyBlockedError,
    PolicyChangedError,
    TimePastError,
)
ROUTES: Final[tuple[Route, ...]] = (
    get(
        "/approvals",
        list_approvals,
        "clear or approve; without either the list is empty",
        errors=(PolicyChangedError,),
    ),
    get("/approvals/{post_id}", review_post, errors=(NotFoundError,)),
    post(
        "/posts/{post_id}/clear",
        clear_post,
        "clear, at the post's mission, and never for one's own words",
        errors=_DECIDING,
    ),
    post(
        "/posts/{post_id}/approve",
        approve_post,
        _NEEDS,
        errors=(*_DECIDING, ClearanceMissingError, CommentMissingError, BreakGlassError),
    ),
    post(
        "/posts/{post_id}/return",
        return_post,
        "clear or approve, at the post's mission",
        errors=(NotFoundError, IllegalMoveError, CommentMissingError),
    ),
)
