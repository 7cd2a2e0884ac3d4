"""Posts from draft to review: write, edit, submit, withdraw, cancel, and set the time."""

from collections.abc import Mapping
from types import MappingProxyType
from uuid import UUID

from scheduler.canonical import JsonValue
from scheduler.db import deliveries, missions, posts
from scheduler.db.posts import PostParts
from scheduler.db.tables import Comment, Mission, Post, PostEditor
from scheduler.db.uow import UnitOfWork
from scheduler.domain.delivery_flow import DeliveryMove, DeliveryState
from scheduler.domain.people import Actor, Permission
from scheduler.domain.post_flow import PostMove, PostState, plan
from scheduler.errors import ConflictError, InvalidError
from scheduler.services import rendering
from scheduler.services.clearing import find_answer_time
from scheduler.services.judging import Judgement, judge_now, refuse_blocked, refuse_unreasoned
from scheduler.services.kit import Kit
from scheduler.services.writing import (
    AccountUnknownError,
    Writing,
    add_all,
    compose,
    find_writable,
    require_future,
    require_on_targets,
    write,
)


class TargetsMissingError(InvalidError):
    code = "targets_missing"


class DeliveryStartedError(ConflictError):
    """A delivery was claimed or tried: the post is no longer the officer's alone."""

    code = "delivery_started"


class RevisionStaleError(ConflictError):
    """Somebody changed the post since it was read."""

    code = "revision_stale"
    status = 412


async def draft(uow: UnitOfWork, actor: Actor, mission_code: str, writing: Writing) -> Post:
    mission = await missions.get_by_code(uow, actor, mission_code)
    actor.require(Permission.WRITE, mission.path, now=uow.now)
    found = await find_writable(uow, actor, {*(writing.targets or ()), *(writing.variants or {})})
    parts = await compose(uow, actor, mission, writing, found)
    await add_all(uow, actor, [parts])
    return parts.post


async def edit(
    uow: UnitOfWork, actor: Actor, post_id: UUID, writing: Writing, *, revision: int
) -> Post:
    """Change a post that nobody has begun to publish; every earlier approval is void.

    Raises:
        RevisionStaleError: `revision` is not the one in the database.
        DeliveryStartedError: a worker has claimed or tried a delivery.
    """
    post = await posts.get(uow, actor, post_id, needs=Permission.WRITE)
    require_revision(post, revision)
    plan(PostState(post.state), PostMove.EDIT)
    await _take_back_deliveries(uow, actor, post)
    await make_draft(uow, actor, post, PostMove.EDIT)
    await uow.session.refresh(post)
    await uow.session.merge(PostEditor(post_id=post.id, person_id=actor.person_id))
    mission = await uow.session.get_one(Mission, post.mission_id)
    await write(uow, actor, post, mission, writing)
    require_on_targets(uow, actor, Permission.WRITE, await posts.load_parts(uow, post))
    return post


async def submit(
    uow: UnitOfWork,
    kit: Kit,
    actor: Actor,
    post_id: UUID,
    *,
    revision: int,
    accepted: Mapping[str, str] = MappingProxyType({}),
) -> Post:
    """Render every payload, check everything, and put the digest before those who decide.

    `accepted` is why the author goes on in spite of a finding, by its rule: of a warning, and of a block that somebody
    may override.

    Raises:
        TargetsMissingError, TimeMissingError, TimePastError: not ready to be published.
        ContentUnfitError: a target cannot carry it faithfully.
        PolicyBlockedError: the policy in force forbids it.
        AcceptanceMissingError: it warns, and the author does not say why it is right all the same.
    """
    post = await posts.get(uow, actor, post_id, needs=Permission.WRITE)
    require_revision(post, revision)
    plan(PostState(post.state), PostMove.SUBMIT)
    parts = await posts.load_parts(uow, post)
    if not parts.deliveries:
        raise TargetsMissingError("choose at least one account")
    require_on_targets(uow, actor, Permission.WRITE, parts)
    require_future(post, uow.now)
    post.accepted = dict(accepted) or None
    judgement = await judge_now(uow, parts)
    refuse_blocked(judgement)
    refuse_unreasoned(judgement)
    await _render(uow, kit, parts)
    await _bind(uow, actor, parts, judgement)
    return post


async def _bind(uow: UnitOfWork, actor: Actor, parts: PostParts, judgement: Judgement) -> None:
    """Put what was rendered before those who decide, under its digest."""
    post = parts.post
    post.policy = judgement.digest
    post.submitted_at = uow.now if any(each.within for each in judgement.steps) else None
    post.answer_by = find_answer_time(judgement.steps, [], post)
    await uow.session.flush()
    statement = rendering.build_statement(parts, judgement.digest)
    await posts.move(
        uow,
        post,
        PostMove.SUBMIT,
        actor=actor,
        detail={"digest": statement.digest(), "statement": statement.as_json()},
        digest=statement.digest(),
    )


