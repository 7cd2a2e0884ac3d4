"""Queries on deliveries and attempts; every write of a worker carries its fence (R5)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, cast
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    tuple_,
)
from sqlalchemy.orm import aliased
from sqlmodel import col

from scheduler.canonical import JsonObject
from scheduler.db import bulk, moves, rows
from scheduler.db.bulk import Update
from scheduler.db.missions import in_scope
from scheduler.db.posts import StaleStateError
from scheduler.db.tables import Account, Delivery, Mission, Post
from scheduler.db.types import UtcDateTime
from scheduler.db.uow import UnitOfWork
from scheduler.domain.delivery_flow import IN_HAND, DeliveryMove, DeliveryState
from scheduler.domain.people import Actor, Permission
from scheduler.errors import NotFoundError

#: No lease is longer, whatever the platform's time-out.
_LONGEST_LEASE: Final = timedelta(minutes=30)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a worker took, under its fence."""

    delivery_id: UUID
    account_id: UUID
    server: str  #: where the account is
    fence: int
    due_at: datetime


async def claim(
    uow: UnitOfWork,
    *,
    worker: str,
    until: datetime,
    lease: timedelta,
    limit: int,
    full: Iterable[str],
) -> Sequence[Claim]:
    """Take the next delivery of each free account that is due by `until`; at most `limit` (R6).

    An account whose post is in another worker's hands, or paused, waits, and so do those on a server that is `full`.
    `SKIP LOCKED` lets workers of many hosts claim side by side; SQLite has one writer anyway.
    """
    values = {"until": until, "limit": limit, "full": list(full)}
    found = (await uow.session.execute(_CLAIMABLE, values)).all()
    taken = [
        moves.plan(
            uow,
            cast(Delivery, row),
            DeliveryMove.CLAIM,
            worker=worker,
            lease_until=uow.now + lease,
            fence=row.fence + 1,
        )
        for row in found
    ]
    await moves.write(uow, taken)
    return [
        Claim(
            delivery_id=row.id,
            account_id=row.account_id,
            server=row.base_url,
            fence=row.fence + 1,
            due_at=row.wake_at,
        )
        for row in found
    ]


def _build_claimable() -> Select[*tuple[Any, ...]]:
    """The next delivery of each account that is free and in service, with the account's server."""
    other = aliased(Delivery)
    busy = exists().where(
        col(other.account_id) == col(Delivery.account_id), col(other.state).in_(IN_HAND)
    )
    earlier = exists().where(
        col(other.account_id) == col(Delivery.account_id),
        col(other.state) == DeliveryState.READY,
        # As a row value, so that the index answers it without reading the account's later deliveries.
        tuple_(col(other.wake_at), col(other.id)) < tuple_(col(Delivery.wake_at), col(Delivery.id)),
    )
    return (
        select(
            col(Delivery.id),
            col(Delivery.post_id),
            col(Delivery.account_id),
            col(Delivery.state),
            col(Delivery.fence),
            col(Delivery.due_at),
            col(Delivery.wake_at),
            col(Account.base_url),
        )
        .join(Account, col(Account.id) == col(Delivery.account_id))
        .where(
            col(Delivery.state) == DeliveryState.READY,
            col(Delivery.wake_at) <= bindparam("until", type_=UtcDateTime()),
            col(Account.state) == "active",
            col(Account.base_url).not_in(bindparam("full", expanding=True)),
            ~busy,
            ~earlier,
        )
        .order_by(col(Delivery.wake_at), col(Delivery.id))
        .limit(bindparam("limit", type_=Integer()))
        .with_for_update(of=Delivery, skip_locked=True)
    )


#: Built once: it is asked for whenever an account becomes free.
_CLAIMABLE: Final = _build_claimable()


async def find_lapsed(uow: UnitOfWork, *, limit: int) -> Sequence[UUID]:
    """What a process had in hand when its lease ran out: it died, or it slept."""
    query = select(col(Delivery.id)).where(_lapsed(uow.now)).order_by(col(Delivery.lease_until))
    return (await uow.session.scalars(query.limit(limit))).all()


async def find_claims_of(uow: UnitOfWork, worker: str) -> Sequence[Delivery]:
    """What the worker has claimed or prepares, by its name in the rows; nothing of it has an intent."""
    query = select(Delivery).where(
        col(Delivery.state).in_([DeliveryState.CLAIMED, DeliveryState.PREPARING]),
        col(Delivery.worker) == worker,
    )
    return (await uow.session.scalars(query)).all()


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """A request that may be under way: of an intent without an outcome, or with an unknown one."""

    delivery_id: UUID
    fence: int
    attempt: int  #: parts of a thread share a fence
    state: DeliveryState
    platform: str


