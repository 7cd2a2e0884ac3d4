"""All that decides whether deliveries may leave, read fresh: as many queries for one as for hundreds."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col

from scheduler.db import attempts, persons, posts, rows
from scheduler.db.posts import PostParts, Target
from scheduler.db.tables import Account, Approval, Attempt, Delivery, Post
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One delivery with its account, its post and who decided on it."""

    delivery: Delivery
    account: Account
    parts: PostParts
    approvals: tuple[Approval, ...]  #: of the present revision
    approvers: Mapping[UUID, Actor]  #: with the grants that are in force now
    attempts: tuple[Attempt, ...]  #: the first one first

    @property
    def post(self) -> Post:
        return self.parts.post


async def load(uow: UnitOfWork, chosen: Collection[Delivery]) -> dict[UUID, Case]:
    """The cases by delivery; rows that this session has read before are read again."""
    wanted = {each.post_id for each in chosen}
    query = select(Post).where(rows.among(col(Post.id), wanted))
    query = query.execution_options(populate_existing=True)
    found = (await uow.session.scalars(query)).all()
    targets = await read_targets(uow, wanted)
    parts = await posts.load_rest(uow, found, targets)
    owners = {each.id: account for pairs in targets.values() for each, account in pairs}
    approvals = await posts.find_approvals(uow, wanted)
    deciders = {each.person_id for of_post in approvals.values() for each in of_post}
    approvers = await persons.load_actors_by_id(uow, deciders)
    tried = await attempts.find(uow, [each.id for each in chosen])
    cases = {}
    for delivery in chosen:
        of_post = parts[delivery.post_id]
        cases[delivery.id] = Case(
            delivery=delivery,
            account=owners[delivery.id],
            parts=of_post,
            approvals=tuple(approvals.get(delivery.post_id, ())),
            approvers=approvers,
            attempts=tuple(tried.get(delivery.id, ())),
        )
    return cases


async def read_targets(uow: UnitOfWork, post_ids: Collection[UUID]) -> dict[UUID, list[Target]]:
    """The posts' deliveries with their accounts, only to be read, by post; an approval is of all of them together."""
    found = await rows.find(uow, Delivery, rows.among(col(Delivery.post_id), post_ids))
    wanted = rows.among(col(Account.id), {each.account_id for each in found})
    owners = {each.id: each for each in await rows.find(uow, Account, wanted)}
    targets: dict[UUID, list[Target]] = defaultdict(list)
    for each in sorted(found, key=lambda each: owners[each.account_id].code):
        targets[each.post_id].append((each, owners[each.account_id]))
    return targets
