"""Queries on posts, their texts and decisions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlmodel import col

from scheduler.audit.actions import Action
from scheduler.canonical import JsonObject, JsonValue
from scheduler.db.missions import in_scope
from scheduler.db.tables import (
    Account,
    Approval,
    Comment,
    Delivery,
    Mission,
    Person,
    Post,
    PostEditor,
    PostText,
    Variant,
)
from scheduler.db.uow import UnitOfWork
from scheduler.domain import post_flow
from scheduler.domain.people import Actor, Permission
from scheduler.domain.post_flow import PostMove, PostState
from scheduler.errors import ConflictError, NotFoundError


class StaleStateError(ConflictError):
    """Somebody else was faster; look again."""

    code = "state_changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PostParts:
    """A post with everything that hangs on it."""

    post: Post
    mission: Mission
    texts: tuple[PostText, ...]
    variants: tuple[Variant, ...]
    deliveries: tuple[tuple[Delivery, Account], ...]
    paths: frozenset[str]  #: of the missions it concerns: its own, and each target account's

    @property
    def sources(self) -> JsonValue:
        """What the officer wrote, in one order: it is part of what is approved."""
        return {
            "texts": [[text.language, text.segments] for text in self.texts],
            "variants": [[str(each.account_id), each.segments] for each in self.variants],
            "card": self.post.link_card,
        }


async def get(
    uow: UnitOfWork, actor: Actor, post_id: UUID, *, needs: Permission = Permission.READ
) -> Post:
    """The post in the actor's scope, locked where the database locks rows."""
    query = select(Post).where(col(Post.id) == post_id).with_for_update()
    post = (await uow.session.scalars(query)).one_or_none()
    if post is None:
        raise NotFoundError(f"no post {post_id}")
    mission = await uow.session.get_one(Mission, post.mission_id)
    actor.require(needs, mission.path, now=uow.now)
    return post


async def load_parts(uow: UnitOfWork, post: Post) -> PostParts:
    session = uow.session
    texts = await session.scalars(
        select(PostText).where(col(PostText.post_id) == post.id).order_by(col(PostText.language))
    )
    variants = await session.scalars(
        select(Variant).where(col(Variant.post_id) == post.id).order_by(col(Variant.account_id))
    )
    deliveries = await session.execute(
        select(Delivery, Account)
        .join(Account, col(Account.id) == col(Delivery.account_id))
        .where(col(Delivery.post_id) == post.id)
        .order_by(col(Account.code))
    )
    mission = await session.get_one(Mission, post.mission_id)
    targets = deliveries.all()
    paths = await session.scalars(
        select(col(Mission.path)).where(
            col(Mission.id).in_({account.mission_id for _, account in targets})
        )
    )
    return PostParts(
        post=post,
        mission=mission,
        texts=tuple(texts),
        variants=tuple(variants),
        deliveries=tuple(targets),
        paths=frozenset(paths) | {mission.path},
    )


async def find_page(
    uow: UnitOfWork,
    actor: Actor,
    *,
    state: PostState | None,
    before: UUID | None,
    limit: int,
) -> Sequence[Post]:
    """The newest posts in the actor's scope, older than the id `before`."""
    query = (
        select(Post)
        .join(Mission, col(Mission.id) == col(Post.mission_id))
        .where(in_scope(actor, Permission.READ))
        .order_by(col(Post.id).desc())
        .limit(limit)
    )
    if state is not None:
        query = query.where(col(Post.state) == state)
    if before is not None:
        query = query.where(col(Post.id) < before)
    return (await uow.session.scalars(query)).all()


async def find_due_between(
    uow: UnitOfWork, actor: Actor, start: datetime, end: datetime
) -> Sequence[tuple[Post, Mission]]:
    query = (
        select(Post, Mission)
        .join(Mission, col(Mission.id) == col(Post.mission_id))
        .where(in_scope(actor, Permission.READ), col(Post.due_at) >= start, col(Post.due_at) < end)
        .where(col(Post.state) != PostState.CANCELLED)
        .order_by(col(Post.due_at), col(Post.id))
    )
    return (await uow.session.execute(query)).all()


async def find_awaiting(uow: UnitOfWork, actor: Actor) -> Sequence[Post]:
    """What awaits this person: in review, in their scope, not touched by them."""
    touched = select(col(PostEditor.post_id)).where(col(PostEditor.person_id) == actor.person_id)
    query = (
        select(Post)
        .join(Mission, col(Mission.id) == col(Post.mission_id))
        .where(
            in_scope(actor, Permission.APPROVE),
            col(Post.state) == PostState.IN_REVIEW,
            col(Post.id).not_in(touched),
        )
        .order_by(col(Post.due_at), col(Post.id))
    )
    return (await uow.session.scalars(query)).all()


async def find_comments(uow: UnitOfWork, post_id: UUID) -> Sequence[tuple[Comment, str]]:
    query = (
        select(Comment, col(Person.name))
        .join(Person, col(Person.id) == col(Comment.person_id))
        .where(col(Comment.post_id) == post_id)
        .order_by(col(Comment.id))
    )
    return (await uow.session.execute(query)).all()


async def find_approvals(uow: UnitOfWork, post_id: UUID, revision: int) -> Sequence[Approval]:
    query = select(Approval).where(
        col(Approval.post_id) == post_id, col(Approval.revision) == revision
    )
    return (await uow.session.scalars(query)).all()


async def find_editors(uow: UnitOfWork, post_id: UUID) -> frozenset[UUID]:
    query = select(col(PostEditor.person_id)).where(col(PostEditor.post_id) == post_id)
    return frozenset(await uow.session.scalars(query))


async def move(
    uow: UnitOfWork,
    post: Post,
    action: PostMove,
    *,
    actor: Actor | None,
    detail: JsonObject | None = None,
    **values: object,
) -> None:
    """Make the move by compare-and-set, with its one audit record.

    Raises:
        IllegalMoveError: the post's state does not allow it.
        StaleStateError: the state or revision changed under us.
    """
    source = PostState(post.state)
    planned = post_flow.plan(source, action)
    revision = post.revision
    written = await uow.session.execute(
        update(Post)
        .where(col(Post.id) == post.id, col(Post.state) == source, col(Post.revision) == revision)
        .values(state=planned.target.value, updated_at=uow.now, **values)
        .returning(col(Post.id))
    )
    if written.one_or_none() is None:
        raise StaleStateError(f"post {post.id} is no longer {source}")
    uow.record(
        Action(f"post.{action}"),
        {"t": "post", "id": str(post.id), "rev": post.revision},
        actor=actor,
        detail={"from": source.value, "to": planned.target.value, **(detail or {})},
    )