async def find_doubtful(uow: UnitOfWork) -> Sequence[Doubt]:
    """Everything in `sending` or `unknown`, also what is not to be touched yet."""
    query = (
        select(
            col(Delivery.id),
            col(Delivery.fence),
            col(Delivery.attempts),
            col(Delivery.state),
            col(Account.platform),
        )
        .join(Account, col(Account.id) == col(Delivery.account_id))
        .where(col(Delivery.state).in_([DeliveryState.SENDING, DeliveryState.UNKNOWN]))
    )
    return [
        Doubt(
            delivery_id=row.id,
            fence=row.fence,
            attempt=row.attempts,
            state=DeliveryState(row.state),
            platform=row.platform,
        )
        for row in await uow.session.execute(query)
    ]


async def find_remote_ids(uow: UnitOfWork, account_id: UUID, since: datetime) -> frozenset[str]:
    """The platform's ids of what deliveries of the account have become, parts of threads included."""
    query = select(Delivery).where(
        col(Delivery.account_id) == account_id, col(Delivery.updated_at) > since
    )
    found = await uow.session.scalars(query)
    return frozenset(part["id"] for each in found for part in each.progress.get("parts", []))


async def lock_lapsed(uow: UnitOfWork, delivery_id: UUID) -> Delivery | None:
    return await _lock_if(uow, delivery_id, _lapsed(uow.now))


async def lock_waking(uow: UnitOfWork, ids: Sequence[UUID]) -> dict[UUID, Delivery]:
    """Those of the deliveries that want to be looked at now, and nobody else is at; only to be read."""
    query = rows.of(Delivery).where(rows.among(col(Delivery.id), ids), _waking(uow.now))
    query = query.order_by(col(Delivery.id)).with_for_update(skip_locked=True)
    return {each.id: cast(Delivery, each) for each in await uow.session.execute(query)}


async def wake_later(uow: UnitOfWork, chosen: Sequence[tuple[Delivery, datetime | None]]) -> None:
    """Look at each again at that time, or never; the rows are locked."""
    updates = [
        Update(
            id=each.id,
            only_if={"state": each.state, "fence": each.fence},
            values={"wake_at": wake_at},
        )
        for each, wake_at in chosen
    ]
    await bulk.update(uow.session, Delivery, updates)


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
    """A lease that is over, or that nobody can have been given: a clock has jumped, or a row was changed."""
    lease = col(Delivery.lease_until)
    return and_(col(Delivery.state).in_(IN_HAND), or_(lease < now, lease > now + _LONGEST_LEASE))


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
    """The delivery, if this worker still holds it; to be changed.

    Raises:
        StaleStateError: another fence: whoever has it now decides.
    """
    query = (
        select(Delivery)
        .where(col(Delivery.id) == delivery_id)
        .with_for_update()
        .execution_options(populate_existing=True)
    )
    delivery = (await uow.session.scalars(query)).one_or_none()
    if delivery is None or not is_held(delivery, fence):
        raise passed_on(delivery_id)
    return delivery


async def lock_all(uow: UnitOfWork, fences: Mapping[UUID, int]) -> dict[UUID, Delivery]:
    """The deliveries that this worker still holds, each by its fence; the others are missing. Only to be read."""
    found = await rows.find(uow, Delivery, rows.among(col(Delivery.id), fences), lock=True)
    return {each.id: each for each in found if is_held(each, fences[each.id])}


def is_held(delivery: Delivery, fence: int) -> bool:
    return delivery.fence == fence


def passed_on(delivery_id: UUID) -> StaleStateError:
    return StaleStateError(f"delivery {delivery_id} has passed into other hands")


async def move(
    uow: UnitOfWork,
    delivery: Delivery,
    action: DeliveryMove,
    *,
    actor: Actor | None = None,
    detail: JsonObject | None = None,
    **values: object,
) -> None:
    """Make one move, with its one audit record.

    Raises:
        IllegalMoveError: the delivery's state does not allow it.
        StaleStateError: the state or the fence changed under us.
    """
    planned = moves.plan(uow, delivery, action, actor=actor, detail=detail, **values)
    await moves.write(uow, [planned])
