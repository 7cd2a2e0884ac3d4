"""Queries on what has left lately: counted from the attempts, so that a restart forgets nothing."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, func, or_, select
from sqlmodel import col

from scheduler.db import rows
from scheduler.db.tables import Account, Attempt
from scheduler.db.uow import UnitOfWork

#: What may be public, or is.
_COUNTED = ("sent", "found", "unknown")
_ACCOUNT: Any = Attempt.account_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What an account has used: its newest attempt, and how many lie within each span."""

    last: datetime
    counts: dict[timedelta, int]


async def find_used(
    uow: UnitOfWork, account_ids: Collection[UUID], spans: Collection[timedelta], since: datetime
) -> dict[UUID, Used]:
    """By account; one that has sent nothing since is missing."""
    counts = [_count_since(uow.now - span).label(f"n{place}") for place, span in enumerate(spans)]
    query = (
        select(_ACCOUNT, func.max(col(Attempt.started_at)).label("last"), *counts)
        .where(
            rows.among(_ACCOUNT, account_ids),
            col(Attempt.started_at) > since,
            _counted(),
        )
        .group_by(_ACCOUNT)
    )
    return {
        row.account_id: Used(
            last=row.last,
            counts={span: getattr(row, f"n{place}") for place, span in enumerate(spans)},
        )
        for row in await uow.session.execute(query)
    }


async def find_shared(
    uow: UnitOfWork, servers: Collection[str], span: timedelta
) -> dict[str, dict[UUID, int]]:
    """By server: every mission with an account in service there, and what it has used within the span."""
    query = (
        select(
            col(Account.base_url),
            col(Account.mission_id),
            func.count(col(Attempt.id)).label("used"),
        )
        .outerjoin(
            Attempt,
            (col(Account.id) == _ACCOUNT) & (col(Attempt.started_at) > uow.now - span) & _counted(),
        )
        .where(col(Account.base_url).in_(servers), col(Account.state) == "active")
        .group_by(col(Account.base_url), col(Account.mission_id))
    )
    found: dict[str, dict[UUID, int]] = {server: {} for server in servers}
    for row in await uow.session.execute(query):
        found[row.base_url][row.mission_id] = row.used
    return found


async def find_leaving(
    uow: UnitOfWork, accounts: ColumnElement[bool], span: timedelta, excess: int
) -> datetime:
    """When so many of the oldest attempts within the span, on these accounts, will be out of it."""
    query = (
        select(col(Attempt.started_at))
        .where(
            _ACCOUNT.in_(select(col(Account.id)).where(accounts)),
            col(Attempt.started_at) > uow.now - span,
            _counted(),
        )
        .order_by(col(Attempt.started_at))
        .offset(excess - 1)
        .limit(1)
    )
    oldest = (await uow.session.scalars(query)).one_or_none()
    return (oldest or uow.now) + span


async def count_tried(uow: UnitOfWork, account_id: UUID, since: datetime) -> int:
    """Posts of an account that are or may be public since."""
    query = select(func.count()).where(
        account_id == _ACCOUNT, col(Attempt.started_at) > since, _counted()
    )
    return int((await uow.session.execute(query)).scalar_one())


def _count_since(moment: datetime) -> Any:  # noqa: ANN401 - SQLAlchemy's own
    return func.count().filter(col(Attempt.started_at) > moment)


def _counted() -> ColumnElement[bool]:
    return or_(col(Attempt.outcome).in_(_COUNTED), col(Attempt.outcome).is_(None))
