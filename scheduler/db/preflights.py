"""Queries of the pre-flight: what is soon due and unchecked, and what was found."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import and_, exists, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col

from scheduler.db import rows
from scheduler.db.tables import Account, Delivery, Post, Preflight
from scheduler.db.uow import UnitOfWork
from scheduler.domain.delivery_flow import DeliveryState


async def find_due(
    uow: UnitOfWork, until: datetime, *, but: Iterable[UUID], limit: int
) -> Sequence[tuple[UUID, int, Account]]:
    """Ready deliveries that are due before `until` and not yet checked in their revision: id, revision, account.

    What is due already is the publishing's; `but` are accounts that are being checked.
    """
    checked = exists().where(
        col(Preflight.delivery_id) == col(Delivery.id),
        col(Preflight.revision) == col(Post.revision),
    )
    query = (
        select(col(Delivery.id), col(Post.revision), Account)
        .join(Post, col(Post.id) == col(Delivery.post_id))
        .join(Account, col(Account.id) == col(Delivery.account_id))
        .where(
            col(Delivery.state) == DeliveryState.READY,
            col(Delivery.wake_at) > uow.now,
            col(Delivery.wake_at) <= until,
            col(Delivery.account_id).not_in(list(but)),
            ~checked,
        )
        .order_by(col(Delivery.wake_at), col(Delivery.id))
        .limit(limit)
    )
    return (await uow.session.execute(query)).all()


async def find_waiting(uow: UnitOfWork, delivery_ids: Iterable[UUID]) -> set[tuple[UUID, int]]:
    """Those of the deliveries that still wait for their time, with their posts' revisions of now."""
    query = (
        select(col(Delivery.id), col(Post.revision))
        .join(Post, col(Post.id) == col(Delivery.post_id))
        .where(
            rows.among(col(Delivery.id), delivery_ids), col(Delivery.state) == DeliveryState.READY
        )
    )
    return {(row.id, row.revision) for row in await uow.session.execute(query)}


async def add_all(
    uow: UnitOfWork, found: Mapping[tuple[UUID, int], list[dict[str, str]]]
) -> set[tuple[UUID, int]]:
    """Keep the problems by delivery and revision; answers those that no other worker had kept before."""
    if not found:
        return set()
    build = postgresql if uow.session.get_bind().dialect.name == "postgresql" else sqlite
    values = [
        {
            "delivery_id": delivery_id,
            "revision": revision,
            "at": uow.now,
            "ok": not problems,
            "problems": problems,
        }
        for (delivery_id, revision), problems in sorted(found.items())
    ]
    added = await uow.session.execute(
        build.insert(Preflight)
        .on_conflict_do_nothing()
        .returning(col(Preflight.delivery_id), col(Preflight.revision)),
        values,
    )
    return {(row.delivery_id, row.revision) for row in added}


async def count_waiting(
    uow: UnitOfWork, account_ids: Iterable[UUID], until: datetime
) -> dict[UUID, int]:
    """How many posts of each account wait for a time until then."""
    query = (
        select(col(Delivery.account_id), func.count().label("amount"))
        .where(
            rows.among(col(Delivery.account_id), account_ids),
            col(Delivery.state) == DeliveryState.READY,
            col(Delivery.wake_at) <= until,
        )
        .group_by(col(Delivery.account_id))
    )
    return {row.account_id: row.amount for row in await uow.session.execute(query)}


async def find_for(uow: UnitOfWork, delivery_ids: Iterable[UUID]) -> dict[UUID, Preflight]:
    """What was found of each delivery in its post's revision of now."""
    query = (
        select(Preflight)
        .join(Delivery, col(Delivery.id) == col(Preflight.delivery_id))
        .join(
            Post,
            and_(
                col(Post.id) == col(Delivery.post_id),
                col(Post.revision) == col(Preflight.revision),
            ),
        )
        .where(col(Preflight.delivery_id).in_(list(delivery_ids)))
    )
    return {each.delivery_id: each for each in await uow.session.scalars(query)}


async def find_failed_ahead(uow: UnitOfWork) -> Sequence[tuple[Preflight, str]]:
    """Failed checks of deliveries that still wait for their time, with their account's code."""
    query = (
        select(Preflight, col(Account.code))
        .join(Delivery, col(Delivery.id) == col(Preflight.delivery_id))
        .join(Account, col(Account.id) == col(Delivery.account_id))
        .join(
            Post,
            and_(
                col(Post.id) == col(Delivery.post_id),
                col(Post.revision) == col(Preflight.revision),
            ),
        )
        .where(~col(Preflight.ok), col(Delivery.state) == DeliveryState.READY)
        .order_by(col(Delivery.wake_at), col(Delivery.id))
    )
    return (await uow.session.execute(query)).all()


async def find_by_posts(
    uow: UnitOfWork, post_ids: Iterable[UUID]
) -> dict[UUID, tuple[Preflight, ...]]:
    """What was found of the deliveries of each post in its revision of now."""
    query = (
        select(col(Post.id), Preflight)
        .join(Delivery, col(Delivery.post_id) == col(Post.id))
        .join(
            Preflight,
            and_(
                col(Preflight.delivery_id) == col(Delivery.id),
                col(Preflight.revision) == col(Post.revision),
            ),
        )
        .where(col(Post.id).in_(list(post_ids)))
    )
    found: dict[UUID, tuple[Preflight, ...]] = {}
    for post_id, preflight in await uow.session.execute(query):
        found[post_id] = (*found.get(post_id, ()), preflight)
    return found


async def count_due(uow: UnitOfWork, account_id: UUID, start: datetime, end: datetime) -> int:
    """Posts of an account that are due in a span of time."""
    query = select(func.count()).where(
        col(Delivery.account_id) == account_id,
        col(Delivery.state) == DeliveryState.READY,
        col(Delivery.wake_at) > start,
        col(Delivery.wake_at) <= end,
    )
    return int((await uow.session.execute(query)).scalar_one())
