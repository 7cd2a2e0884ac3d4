"""Queries on alerts: what is to be told, who is telling it, and what only a look at the clock finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Select,
    SQLColumnExpression,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased
from sqlmodel import col

from scheduler.db.missions import in_scope
from scheduler.db.tables import (
    Account,
    Delivery,
    Mission,
    OutboundEvent,
    OutboundSend,
    Post,
    SignOfLife,
)
from scheduler.db.uow import UnitOfWork
from scheduler.domain.alert_kinds import AlertKind
from scheduler.domain.alerts import APPROVAL_AHEAD, OVERDUE_AFTER, SILENT_AFTER, Target
from scheduler.domain.delivery_flow import IN_HAND, DeliveryState
from scheduler.domain.people import Actor, Permission
from scheduler.domain.post_flow import PostState
from scheduler.ids import new_id

#: What is older than this is no news any more: it is listed, and told to nobody.
TOLD_WITHIN = timedelta(hours=24)
_SIGNS_KEPT = timedelta(days=7)
_PACKING_KEY = 0x616C72  # advisory locks of our own on PostgreSQL, one for each target


@dataclass(frozen=True, slots=True)
class Told:
    """An event with the rows that say what it is about."""

    event: OutboundEvent
    delivery: Delivery | None
    post: Post | None
    account: Account | None
    mission: Mission | None


async def find_page(
    uow: UnitOfWork,
    actor: Actor,
    *,
    kinds: Sequence[AlertKind],
    before: UUID | None,
    limit: int,
) -> list[Told]:
    """The newest first: what concerns missions in sight, and what concerns the whole installation."""
    of_all = col(Mission.id).is_(None)
    query = _told().where(
        or_(of_all, in_scope(actor, Permission.READ)),
        col(OutboundEvent.kind).in_([kind.value for kind in kinds or AlertKind]),
    )
    if before is not None:
        query = query.where(col(OutboundEvent.id) < before)
    return await _load(uow, query.order_by(col(OutboundEvent.id).desc()).limit(limit))


async def find_sends(uow: UnitOfWork, event_ids: Sequence[UUID]) -> Sequence[OutboundSend]:
    query = (
        select(OutboundSend)
        .where(col(OutboundSend.event_id).in_(event_ids))
        .order_by(col(OutboundSend.target))
    )
    return (await uow.session.scalars(query)).all()


async def enter_packing(uow: UnitOfWork, target: Target) -> bool:
    """Be the only one who packs for the target until the end of the unit; SQLite has one writer anyway."""
    if not _is_postgresql(uow):
        return True
    lock = func.pg_try_advisory_xact_lock(_PACKING_KEY, list(Target).index(target))
    return bool((await uow.session.execute(select(lock))).scalar_one())


async def find_untold(uow: UnitOfWork, target: Target, *, limit: int) -> list[Told]:
    """The oldest events that nobody has packed for the target yet."""
    query = _told().where(_untold(uow, target)).order_by(col(OutboundEvent.id)).limit(limit)
    return await _load(uow, query)


async def has_untold(uow: UnitOfWork, target: Target) -> bool:
    query = select(col(OutboundEvent.id)).where(_untold(uow, target)).limit(1)
    return (await uow.session.execute(query)).first() is not None


async def has_due(uow: UnitOfWork, target: Target) -> bool:
    query = select(col(OutboundSend.event_id)).where(_due(uow.now, target)).limit(1)
    return (await uow.session.execute(query)).first() is not None


async def find_newest_send(uow: UnitOfWork, target: Target) -> OutboundSend | None:
    query = (
        select(OutboundSend)
        .where(col(OutboundSend.target) == target.value)
        .order_by(col(OutboundSend.created_at).desc(), col(OutboundSend.event_id).desc())
        .limit(1)
    )
    return (await uow.session.scalars(query)).one_or_none()


async def lock_due(uow: UnitOfWork, target: Target, *, limit: int) -> Sequence[OutboundSend]:
    """Messages whose time has come and that nobody is sending."""
    query = (
        select(OutboundSend)
        .where(_due(uow.now, target))
        .order_by(col(OutboundSend.wake_at), col(OutboundSend.event_id))
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return (await uow.session.scalars(query)).all()


async def lock_sending(
    uow: UnitOfWork, target: Target, carrier: UUID, attempt: int
) -> Sequence[OutboundSend]:
    """All rows of a message, if this attempt is still the newest; else none."""
    query = (
        select(OutboundSend)
        .where(
            col(OutboundSend.target) == target.value,
            col(OutboundSend.carrier) == carrier,
            col(OutboundSend.state) == "pending",
            col(OutboundSend.attempts) == attempt,
        )
        .order_by(col(OutboundSend.event_id))
        .with_for_update()
    )
    return (await uow.session.scalars(query)).all()


async def end_pending(uow: UnitOfWork, target: Target, state: str, error: str) -> None:
    """End all that still waits for the target."""
    await uow.session.execute(
        update(OutboundSend)
        .where(
            col(OutboundSend.target) == target.value,
            col(OutboundSend.state) == "pending",
        )
        .values(state=state, error=error, wake_at=None, ended_at=uow.now)
    )


async def count_lost(uow: UnitOfWork, since: datetime) -> dict[str, int]:
    """How many alerts reached nobody, by target."""
    query = (
        select(col(OutboundSend.target), func.count().label("amount"))
        .where(
            col(OutboundSend.state).in_(["failed", "gone"]), col(OutboundSend.created_at) > since
        )
        .group_by(col(OutboundSend.target))
    )
    return {row.target: row.amount for row in await uow.session.execute(query)}


async def insert_new(uow: UnitOfWork, events: Sequence[OutboundEvent]) -> None:
    """Write them, without those whose situation somebody else has told meanwhile."""
    insert = postgresql.insert if _is_postgresql(uow) else sqlite.insert
    for event in events:
        statement = insert(OutboundEvent).values(event.model_dump())
        await uow.session.execute(statement.on_conflict_do_nothing(index_elements=["situation"]))


async def find_unapproved(uow: UnitOfWork, *, limit: int) -> list[tuple[UUID, datetime]]:
    """Posts in review that are due soon; a new submission, or another time, is told anew."""
    query = (
        select(col(Post.id), col(Post.updated_at))
        .where(
            col(Post.state) == PostState.IN_REVIEW,
            col(Post.due_at) > uow.now,
            col(Post.due_at) <= uow.now + APPROVAL_AHEAD,
            _not_told_since(AlertKind.APPROVAL_DUE, col(Post.id), col(Post.updated_at)),
        )
        .order_by(col(Post.due_at))
    )
    return [(row.id, row.updated_at) for row in await uow.session.execute(query.limit(limit))]


async def find_unanswered(uow: UnitOfWork, *, limit: int) -> list[tuple[UUID, datetime]]:
    """Posts in review for which an office is late, with the time that it had; the next one's is told anew."""
    query = (
        select(col(Post.id), col(Post.answer_by))
        .where(
            col(Post.state) == PostState.IN_REVIEW,
            col(Post.answer_by) <= uow.now,
            _not_told_since(AlertKind.CLEARANCE_LATE, col(Post.id), col(Post.answer_by)),
        )
        .order_by(col(Post.answer_by))
    )
    return [(row.id, row.answer_by) for row in await uow.session.execute(query.limit(limit))]


