"""Queries on posts, their texts and decisions."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar, cast
from uuid import UUID

from sqlalchemy import exists, func, select, update
from sqlmodel import col

from scheduler.audit.actions import Action
from scheduler.canonical import JsonObject, JsonValue
from scheduler.clock import iso
from scheduler.db import rows
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
from scheduler.domain.delivery_flow import CLOSING
from scheduler.domain.people import Actor, Permission
from scheduler.domain.post_flow import PostMove, PostState
from scheduler.errors import ConflictError, NotFoundError
from scheduler.policy.clearance import Mode

#: What nobody has asked to go out, or nobody wants to any more. Named so, and not by the other states, because the
#: database would then read all of them by their index and sort them for every page.
_ASIDE: Final = (PostState.DRAFT, PostState.CANCELLED)
#: A delivery and the account it goes to.
Target = tuple[Delivery, Account]
#: A row that belongs to a post.
OfPost = TypeVar("OfPost", PostText, Variant, Approval, PostEditor)


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
    deliveries: tuple[Target, ...]
    editors: frozenset[UUID]  #: who wrote or changed it, the author too
    paths: frozenset[str]  #: of the missions it concerns: its own, and each target account's

    @property
    def sources(self) -> JsonValue:
        """What the officer wrote, in one order: it is part of what is approved."""
        submitted = self.post.submitted_at
        later = {
            "facts": self.post.facts,
            "accepted": self.post.accepted,
            "submitted": None if submitted is None else iso(submitted),
        }
        return {
            "texts": [[text.language, text.segments] for text in self.texts],
            "variants": [[str(each.account_id), each.segments] for each in self.variants],
            "card": self.post.link_card,
            **{name: value for name, value in later.items() if value is not None},
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
    return (await load_all_parts(uow, [post]))[post.id]


async def load_all_parts(uow: UnitOfWork, found: Sequence[Post]) -> dict[UUID, PostParts]:
    """The parts of every post, in as many queries as for one."""
    return await load_rest(uow, found, await _load_targets(uow, [post.id for post in found]))


async def load_rest(
    uow: UnitOfWork, found: Sequence[Post], targets: Mapping[UUID, Sequence[Target]]
) -> dict[UUID, PostParts]:
    """The parts of every post whose deliveries and accounts are there; its texts are only to be read."""
    ids = [post.id for post in found]
    await uow.session.flush()  # what was just written is among it
    texts = _by_post(
        sorted(
            await rows.find(uow, PostText, rows.among(col(PostText.post_id), ids)),
            key=lambda text: text.language,
        )
    )
    variants = _by_post(
        sorted(
            await rows.find(uow, Variant, rows.among(col(Variant.post_id), ids)),
            key=lambda variant: variant.account_id,
        )
    )
    editors = _by_post(await rows.find(uow, PostEditor, rows.among(col(PostEditor.post_id), ids)))
    missions = await _load_missions(uow, found, targets)
    return {
        post.id: PostParts(
            post=post,
            mission=missions[post.mission_id],
            texts=tuple(texts[post.id]),
            variants=tuple(variants[post.id]),
            deliveries=tuple(targets.get(post.id, ())),
            editors=frozenset({post.author_id, *(each.person_id for each in editors[post.id])}),
            paths=frozenset(
                {missions[account.mission_id].path for _, account in targets.get(post.id, ())}
                | {missions[post.mission_id].path}
            ),
        )
        for post in found
    }


async def _load_targets(uow: UnitOfWork, post_ids: Sequence[UUID]) -> dict[UUID, list[Target]]:
    query = (
        select(Delivery, Account)
        .join(Account, col(Account.id) == col(Delivery.account_id))
        .where(rows.among(col(Delivery.post_id), post_ids))
        .order_by(col(Account.code))
    )
    targets: dict[UUID, list[Target]] = defaultdict(list)
    for delivery, account in await uow.session.execute(query):
        targets[delivery.post_id].append((delivery, account))
    return targets


async def _load_missions(
    uow: UnitOfWork, found: Sequence[Post], targets: Mapping[UUID, Sequence[Target]]
) -> dict[UUID, Mission]:
    concerned = {post.mission_id for post in found}
    concerned |= {account.mission_id for each in targets.values() for _, account in each}
    query = select(Mission).where(rows.among(col(Mission.id), concerned))
    return {mission.id: mission for mission in await uow.session.scalars(query)}


def _by_post(rows: Iterable[OfPost]) -> dict[UUID, list[OfPost]]:
    found: dict[UUID, list[OfPost]] = defaultdict(list)
    for row in rows:
        found[row.post_id].append(row)
    return found


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


async def find_left_and_queued(
    uow: UnitOfWork, *, after: UUID | None, limit: int
) -> Sequence[Post]:
    """What has left or waits to, oldest first and only to be read; drafts and cancelled posts are not among it."""
    query = rows.of(Post).where(col(Post.state).not_in(_ASIDE))
    if after is not None:
        query = query.where(col(Post.id) > after)
    found = await uow.session.execute(query.order_by(col(Post.id)).limit(limit))
    return cast(Sequence[Post], found.all())


async def count_left_and_queued(uow: UnitOfWork) -> int:
    query = select(func.count()).where(col(Post.state).not_in(_ASIDE))
    return (await uow.session.execute(query)).scalar_one()


async def find_imported(
    uow: UnitOfWork, mission_ids: Iterable[UUID], refs: Iterable[str]
) -> dict[tuple[UUID, str], UUID]:
    """The posts of these missions that were imported under one of the names, by mission and name."""
    query = select(col(Post.mission_id), col(Post.import_ref), col(Post.id)).where(
        rows.among(col(Post.mission_id), mission_ids), col(Post.import_ref).in_(refs)
    )
    return {(row[0], str(row[1])): row[2] for row in await uow.session.execute(query)}


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
    """What may await this person: in review, in their scope, neither written nor decided by them."""
    touched = select(col(PostEditor.post_id)).where(col(PostEditor.person_id) == actor.person_id)
    decided = exists().where(
        col(Approval.post_id) == col(Post.id),
        col(Approval.revision) == col(Post.revision),
        col(Approval.person_id) == actor.person_id,
    )
    query = (
        select(Post)
        .join(Mission, col(Mission.id) == col(Post.mission_id))
        .where(
            in_scope(actor, Permission.CLEAR),
            col(Post.state) == PostState.IN_REVIEW,
            col(Post.id).not_in(touched),
            ~decided,
        )
        .order_by(col(Post.due_at), col(Post.id))
    )
    return (await uow.session.scalars(query)).all()


async def lock_citing(uow: UnitOfWork) -> Sequence[Post]:
    """What awaits approval or its time and cites a line-to-take."""
    query = (
        select(Post)
        .where(
            col(Post.state).in_((PostState.IN_REVIEW, PostState.APPROVED, PostState.SCHEDULED)),
            col(Post.facts)["line.id"].as_string().is_not(None),
        )
        .order_by(col(Post.id))
        .with_for_update()
        .execution_options(populate_existing=True)
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


async def find_approvals(uow: UnitOfWork, post_ids: Iterable[UUID]) -> dict[UUID, list[Approval]]:
    """The approvals of the posts' present revisions, by post; one without our seal is none."""
    query = (
        select(Approval)
        .join(Post, col(Post.id) == col(Approval.post_id))
        .where(rows.among(col(Post.id), post_ids), col(Approval.revision) == col(Post.revision))
        .order_by(col(Approval.id))
    )
    return _by_post(each for each in await uow.session.scalars(query) if uow.seals.holds(each))


async def count_approvals(uow: UnitOfWork, mode: Mode, since: datetime) -> int:
    """How many decisions of the mode there were since then, on all posts; also those whose seal is broken."""
    query = select(func.count()).where(
        col(Approval.mode) == mode.value, col(Approval.decided_at) > since
    )
    return (await uow.session.execute(query)).scalar_one()


async def lock_settled(uow: UnitOfWork, post_ids: Iterable[UUID]) -> Sequence[Post]:
    """Of these posts the scheduled ones whose deliveries are all at an end."""
    open_ones = exists().where(
        col(Delivery.post_id) == col(Post.id), col(Delivery.state).not_in(CLOSING)
    )
    query = (
        select(Post)
        .where(rows.among(col(Post.id), post_ids), col(Post.state) == PostState.SCHEDULED)
        .order_by(col(Post.id))  # everybody locks in the same order
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    locked = {post.id: post for post in await uow.session.scalars(query)}
    # Asked only now: the last delivery of a post may have ended while another transaction held its lock.
    settled = select(col(Post.id)).where(rows.among(col(Post.id), locked), ~open_ones)
    return [locked[each] for each in await uow.session.scalars(settled.order_by(col(Post.id)))]


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
    uow.touch(post)
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
