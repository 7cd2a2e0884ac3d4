"""Queries on the audit log: the outbox, the sealed leaves, the tree's head and its checkpoints."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from sqlalchemy import case, func, or_, select, update
from sqlmodel import col

from scheduler.audit.record import parse_record
from scheduler.db import bulk
from scheduler.db.bulk import Update
from scheduler.db.tables import AuditHead, AuditLeaf, AuditNode, AuditOutbox, Base, Checkpoint
from scheduler.db.uow import UnitOfWork

#: One row to insert.
Row = Mapping[str, object]


class Unsealed(NamedTuple):
    """A record that waits for the sequencer."""

    id: int
    body: bytes


_OUTBOX: Final = Base.metadata.tables["audit_outbox"]


async def take_lease(uow: UnitOfWork, owner: str, lease: timedelta) -> int | None:
    """Become, or stay, the one sequencer and lock the head; None while another holds the lease.

    The epoch counts the changes of hands.
    """
    written = await uow.session.execute(
        update(AuditHead)
        .where(or_(col(AuditHead.owner) == owner, col(AuditHead.lease_until) < uow.now))
        .values(
            epoch=col(AuditHead.epoch) + case((col(AuditHead.owner) == owner, 0), else_=1),
            owner=owner,
            lease_until=uow.now + lease,
        )
        .returning(col(AuditHead.epoch))
    )
    return written.scalar_one_or_none()


async def lock_head(uow: UnitOfWork) -> AuditHead:
    query = select(AuditHead).with_for_update().execution_options(populate_existing=True)
    return (await uow.session.scalars(query)).one()


async def find_unsealed(uow: UnitOfWork, *, limit: int | None) -> list[Unsealed]:
    """In the order of their ids; never `id > last`, because ids commit out of order."""
    query = select(_OUTBOX.c.id, _OUTBOX.c.body).where(_OUTBOX.c.seq.is_(None))
    rows = await uow.session.execute(query.order_by(_OUTBOX.c.id).limit(limit))
    return [Unsealed(*row) for row in rows]


async def append(
    uow: UnitOfWork,
    sealed: Sequence[Unsealed],
    leaves: Sequence[Row],
    nodes: Sequence[Row],
) -> None:
    """Write the leaves with the nodes they complete; each sealed record has the leaf at its place."""
    marks = [
        Update(id=record.id, only_if={}, values={"seq": leaf["seq"]})
        for record, leaf in zip(sealed, leaves, strict=True)
    ]
    await bulk.update(uow.session, AuditOutbox, marks)
    await bulk.insert(uow.session, AuditLeaf, leaves)
    await bulk.insert(uow.session, AuditNode, nodes)


async def find_leaves(uow: UnitOfWork, *, start: int, limit: int) -> Sequence[AuditLeaf]:
    query = (
        select(AuditLeaf)
        .where(col(AuditLeaf.seq) >= start)
        .order_by(col(AuditLeaf.seq))
        .limit(limit)
    )
    return (await uow.session.scalars(query)).all()


async def find_page(
    uow: UnitOfWork, *, subject: str | None, before: int | None, limit: int
) -> Sequence[AuditLeaf]:
    """The newest leaves first, of one subject when named."""
    query = select(AuditLeaf).order_by(col(AuditLeaf.seq).desc()).limit(limit)
    if subject is not None:
        query = query.where(col(AuditLeaf.subject) == subject)
    if before is not None:
        query = query.where(col(AuditLeaf.seq) < before)
    return (await uow.session.scalars(query)).all()


async def find_checkpoint(uow: UnitOfWork) -> Checkpoint | None:
    query = select(Checkpoint).order_by(col(Checkpoint.size).desc()).limit(1)
    return (await uow.session.scalars(query)).one_or_none()


async def count_unsealed(uow: UnitOfWork) -> int:
    query = select(func.count()).where(col(AuditOutbox.seq).is_(None))
    return (await uow.session.execute(query)).scalar_one()


async def find_lag(uow: UnitOfWork) -> timedelta:
    """How long the oldest record has been waiting for the sequencer.

    Raises:
        MalformedError: it cannot be read, and so never be sealed.
    """
    waiting = await find_unsealed(uow, limit=1)
    if not waiting:
        return timedelta(0)
    return max(timedelta(0), uow.now - parse_record(bytes(waiting[0].body)).at)