async def find_unmoving(uow: UnitOfWork, *, limit: int) -> list[tuple[UUID, UUID, datetime, str]]:
    """Deliveries whose time is over by a minute and that nobody is sending; a new time is told anew.

    While their account publishes something else they wait for their turn, and nothing is wrong.
    """
    since = uow.now - OVERDUE_AFTER
    other = aliased(Delivery)
    in_hand = and_(col(other.state).in_(IN_HAND), col(other.lease_until) >= uow.now)
    turn = exists().where(
        col(other.account_id) == col(Delivery.account_id),
        col(other.id) != col(Delivery.id),
        or_(in_hand, col(other.sent_at) > since),
    )
    waits = and_(col(Delivery.state) == DeliveryState.READY, col(Delivery.wake_at) < since)
    left = and_(
        col(Delivery.state).in_([DeliveryState.CLAIMED, DeliveryState.PREPARING]),
        col(Delivery.lease_until) < since,
    )
    query = (
        select(
            col(Delivery.id),
            col(Delivery.post_id),
            col(Delivery.due_at),
            col(Account.state_reason),
        )
        .join(Account, col(Account.id) == col(Delivery.account_id))
        .where(
            or_(waits, left),
            ~turn,
            col(Delivery.due_at) < since,
            _not_told_since(AlertKind.OVERDUE, col(Delivery.id), col(Delivery.due_at)),
        )
        .order_by(col(Delivery.due_at), col(Delivery.id))
    )
    found = await uow.session.execute(query.limit(limit))
    return [(row.id, row.post_id, row.due_at, row.state_reason) for row in found]


