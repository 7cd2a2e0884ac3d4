"""The decisions on a post: each binds the digest that was read, and nobody decides on their own words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from scheduler.audit.actions import Action
from scheduler.canonical import JsonValue
from scheduler.db import deliveries, persons, posts, rules
from scheduler.db.posts import PostParts
from scheduler.db.tables import Approval, Post
from scheduler.db.uow import UnitOfWork
from scheduler.domain.delivery_flow import DeliveryMove
from scheduler.domain.lateness import window_end
from scheduler.domain.people import Actor, Permission
from scheduler.domain.post_flow import PostMove, PostState, plan
from scheduler.errors import ConflictError, ForbiddenError, InvalidError
from scheduler.policy.bundle import open_policy
from scheduler.policy.clearance import Decision, Mode, Open
from scheduler.services import rendering
from scheduler.services.clearing import (
    Standing,
    describe_open,
    find_answer_time,
    may_break,
    permission_for,
    weigh,
)
from scheduler.services.judging import Judgement, judge, judge_now, refuse_blocked
from scheduler.services.posts import add_comment, make_draft, require_revision
from scheduler.services.writing import TimePastError, require_future, require_on_targets


class SelfApprovalError(ForbiddenError):
    """Separation of duties goes by person: not who wrote or changed it, nor who enrolled one who did."""

    code = "self_approval"


class StaleContentError(ConflictError):
    """What was read is not what stands there now."""

    code = "content_changed"


class CommentMissingError(InvalidError):
    code = "comment_missing"


class DecidedAlreadyError(ConflictError):
    """One person decides once on a revision."""

    code = "decided_already"


class NotAskedError(ForbiddenError):
    """No office of the person is asked for, or no longer; the message says whose are."""

    code = "not_asked"


class ClearanceMissingError(ConflictError):
    """Offices have to clear the post before it is approved; the message says which."""

    code = "clearance_missing"


class BreakGlassError(ForbiddenError):
    """The policy does not let this person pass over the offices that have not cleared, or not again so soon."""

    code = "break_glass_denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaiting:
    """A post in review, as one person meets it."""

    post: Post
    turn: Mode | None  #: what they may do now; None: somebody else is asked first
    open: tuple[Open, ...]


async def find_awaiting(uow: UnitOfWork, actor: Actor) -> Sequence[Awaiting]:
    """What is in review in this person's scope and was neither written nor decided by them; the most urgent first."""
    policy = open_policy((await rules.get_policy(uow)).body)
    parts = await posts.load_all_parts(uow, await posts.find_awaiting(uow, actor))
    judged = [judge(policy, each, uow.now) for each in parts.values()]
    return [
        Awaiting(post=each.parts.post, turn=each.find_turn(actor, uow.now), open=each.open)
        for each in await find_standings(uow, list(parts.values()), judged)
    ]


async def find_standings(
    uow: UnitOfWork, found: Sequence[PostParts], judged: Sequence[Judgement]
) -> list[Standing]:
    """What was decided on the posts so far, as it counts now; as many queries for one as for many."""
    by_post = await posts.find_approvals(uow, [each.post.id for each in found])
    deciders = {each.person_id for rows in by_post.values() for each in rows}
    actors = await persons.load_actors_by_id(uow, deciders)
    standings = []
    for parts, judgement in zip(found, judged, strict=True):
        weighed = [
            weigh(each, parts, actors.get(each.person_id), uow.now)
            for each in by_post[parts.post.id]
        ]
        decisions = [each for each in weighed if isinstance(each, Decision)]
        standings.append(Standing.of(parts, judgement, decisions))
    return standings


async def decide(
    uow: UnitOfWork,
    actor: Actor,
    post_id: UUID,
    *,
    digest: str,
    mode: Mode = Mode.APPROVE,
    reason: str = "",
) -> Post:
    """Clear or approve exactly the content with this digest.

    With the last decision that it needs the post is approved, and scheduled unless the author wanted to.

    Raises:
        SelfApprovalError: the person wrote or changed the post, or enrolled one who did.
        StaleContentError: the content is not what the digest says.
        PolicyBlockedError, TimePastError: what was fine at submission no longer is.
        DecidedAlreadyError, NotAskedError, ClearanceMissingError: it is not this person's turn.
        BreakGlassError: the policy does not let them.
    """
    if mode is Mode.BREAK_GLASS:
        await rules.enter_gate(uow, exclusive=True)  # the quota is counted by one at a time
    post = await posts.get(uow, actor, post_id, needs=permission_for(mode))
    plan(PostState(post.state), PostMove.APPROVE)
    parts = await _require_may(uow, actor, post, mode)
    _require_read(parts, digest)
    judgement = await judge_now(uow, parts)
    refuse_blocked(judgement)
    require_future(post, uow.now)
    [standing] = await find_standings(uow, [parts], [judgement])
    if mode is Mode.BREAK_GLASS:
        await _require_breaking(uow, actor, standing, reason)
    decision = _require_turn(actor, standing, mode, uow)
    approval = _add_approval(uow, actor, post, mode, reason)
    after = Standing.of(parts, judgement, [*standing.decisions, decision])
    post.answer_by = find_answer_time(judgement.steps, after.decisions, post)
    await _record(uow, actor, after, approval)
    if not after.open and post.schedule_on_approval:
        await _schedule(uow, actor, parts)
    return post


