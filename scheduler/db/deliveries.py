"""Queries on deliveries and attempts; every write of a worker carries its fence (R5)."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, update
from sqlalchemy.orm import aliased
from sqlmodel import col

from scheduler.audit.actions import Action
from scheduler.canonical import JsonObject
from scheduler.db.missions import in_scope
from scheduler.db.posts import StaleStateError
from scheduler.db.tables import Account, Attempt, Delivery, Mission, Post
from scheduler.db.uow import UnitOfWork
from scheduler.domain import delivery_flow
from scheduler.domain.delivery_flow import IN_HAND, DeliveryMove, DeliveryState
from scheduler.domain.people import Actor, Permission
from scheduler.errors import NotFoundError


async def get(
    uow: UnitOfWork, actor: Actor, delivery_id: UUID, *, needs: Permission = Permission.READ
) -> Delivery:
    """The delivery in the actor's scope, locked where the database locks rows."""
    query = (
        select(Delivery, col(Mission.path))
        .join(Post, col(Post.id) == col(Delivery.post_id))
        .join(Mission, col(Mission.id) == col(Post.mission_id))
        .where(col(Delivery.id) == delivery_id)
        .with_for_update(of=Delivery)
    )
    row = (await uow.session.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError(f"no delivery {delivery_id}")
    delivery, path = row
    actor.require(needs, path, now=uow.now)
    return delivery


async def find_page(
    uow: UnitOfWork,
    actor: Actor,
    *,
    states: Iterable[DeliveryState],
    before: UUID | None,
    limit: int,
) -> Sequence[tuple[Delivery, Account]]:
    query = (
        select(Delivery, Account)
        .join(Account, col(Account.id) == col(Delivery.account_id))
        .join(Post, col(Post.id) == col(Delivery.post_id))
        .join(Mission, col(Mission.id) == col(Post.mission_id))
        .where(in_scope(actor, Permission.READ))
        .order_by(col(Delivery.id).desc())
        .limit(limit)
    )
    wanted = [state.value for state in states]
    if wanted:
        query = query.where(col(Delivery.state).in_(wanted))
    if before is not None:
        query = query.where(col(Delivery.id) < before)
    return (await uow.session.execute(query)).all()


async def find_attempts(uow: UnitOfWork, delivery_id: UUID) -> Sequence[Attempt]:
    query = (
        select(Attempt).where(col(Attempt.delivery_id) == delivery_id).order_by(col(Attempt.number))
    )
    return (await uow.session.scalars(query)).all()


async def claim(
    uow: UnitOfWork, *, worker: str, ahead: timedelta, lease: timedelta, limit: int
) -> Sequence[Delivery]:
    """Take the next due delivery of each free account, at most `limit` (R6).

    An account whose post is in another worker's hands, or paused, waits. `SKIP LOCKED` lets workers of many hosts claim
    side by side; SQLite has one writer anyway.
    """
    query = _claimable(uow.now + ahead).limit(limit)
    query = query.with_for_update(of=Delivery, skip_locked=True)
    found = (await uow.session.scalars(query)).all()
    for delivery in found:
        await move(
            uow,
            delivery,
            DeliveryMove.CLAIM,
            worker=worker,
            lease_until=uow.now + lease,
            fence=delivery.fence + 1,
        )
    return found


def _claimable(until: datetime) -> Select[Delivery]:
    """The next delivery of each account that is free and in service."""
    other = aliased(Delivery)
    busy = exists().where(
        col(other.account_id) == col(Delivery.account_id), col(other.state).in_(IN_HAND)
    )
    earlier = exists().where(
        col(other.account_id) == col(Delivery.account_id),
        col(other.state) == DeliveryState.READY,
        or_(
            col(other.wake_at) < col(Delivery.wake_at),
            and_(col(other.wake_at) == col(Delivery.wake_at), col(other.id) < col(Delivery.id)),
        ),
    )
    return (
        select(Delivery)
        .join(Account, col(Account.id) == col(Delivery.account_id))
        .where(
            col(Delivery.state) == DeliveryState.READY,
            col(Delivery.wake_at) <= until,
            col(Account.state) == "active",
            ~busy,
            ~earlier,
        )
        .order_by(col(Delivery.wake_at), col(Delivery.id))
    )


async def find_lapsed(uow: UnitOfWork, *, limit: int) -> Sequence[UUID]:
    """What a process had in hand when its lease ran out: it died, or it slept."""
    query = select(col(Delivery.id)).where(_lapsed(uow.now)).order_by(col(Delivery.lease_until))
    return (await uow.session.scalars(query.limit(limit))).all()


async def find_waking(uow: UnitOfWork, *, limit: int) -> Sequence[UUID]:
    """`unknown` deliveries whose settle time is over, and `sent` ones whose read-back is due."""
    query = select(col(Delivery.id)).where(_waking(uow.now)).order_by(col(Delivery.wake_at))
    return (await uow.session.scalars(query.limit(limit))).all()


async def find_overdue(uow: UnitOfWork, *, limit: int) -> Sequence[UUID]:
    """What waits past its time or window; what may be public, or is in part, waits for a person."""
    ready = col(Delivery.state) == DeliveryState.READY
    untried = and_(col(Delivery.state) == DeliveryState.HELD, col(Delivery.attempts) == 0)
    query = select(col(Delivery.id)).where(
        or_(
            and_(ready, col(Delivery.late_at) < uow.now),
            and_(or_(ready, untried), col(Delivery.expires_at) < uow.now),
        )
    )
    return (await uow.session.scalars(query.order_by(col(Delivery.id)).limit(limit))).all()


async def find_doubtful(uow: UnitOfWork) -> Sequence[tuple[UUID, int, str]]:
    """Every unknown delivery with its fence and platform, also those whose settle time is not over."""
    query = (
        select(col(Delivery.id), col(Delivery.fence), col(Account.platform))
        .join(Account, col(Account.id) == col(Delivery.account_id))
        .where(col(Delivery.state) == DeliveryState.UNKNOWN)
    )
    return [(row.id, row.fence, row.platform) for row in await uow.session.execute(query)]


async def find_remote_ids(uow: UnitOfWork, account_id: UUID, since: datetime) -> frozenset[str]:
    """The platform's ids of what deliveries of the account have become, parts of threads included."""
    query = select(Delivery).where(
        col(Delivery.account_id) == account_id, col(Delivery.updated_at) > since
    )
    found = await uow.session.scalars(query)
    return frozenset(part["id"] for each in found for part in each.progress.get("parts", []))


async def lock_lapsed(uow: UnitOfWork, delivery_id: UUID) -> Delivery | None:
    return await _lock_if(uow, delivery_id, _lapsed(uow.now))


async def lock_waking(uow: UnitOfWork, delivery_id: UUID) -> Delivery | None:
    return await _lock_if(uow, delivery_id, _waking(uow.now))


async def lock_waiting(uow: UnitOfWork, delivery_id: UUID) -> Delivery | None:
    return await _lock_if(uow, delivery_id, _waiting())


async def _lock_if(
    uow: UnitOfWork, delivery_id: UUID, condition: ColumnElement[bool]
) -> Delivery | None:
    """The delivery if it is still so, and nobody else is at it."""
    query = (
        select(Delivery)
        .where(col(Delivery.id) == delivery_id, condition)
        .with_for_update(skip_locked=True)
    )
    return (await uow.session.scalars(query)).one_or_none()


def _lapsed(now: datetime) -> ColumnElement[bool]:
    return and_(col(Delivery.state).in_(IN_HAND), col(Delivery.lease_until) < now)


def _waking(now: datetime) -> ColumnElement[bool]:
    looked_at = [DeliveryState.UNKNOWN, DeliveryState.SENT]
    return and_(col(Delivery.state).in_(looked_at), col(Delivery.wake_at) <= now)


def _waiting() -> ColumnElement[bool]:
    return col(Delivery.state).in_([DeliveryState.READY, DeliveryState.HELD])


async def find_next_wake(uow: UnitOfWork) -> datetime | None:
    """When the earliest ready delivery wants to leave."""
    query = select(func.min(col(Delivery.wake_at))).where(
        col(Delivery.state) == DeliveryState.READY
    )
    return (await uow.session.execute(query)).scalar_one()


async def count_by_state(uow: UnitOfWork) -> dict[str, int]:
    query = select(col(Delivery.state), func.count().label("amount")).group_by(col(Delivery.state))
    return {row.state: row.amount for row in await uow.session.execute(query)}


async def lock(uow: UnitOfWork, delivery_id: UUID, fence: int) -> Delivery:
    """The delivery, if this worker still holds it.

    Raises:
        StaleStateError: another fence: whoever has it now decides.
    """
    query = (
        select(Delivery)
        .where(col(Delivery.id) == delivery_id, col(Delivery.fence) == fence)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    delivery = (await uow.session.scalars(query)).one_or_none()
    if delivery is None:
        raise StaleStateError(f"delivery {delivery_id} has passed into other hands")
    return delivery


async def move(
    uow: UnitOfWork,
    delivery: Delivery,
    action: DeliveryMove,
    *,
    actor: Actor | None = None,
    detail: JsonObject | None = None,
    **values: object,
) -> None:
    """Make the move by compare-and-set on state and fence, with its one audit record.

    Raises:
        IllegalMoveError: the delivery's state does not allow it.
        StaleStateError: the state or the fence changed under us.
    """
    source = DeliveryState(delivery.state)
    planned = delivery_flow.plan(source, action)
    fence = delivery.fence
    if planned.target not in IN_HAND:
        values.setdefault("lease_until", None)
    written = await uow.session.execute(
        update(Delivery)
        .where(
            col(Delivery.id) == delivery.id,
            col(Delivery.state) == source,
            col(Delivery.fence) == fence,
        )
        .values(state=planned.target.value, updated_at=uow.now, **values)
        .returning(col(Delivery.id))
    )
    if written.one_or_none() is None:
        raise StaleStateError(f"delivery {delivery.id} is no longer {source}")
    uow.record(
        Action(f"delivery.{action}"),
        {"t": "delivery", "id": str(delivery.id), "post": str(delivery.post_id)},
        actor=actor,
        detail={"from": source.value, "to": planned.target.value, **(detail or {})},
    )
