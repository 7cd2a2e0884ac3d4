"""Queries on postures and on what they meet; those in force are in `rules.load_postures`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, Select, select
from sqlalchemy.orm import aliased
from sqlmodel import col

from scheduler.db import rows
from scheduler.db.tables import Account, Delivery, Mission, Post, Posture
from scheduler.db.uow import UnitOfWork
from scheduler.domain.delivery_flow import IN_HAND, DeliveryState
from scheduler.domain.posture import Departure, caught_by
from scheduler.errors import NotFoundError

#: What a posture may still catch.
WAITING: Final = (IN_HAND - {DeliveryState.SENDING}) | {DeliveryState.READY}
#: Its intent is committed and its outcome is not: it may still become public.
IN_FLIGHT: Final = frozenset({DeliveryState.SENDING, DeliveryState.UNKNOWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """A delivery with what people need to recognise it, and what a posture asks."""

    delivery_id: UUID
    post_id: UUID
    post_path: str
    title: str
    account: str
    due_at: datetime | None
    state: DeliveryState
    departure: Departure


async def load_departures(uow: UnitOfWork, delivery_ids: Iterable[UUID]) -> dict[UUID, Departure]:
    """What postures ask of deliveries, from fresh rows, at their times or now."""
    query = _facts().where(rows.among(col(Delivery.id), delivery_ids))
    return {row.id: _departure(row, uow.now) for row in await uow.session.execute(query)}


async def find_met(uow: UnitOfWork, states: Iterable[DeliveryState]) -> list[Met]:
    """Every delivery in one of these states, in the order of their times."""
    query = _facts().where(col(Delivery.state).in_([each.value for each in states]))
    found = await uow.session.execute(query.order_by(col(Delivery.due_at), col(Delivery.id)))
    return [
        Met(
            delivery_id=row.id,
            post_id=row.post_id,
            post_path=row.post_path,
            title=row.title,
            account=row.code,
            due_at=row.due_at,
            state=DeliveryState(row.state),
            departure=_departure(row, uow.now),
        )
        for row in found
    ]


async def find_caught(uow: UnitOfWork, posture_id: UUID) -> Sequence[tuple[Delivery, Account, str]]:
    """What this posture has held and nobody has ended yet, with the path of its post's mission; locked."""
    query = (
        select(Delivery, Account, col(Mission.path))
        .join(Account, col(Account.id) == col(Delivery.account_id))
        .join(Post, col(Post.id) == col(Delivery.post_id))
        .join(Mission, col(Mission.id) == col(Post.mission_id))
        .where(
            col(Delivery.state) == DeliveryState.HELD,
            col(Delivery.reason).startswith(caught_by(posture_id), autoescape=True),
        )
        .order_by(col(Delivery.due_at), col(Delivery.id))
        .with_for_update(of=Delivery)
    )
    return (await uow.session.execute(query)).all()


async def get(uow: UnitOfWork, posture_id: UUID) -> Posture:
    posture = await uow.session.get(Posture, posture_id, populate_existing=True)
    if posture is None:
        raise NotFoundError(f"no posture {posture_id}")
    return posture


async def find_open(uow: UnitOfWork) -> Sequence[Posture]:
    """Those that nobody has lifted and that have not ended by themselves, oldest first."""
    query = (
        select(Posture)
        .where(
            col(Posture.ended_at).is_(None),
            col(Posture.ends_at).is_(None) | (col(Posture.ends_at) > uow.now),
        )
        .order_by(col(Posture.started_at), col(Posture.id))
    )
    return (await uow.session.scalars(query)).all()


def _departure(row: Row[Any], now: datetime) -> Departure:
    return Departure(
        post_class=row.post_class,
        mission_paths=(row.post_path, row.account_path),
        account_id=row.account_id,
        campaign_id=row.campaign_id,
        language=row.language or row.account_language,
        at=max(now, row.due_at or now),
    )


def _facts() -> Select[*tuple[Any, ...]]:
    owner = aliased(Mission)
    return (
        select(
            col(Delivery.id),
            col(Delivery.state),
            col(Delivery.due_at),
            col(Delivery.language),
            col(Delivery.post_id),
            col(Delivery.account_id),
            col(Post.title),
            col(Post.post_class),
            col(Post.campaign_id),
            col(Mission.path).label("post_path"),
            col(Account.code),
            col(Account.language).label("account_language"),
            col(owner.path).label("account_path"),
        )
        .join(Post, col(Post.id) == col(Delivery.post_id))
        .join(Mission, col(Mission.id) == col(Post.mission_id))
        .join(Account, col(Account.id) == col(Delivery.account_id))
        .join(owner, col(owner.id) == col(Account.mission_id))
    )
