"""All that decides whether deliveries may leave, read fresh: as many queries for one as for hundreds."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col

from scheduler.db import deliveries, persons, posts
from scheduler.db.posts import PostParts
from scheduler.db.tables import Account, Approval, Attempt, Delivery, Person, Post
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One delivery with its account, its post and who decided on it."""

    delivery: Delivery
    account: Account
    parts: PostParts
    editors: frozenset[UUID]  #: the author too
    approvals: tuple[Approval, ...]  #: of the present revision
    approvers: Mapping[UUID, Actor]  #: with the grants that are in force now
    attempts: tuple[Attempt, ...]  #: the first one first

    @property
    def post(self) -> Post:
        return self.parts.post


async def load(uow: UnitOfWork, chosen: Collection[Delivery]) -> dict[UUID, Case]:
    """The cases by delivery; rows that this session has read before are read again."""
    wanted = {each.post_id for each in chosen}
    query = select(Post).where(col(Post.id).in_(wanted)).execution_options(populate_existing=True)
    found = (await uow.session.scalars(query)).all()
    parts = await posts.load_all_parts(uow, found)
    editors = await posts.find_editors(uow, wanted)
    approvals = await posts.find_approvals(uow, wanted)
    approvers = await _load_approvers(uow, approvals)
    attempts = await deliveries.find_attempts(uow, [each.id for each in chosen])
    cases = {}
    for delivery in chosen:
        of_post = parts[delivery.post_id]
        cases[delivery.id] = Case(
            delivery=delivery,
            account=next(account for each, account in of_post.deliveries if each.id == delivery.id),
            parts=of_post,
            editors=frozenset(each.person_id for each in editors.get(delivery.post_id, ()))
            | {of_post.post.author_id},
            approvals=tuple(approvals.get(delivery.post_id, ())),
            approvers=approvers,
            attempts=tuple(attempts.get(delivery.id, ())),
        )
    return cases


async def _load_approvers(
    uow: UnitOfWork, approvals: Mapping[UUID, Collection[Approval]]
) -> dict[UUID, Actor]:
    ids = {each.person_id for of_post in approvals.values() for each in of_post}
    query = select(Person).where(col(Person.id).in_(ids)).execution_options(populate_existing=True)
    return await persons.load_actors(uow, (await uow.session.scalars(query)).all(), via="worker")
