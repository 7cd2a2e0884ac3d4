"""May this delivery leave now? One function, asked inside the intent transaction (R7)."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from scheduler.db import persons, posts, rules
from scheduler.db.posts import PostParts
from scheduler.db.tables import Account, Approval, Delivery, Post
from scheduler.db.uow import UnitOfWork
from scheduler.domain.lateness import Timing, timing, window_end
from scheduler.domain.people import Permission
from scheduler.domain.post_flow import PostState
from scheduler.services import rendering
from scheduler.services.judging import find_findings, is_blocking


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why a delivery must not leave; `code` is stable and shown to people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearance:
    """What the intent's record says was checked."""

    digest: str
    approval_id: UUID
    approved_at: datetime
    policy: str


async def clear(uow: UnitOfWork, delivery: Delivery, account: Account) -> Clearance | Obstacle:
    """Check posture, account, content, approval, roles, policy and window against fresh rows."""
    if (stop := await rules.find_stop(uow)) is not None:
        return Obstacle(code="stopped", message=f"publishing is stopped: {stop.reason}")
    if account.state != "active":
        return Obstacle(code="account_out_of_service", message=account.state_reason)
    post = await uow.session.get_one(Post, delivery.post_id, populate_existing=True)
    if post.state != PostState.SCHEDULED:
        return Obstacle(code="post_not_scheduled", message=f"the post is {post.state}")
    parts = await posts.load_parts(uow, post)
    if (changed := _find_change(parts)) is not None:
        return changed
    approval = await _find_valid_approval(uow, parts)
    if isinstance(approval, Obstacle):
        return approval
    return await _judge_policy(uow, parts, approval)


def judge_time(*, now: datetime, post: Post, delivery: Delivery, approved_at: datetime) -> Timing:
    """By the times that were approved; a changed row cannot make a delivery early or long-lived."""
    approved_due = post.due_at or approved_at
    return timing(
        now=now,
        due_at=max(approved_due, delivery.due_at or approved_due),
        late_minutes=post.late_minutes,
        expires_at=window_end(due_at=approved_due, not_after=post.not_after),
    )


def _find_change(parts: PostParts) -> Obstacle | None:
    """Is every byte as approved? By recomputing, because anybody may have edited the database."""
    try:
        digest = rendering.build_statement(parts, parts.post.policy or "").digest()
    except (ValueError, KeyError, TypeError) as exc:
        return Obstacle(code="content_changed", message=f"the stored post cannot be read: {exc}")
    if digest != parts.post.digest:
        return Obstacle(code="content_changed", message="the content is not what was approved")
    return None


async def _find_valid_approval(uow: UnitOfWork, parts: PostParts) -> Approval | Obstacle:
    """An approval of this digest, by a person who may still approve it now."""
    post = parts.post
    editors = await posts.find_editors(uow, post.id) | {post.author_id}
    reason = "nobody approved this revision"
    for approval in await posts.find_approvals(uow, post.id, post.revision):
        if approval.digest != post.digest:
            reason = "the approval is for other content"
            continue
        if approval.person_id in editors:
            reason = "the approver wrote or changed the post"
            continue
        person = await persons.get(uow, approval.person_id)
        actor = await persons.load_actor(uow, person, via="worker")
        if all(actor.may(Permission.APPROVE, path, now=uow.now) for path in parts.paths):
            return approval
        reason = "the approver may no longer approve for this mission"
    return Obstacle(code="approval_lost", message=reason)


async def _judge_policy(
    uow: UnitOfWork, parts: PostParts, approval: Approval
) -> Clearance | Obstacle:
    """A policy activated after the approval is asked again; the one it was approved under was."""
    policy = (await rules.get_policy(uow)).digest
    if policy != approval.policy:
        findings, _ = await find_findings(uow, parts)
        for finding in findings:
            if is_blocking(finding):
                return Obstacle(
                    code="policy_blocked", message=f"rule {finding.rule}: {finding.message}"
                )
    return Clearance(
        digest=approval.digest,
        approval_id=approval.id,
        approved_at=approval.decided_at,
        policy=policy,
    )
