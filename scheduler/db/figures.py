"""Queries that tell how the installation is doing: what waits, what left when, and what stands in the way."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlmodel import col

from scheduler.db.tables import Account, Attempt, Delivery, Person, Posture
from scheduler.db.uow import UnitOfWork
from scheduler.domain.delivery_flow import DeliveryState

#: Approved, and no intent is committed yet.
_WAITING: Final = (DeliveryState.READY, DeliveryState.CLAIMED, DeliveryState.PREPARING)
_MOST_INTENTS: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What waits for its instant, and what waits beyond it."""

    waiting: int
    due: int
    oldest_due_at: datetime | None
    next_due_at: datetime | None


async def find_queue(uow: UnitOfWork) -> Queue:
    waits, due = col(Delivery.state).in_(_WAITING), col(Delivery.due_at) <= uow.now
    query = select(
        func.count().label("waiting"),
        func.count().filter(due).label("due"),
        func.min(col(Delivery.due_at)).filter(due).label("oldest"),
        func.min(col(Delivery.due_at)).filter(~due).label("next"),
    ).where(waits)
    found = (await uow.session.execute(query)).one()
    return Queue(
        waiting=found.waiting, due=found.due, oldest_due_at=found.oldest, next_due_at=found.next
    )


async def find_put_off(uow: UnitOfWork) -> tuple[int, datetime | None]:
    """How many are due whose next try lies ahead, because of a platform or of the pace, and when the first is tried."""
    query = select(func.count(), func.min(col(Delivery.wake_at))).where(
        col(Delivery.state) == DeliveryState.READY,
        col(Delivery.due_at) <= uow.now,
        col(Delivery.wake_at) > uow.now,
    )
    count, first = (await uow.session.execute(query)).one()
    return count, first


async def find_due_claims(uow: UnitOfWork) -> Sequence[Delivery]:
    """What is due and in a worker's hands, the one whose lease ends first in front."""
    query = (
        select(Delivery)
        .where(
            col(Delivery.state).in_([*_WAITING[1:], DeliveryState.SENDING]),
            col(Delivery.due_at) <= uow.now,
        )
        .order_by(col(Delivery.lease_until))
    )
    return (await uow.session.scalars(query)).all()


async def find_due_accounts(uow: UnitOfWork) -> Sequence[Account]:
    """The accounts on which something is due."""
    due = select(col(Delivery.account_id)).where(
        col(Delivery.state).in_(_WAITING), col(Delivery.due_at) <= uow.now
    )
    query = select(Account).where(col(Account.id).in_(due)).order_by(col(Account.code))
    return (await uow.session.scalars(query)).all()


async def find_accounts(uow: UnitOfWork) -> Sequence[Account]:
    """Every account that was not removed."""
    query = select(Account).where(col(Account.state) != "removed").order_by(col(Account.code))
    return (await uow.session.scalars(query)).all()


async def find_postures(uow: UnitOfWork) -> Sequence[tuple[Posture, str]]:
    """The postures that are in force now, each with the name of whoever declared it."""
    over = and_(col(Posture.ends_at).is_not(None), col(Posture.ends_at) <= uow.now)
    begun = or_(col(Posture.starts_at).is_(None), col(Posture.starts_at) <= uow.now)
    query = (
        select(Posture, func.coalesce(col(Person.name), "the operator"))
        .outerjoin(Person, col(Person.id) == col(Posture.started_by))
        .where(col(Posture.ended_at).is_(None), begun, ~over)
        .order_by(col(Posture.started_at))
    )
    return [(posture, name) for posture, name in (await uow.session.execute(query)).all()]


async def find_lateness(uow: UnitOfWork, *, within: timedelta) -> list[timedelta]:
    """How long after its instant the intent of each post was committed, of those not long ago."""
    query = (
        select(col(Attempt.started_at), col(Delivery.due_at))
        .join(Delivery, col(Delivery.id) == col(Attempt.delivery_id))
        .where(_is_younger(uow.now - within), col(Attempt.number) == 1)
        .where(col(Delivery.due_at).is_not(None))
        .limit(_MOST_INTENTS)
    )
    rows = (await uow.session.execute(query)).all()
    return [max(timedelta(0), started_at - due_at) for started_at, due_at in rows if due_at]


async def count_outcomes(
    uow: UnitOfWork, *, within: timedelta
) -> Sequence[tuple[str, str, str, int]]:
    """Platform, outcome, code and number of the tries that began not long ago and have ended."""
    query = (
        select(col(Account.platform), col(Attempt.outcome), col(Attempt.code), func.count())
        .join(Delivery, col(Delivery.id) == col(Attempt.delivery_id))
        .join(Account, col(Account.id) == col(Delivery.account_id))
        .where(_is_younger(uow.now - within), col(Attempt.outcome).is_not(None))
        .group_by(col(Account.platform), col(Attempt.outcome), col(Attempt.code))
    )
    rows = (await uow.session.execute(query)).all()
    return [(platform, outcome or "", code, amount) for platform, outcome, code, amount in rows]


def _is_younger(moment: datetime) -> ColumnElement[bool]:
    """By the primary key, whose first 48 bits are the millisecond: attempts have no other index on time."""
    first = UUID(int=int(moment.timestamp() * 1000) << 80)
    return col(Attempt.id) >= first