async def _record(uow: UnitOfWork, actor: Actor, standing: Standing, approval: Approval) -> None:
    """Put the decision on record; the last one that is needed approves the post."""
    post = standing.parts.post
    detail: dict[str, JsonValue] = {
        "approval": str(approval.id),
        "digest": approval.digest,
        "policy": approval.policy,
        "mode": approval.mode,
    }
    if approval.reason:
        detail["reason"] = approval.reason
    if standing.open:
        uow.record(
            Action.POST_DECIDE,
            {"t": "post", "id": str(post.id), "rev": post.revision},
            actor=actor,
            detail=detail,
        )
        return
    if without := {office for step in standing.passed_over for office in step.offices}:
        detail["without"] = sorted(without)
    if inform := standing.judgement.workflow.inform:
        detail["inform"] = list(inform)
    await posts.move(uow, post, PostMove.APPROVE, actor=actor, detail=detail)


async def _require_may(uow: UnitOfWork, actor: Actor, post: Post, mode: Mode) -> PostParts:
    """The post's parts, for a person who has not written it and may decide on all that it concerns."""
    parts = await posts.load_parts(uow, post)
    if actor.person_id in parts.editors:
        raise SelfApprovalError("you wrote or changed this post; somebody else has to approve it")
    if actor.person_id in await persons.find_issuers(uow, parts.editors):
        raise SelfApprovalError(
            "you enrolled somebody who wrote or changed this post; somebody else has to approve it"
        )
    require_on_targets(uow, actor, permission_for(mode), parts)
    return parts


def _require_turn(actor: Actor, standing: Standing, mode: Mode, uow: UnitOfWork) -> Decision:
    if actor.person_id in {each.person_id for each in standing.decisions}:
        raise DecidedAlreadyError("you have decided on this revision already")
    decision = standing.decide(actor, mode, uow.now)
    if not standing.is_asked(decision):
        yours = ", ".join(sorted(decision.offices))
        raise NotAskedError(
            f"nobody asks for {yours} here: {describe_open(standing.open)}", offices=yours
        )
    if mode.approves and (lacking := standing.lacks(decision)):
        raise ClearanceMissingError(f"not yet: {describe_open(lacking)}")
    return decision


async def _require_breaking(uow: UnitOfWork, actor: Actor, standing: Standing, reason: str) -> None:
    if not reason.strip():
        raise CommentMissingError("say why it cannot wait")
    judgement = standing.judgement
    rule = judgement.break_glass
    offices = actor.offices(Permission.APPROVE, standing.parts.paths, now=uow.now)
    if rule is None or not may_break(judgement, offices):
        who = "nobody" if rule is None else f"only {rule.office}"
        raise BreakGlassError(f"under the policy in force {who} may pass over an office")
    since = uow.now - timedelta(days=rule.days)
    if await posts.count_approvals(uow, Mode.BREAK_GLASS, since) >= rule.quota:
        raise BreakGlassError(
            f"it was done {rule.quota} times in the last {rule.days} days: the offices have to clear it"
        )


def _require_read(parts: PostParts, digest: str) -> None:
    """Refuse what is not what the approver read, and what is bound in the former form, which names no editors."""
    post = parts.post
    try:
        statement = rendering.build_statement(parts, post.policy or "")
        stands, today = statement.digest_like(post.digest), statement.digest()
    except (ValueError, KeyError, TypeError) as exc:
        raise StaleContentError(f"the stored post cannot be read: {exc}") from exc
    if not digest == post.digest == stands:
        raise StaleContentError("the post is not what you read; look at it again", digest=stands)
    if stands != today:
        raise StaleContentError(
            "it was submitted to an earlier release: its author has to withdraw and submit it again"
        )


def _add_approval(uow: UnitOfWork, actor: Actor, post: Post, mode: Mode, reason: str) -> Approval:
    approval = Approval(
        post_id=post.id,
        revision=post.revision,
        digest=post.digest or "",
        policy=post.policy or "",
        person_id=actor.person_id,
        decided_at=uow.now,
        mode=mode.value,
        reason=reason,
    )
    uow.session.add(approval)
    return approval


async def send_back(uow: UnitOfWork, actor: Actor, post_id: UUID, *, comment: str) -> Post:
    """Return a post to its author with what has to change; whoever may clear it may."""
    if not comment.strip():
        raise CommentMissingError("say what has to change")
    post = await posts.get(uow, actor, post_id, needs=Permission.CLEAR)
    add_comment(uow, actor, post, kind="return", text=comment)
    await make_draft(uow, actor, post, PostMove.RETURN)
    return post


async def schedule(
    uow: UnitOfWork, actor: Actor, post_id: UUID, *, revision: int | None = None
) -> Post:
    """Let an approved post go at its time."""
    post = await posts.get(uow, actor, post_id, needs=Permission.WRITE)
    require_revision(post, revision)
    plan(PostState(post.state), PostMove.SCHEDULE)
    require_future(post, uow.now)
    await _require_window(uow, post)
    await _schedule(uow, actor, await posts.load_parts(uow, post))
    return post


async def _require_window(uow: UnitOfWork, post: Post) -> None:
    """A post without a time of its own has 24 hours from its approval, unless it says otherwise."""
    found = (await posts.find_approvals(uow, [post.id]))[post.id]
    decided = max((each.decided_at for each in found), default=uow.now)
    if uow.now > window_end(due_at=post.due_at or decided, not_after=post.not_after):
        raise TimePastError("the approved window is over; withdraw and submit it again")


async def _schedule(uow: UnitOfWork, actor: Actor, parts: PostParts) -> None:
    post = parts.post
    await posts.move(uow, post, PostMove.SCHEDULE, actor=actor)
    for delivery, account in parts.deliveries:
        due = delivery.due_at or uow.now
        await deliveries.move(
            uow,
            delivery,
            DeliveryMove.READY,
            actor=actor,
            due_at=due,
            wake_at=due,
            late_at=due + timedelta(minutes=post.late_minutes),
            expires_at=window_end(due_at=due, not_after=post.not_after),
            reason="",
        )
        uow.wake(account.id, due)