async def find_silent(uow: UnitOfWork) -> list[SignOfLife]:
    """Workers without a sign of life; one that speaks up and falls silent again is told anew."""
    query = (
        select(SignOfLife)
        .where(
            col(SignOfLife.seen_at) < uow.now - SILENT_AFTER,
            _not_told_since(AlertKind.WORKER_SILENT, col(SignOfLife.id), col(SignOfLife.seen_at)),
        )
        .order_by(col(SignOfLife.seen_at))
    )
    return list(await uow.session.scalars(query))


async def count_living(uow: UnitOfWork) -> int:
    query = select(func.count()).where(col(SignOfLife.seen_at) >= uow.now - SILENT_AFTER)
    return (await uow.session.execute(query)).scalar_one()


async def sign(uow: UnitOfWork, sign_id: UUID, worker: str) -> None:
    """Say that the worker lives; what has been silent for a week is forgotten."""
    row = await uow.session.get(SignOfLife, sign_id)
    if row is None:
        row = SignOfLife(id=sign_id, worker=worker, started_at=uow.now, seen_at=uow.now)
        uow.session.add(row)
        old = col(SignOfLife.seen_at) < uow.now - _SIGNS_KEPT
        await uow.session.execute(delete(SignOfLife).where(old))
    row.seen_at = uow.now


async def sign_off(uow: UnitOfWork, sign_id: UUID) -> None:
    await uow.session.execute(delete(SignOfLife).where(col(SignOfLife.id) == sign_id))


def new_event(
    kind: AlertKind,
    subject: tuple[str, UUID],
    since: datetime,
    **values: Any,  # noqa: ANN401 - the row's own
) -> OutboundEvent:
    """An event of something that is true since then."""
    noun, subject_id = subject
    return OutboundEvent(
        id=new_id(),
        kind=kind.value,
        subject=noun,
        subject_id=subject_id,
        situation=f"{kind}:{subject_id}:{since.isoformat()}",
        **{"detail": {}, **values},
    )


def _untold(uow: UnitOfWork, target: Target) -> ColumnElement[bool]:
    packed = exists().where(
        col(OutboundSend.event_id) == col(OutboundEvent.id),
        col(OutboundSend.target) == target.value,
    )
    return and_(
        col(OutboundEvent.created_at) > uow.now - TOLD_WITHIN,
        col(OutboundEvent.kind).in_([kind.value for kind in AlertKind]),  # not a newer release's
        ~packed,
    )


def _due(now: datetime, target: Target) -> ColumnElement[bool]:
    return and_(
        col(OutboundSend.target) == target.value,
        col(OutboundSend.state) == "pending",
        col(OutboundSend.body).is_not(None),
        col(OutboundSend.wake_at) <= now,
    )


def _not_told_since(
    kind: AlertKind, subject_id: SQLColumnExpression[UUID], since: SQLColumnExpression[Any]
) -> ColumnElement[bool]:
    other = aliased(OutboundEvent)
    return ~exists().where(
        col(other.kind) == kind.value,
        col(other.subject_id) == subject_id,
        col(other.created_at) >= since,
    )


def _told() -> Select[OutboundEvent, Delivery, Post, Account, Mission]:
    """Every event with its delivery, post, account and mission, where it has them."""
    of_account = and_(
        col(OutboundEvent.subject) == "account", col(Account.id) == col(OutboundEvent.subject_id)
    )
    return (
        select(OutboundEvent, Delivery, Post, Account, Mission)
        .join(
            Delivery,
            and_(
                col(OutboundEvent.subject) == "delivery",
                col(Delivery.id) == col(OutboundEvent.subject_id),
            ),
            isouter=True,
        )
        .join(Post, col(Post.id) == col(OutboundEvent.post_id), isouter=True)
        .join(Account, or_(col(Account.id) == col(Delivery.account_id), of_account), isouter=True)
        .join(
            Mission,
            col(Mission.id) == func.coalesce(col(Post.mission_id), col(Account.mission_id)),
            isouter=True,
        )
    )


async def _load(
    uow: UnitOfWork, query: Select[OutboundEvent, Delivery, Post, Account, Mission]
) -> list[Told]:
    return [Told(*row) for row in await uow.session.execute(query)]


def _is_postgresql(uow: UnitOfWork) -> bool:
    return uow.session.get_bind().dialect.name == "postgresql"
