"""Queries on attempts: the intents of deliveries, and what came of them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col

from scheduler.db import bulk, rows
from scheduler.db.bulk import Update
from scheduler.db.posts import StaleStateError
from scheduler.db.tables import Attempt, Delivery
from scheduler.db.uow import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAttempt:
    id: UUID
    delivery_id: UUID
    account_id: UUID
    number: int
    part: int
    fence: int
    idempotency_key: str
    request: bytes
    request_sha256: str
    started_at: datetime
    deadline: datetime


_GIVEN: Final = tuple(each.name for each in fields(NewAttempt))
#: An attempt whose end is open, which is what an intent is.
_OPEN: Final[dict[str, Any]] = {
    "outcome": None,
    "ended_at": None,
    "code": "",
    "message": "",
    "evidence": {},
}


async def add_all(uow: UnitOfWork, made: Sequence[NewAttempt]) -> None:
    values = [{name: getattr(each, name) for name in _GIVEN} | _OPEN for each in made]
    for each in values:
        uow.note(Attempt, None, each)
    await bulk.insert(uow.session, Attempt, values)


async def find(uow: UnitOfWork, delivery_ids: Iterable[UUID]) -> dict[UUID, list[Attempt]]:
    """The tries of each delivery, the first one first; only to be read."""
    found: dict[UUID, list[Attempt]] = defaultdict(list)
    wanted = rows.among(col(Attempt.delivery_id), delivery_ids)
    for attempt in sorted(await rows.find(uow, Attempt, wanted), key=lambda each: each.number):
        found[attempt.delivery_id].append(attempt)
    return found


async def get_all(uow: UnitOfWork, ids: Iterable[UUID]) -> dict[UUID, Attempt]:
    """The attempts by id; only to be read."""
    found = await rows.find(uow, Attempt, rows.among(col(Attempt.id), ids))
    return {each.id: each for each in found}


async def get_last(uow: UnitOfWork, delivery: Delivery) -> Attempt:
    """The delivery's newest attempt; to be changed."""
    query = select(Attempt).where(
        col(Attempt.delivery_id) == delivery.id, col(Attempt.number) == delivery.attempts
    )
    return (await uow.session.scalars(query)).one()


async def end_all(uow: UnitOfWork, ended: Sequence[tuple[Attempt, Mapping[str, Any]]]) -> None:
    """Write what came of attempts that were only read.

    Raises:
        StaleStateError: one of them is gone, or is of another fence.
    """
    updates = [
        Update(id=attempt.id, only_if={"fence": attempt.fence}, values=values)
        for attempt, values in ended
    ]
    if await bulk.update(uow.session, Attempt, updates):
        raise StaleStateError("an attempt has passed into other hands")
    for attempt, values in ended:
        uow.note(Attempt, attempt, values)
