"""Queries on the audit log: the outbox, the sealed leaves, the tree's head and its checkpoints."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from sqlalchemy import case, func, insert, or_, select, update
from sqlmodel import col

from scheduler.audit.record import parse_record
from scheduler.db.tables import AuditHead, AuditLeaf, AuditNode, AuditOutbox, Checkpoint
from scheduler.db.uow import UnitOfWork

#: One row to insert.
Row = Mapping[str, object]


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


async def find_unsealed(uow: UnitOfWork, *, limit: int | None) -> Sequence[AuditOutbox]:
    """In the order of their ids; never `id > last`, because ids commit out of order."""
    query = (
        select(AuditOutbox)
        .where(col(AuditOutbox.seq).is_(None))
        .order_by(col(AuditOutbox.id))
        .limit(limit)
    )
    return (await uow.session.scalars(query)).all()


async def append(
    uow: UnitOfWork,
    leaves: Sequence[Row],
    nodes: Sequence[Row],
) -> None:
    await uow.session.execute(insert(AuditLeaf), leaves)
    await uow.session.execute(insert(AuditNode), nodes)


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