async def _render(uow: UnitOfWork, kit: Kit, parts: PostParts) -> None:
    """Write every account's payload into its delivery."""
    media = await rendering.load_media(uow, parts)
    targets = [account for _, account in parts.deliveries]
    if removed := [account.code for account in targets if account.state == "removed"]:
        raise AccountUnknownError(f"{removed[0]} was removed; choose other accounts")
    rendering.refuse_unfit(rendering.find_unfit(kit, parts, targets, media))
    for delivery, account in parts.deliveries:
        delivery.payload = rendering.render(kit, parts, account, media)
        delivery.due_at = parts.post.due_at


async def withdraw(
    uow: UnitOfWork, actor: Actor, post_id: UUID, *, revision: int | None = None
) -> Post:
    """Take a post back to draft before anything of it has left."""
    post = await posts.get(uow, actor, post_id, needs=Permission.WRITE)
    require_revision(post, revision)
    plan(PostState(post.state), PostMove.WITHDRAW)
    await _take_back_deliveries(uow, actor, post)
    await make_draft(uow, actor, post, PostMove.WITHDRAW)
    return post


async def reopen(uow: UnitOfWork, actor: Actor, post: Post, *, why: str) -> bool:
    """Make a draft of a locked post, because what it rests on has changed; False if something of it is under way."""
    try:
        await _take_back_deliveries(uow, actor, post)
    except DeliveryStartedError:
        return False
    add_comment(uow, actor, post, kind="reopen", text=why)
    await make_draft(uow, actor, post, PostMove.REOPEN, why=why)
    return True


def add_comment(uow: UnitOfWork, actor: Actor, post: Post, *, kind: str, text: str) -> None:
    """Say something of the revision as it stands."""
    uow.session.add(
        Comment(
            post_id=post.id,
            revision=post.revision,
            person_id=actor.person_id,
            kind=kind,
            text=text,
            created_at=uow.now,
        )
    )


async def make_draft(
    uow: UnitOfWork, actor: Actor, post: Post, move: PostMove, **detail: JsonValue
) -> None:
    """Begin the next revision: what was submitted and approved holds no longer."""
    await posts.move(
        uow,
        post,
        move,
        actor=actor,
        detail={"revision": post.revision + 1, **detail},
        revision=post.revision + 1,
        digest=None,
        policy=None,
        accepted=None,
        submitted_at=None,
        answer_by=None,
    )


async def cancel(
    uow: UnitOfWork, actor: Actor, post_id: UUID, *, revision: int | None = None
) -> Post:
    """End a post; what is public stays public, and a thread that is public in part waits for a person."""
    post = await posts.get(uow, actor, post_id, needs=Permission.WRITE)
    require_revision(post, revision)
    parts = await posts.load_parts(uow, post)
    _refuse_in_hand(parts)
    await posts.move(uow, post, PostMove.CANCEL, actor=actor)
    for delivery, _ in parts.deliveries:
        if delivery.progress.get("parts"):
            continue
        if delivery.state in {"planned", "ready", "held", "rejected"}:
            await deliveries.move(uow, delivery, DeliveryMove.CANCEL, actor=actor)
    return post


def require_revision(post: Post, revision: int | None) -> None:
    """Refuse an act on another revision than was read; None is somebody who does not act on what they read."""
    if revision is not None and post.revision != revision:
        raise RevisionStaleError(
            f"the post is at revision {post.revision}, you read {revision}; look again",
            revision=post.revision,
        )


def _refuse_in_hand(parts: PostParts) -> None:
    for delivery, account in parts.deliveries:
        if delivery.state in {"claimed", "preparing", "sending", "unknown"}:
            raise DeliveryStartedError(
                f"{account.code} is being published now; what is public cannot be taken back here"
            )


async def _take_back_deliveries(uow: UnitOfWork, actor: Actor, post: Post) -> None:
    """Refuse, or take back every one."""
    parts = await posts.load_parts(uow, post)
    _refuse_in_hand(parts)
    for delivery, account in parts.deliveries:
        if delivery.attempts or delivery.state not in {"planned", "ready", "held"}:
            raise DeliveryStartedError(
                f"{account.code} was tried already; cancel the post and write a new one"
            )
    for delivery, _ in parts.deliveries:
        if delivery.state != DeliveryState.PLANNED:
            await deliveries.move(
                uow,
                delivery,
                DeliveryMove.UNREADY,
                actor=actor,
                wake_at=None,
                reason="",
                progress={},  # what was prepared belongs to the old revision
                next_part=0,
                fence=delivery.fence + 1,
            )
