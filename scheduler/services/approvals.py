"""The supervisor's decision: it binds the digest that was read, and never one's own words."""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from scheduler.db import deliveries, persons, posts
from scheduler.db.posts import PostParts
from scheduler.db.tables import Approval, Post
from scheduler.db.uow import UnitOfWork
from scheduler.domain.delivery_flow import DeliveryMove
from scheduler.domain.lateness import window_end
from scheduler.domain.people import Actor, Permission
from scheduler.domain.post_flow import PostMove, PostState, plan
from scheduler.errors import ConflictError, ForbiddenError, InvalidError
from scheduler.services import rendering
from scheduler.services.judging import find_findings, refuse_blocked
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


async def find_awaiting(uow: UnitOfWork, actor: Actor) -> Sequence[Post]:
    return await posts.find_awaiting(uow, actor)


async def approve(uow: UnitOfWork, actor: Actor, post_id: UUID, *, digest: str) -> Post:
    """Approve exactly the content with this digest, and schedule it unless the author wanted to.

    Raises:
        SelfApprovalError: the person wrote or changed the post, or enrolled one who did.
        StaleContentError: the content is not what the digest says.
        PolicyBlockedError, TimePastError: what was fine at submission no longer is.
    """
    post = await posts.get(uow, actor, post_id, needs=Permission.APPROVE)
    plan(PostState(post.state), PostMove.APPROVE)
    parts = await posts.load_parts(uow, post)
    if actor.person_id in parts.editors:
        raise SelfApprovalError("you wrote or changed this post; somebody else has to approve it")
    if actor.person_id in await persons.find_issuers(uow, parts.editors):
        raise SelfApprovalError(
            "you enrolled somebody who wrote or changed this post; somebody else has to approve it"
        )
    require_on_targets(uow, actor, Permission.APPROVE, parts)
    _require_read(parts, digest)
    findings, _ = await find_findings(uow, parts)
    refuse_blocked(findings)
    require_future(post, uow.now)
    approval = _add_approval(uow, actor, post, digest)
    await posts.move(
        uow,
        post,
        PostMove.APPROVE,
        actor=actor,
        detail={"approval": str(approval.id), "digest": digest, "policy": approval.policy},
    )
    if post.schedule_on_approval:
        await _schedule(uow, actor, parts)
    return post


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


def _add_approval(uow: UnitOfWork, actor: Actor, post: Post, digest: str) -> Approval:
    approval = Approval(
        post_id=post.id,
        revision=post.revision,
        digest=digest,
        policy=post.policy or "",
        person_id=actor.person_id,
        decided_at=uow.now,
    )
    uow.session.add(approval)
    return approval


async def send_back(uow: UnitOfWork, actor: Actor, post_id: UUID, *, comment: str) -> Post:
    """Return a post to its author with what has to change."""
    if not comment.strip():
        raise CommentMissingError("say what has to change")
    post = await posts.get(uow, actor, post_id, needs=Permission.APPROVE)
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
    for approval in (await posts.find_approvals(uow, [post.id]))[post.id]:
        due = post.due_at or approval.decided_at
        if uow.now > window_end(due_at=due, not_after=post.not_after):
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
