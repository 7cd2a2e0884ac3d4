"""Queries on what is in force for everybody: the posture and the policy."""

from typing import Final

from sqlalchemy import func, select
from sqlmodel import col

from scheduler.db.tables import PolicyVersion, Posture
from scheduler.db.uow import UnitOfWork


async def find_stop(uow: UnitOfWork) -> Posture | None:
    query = select(Posture).where(col(Posture.ended_at).is_(None), col(Posture.kind) == "stop")
    return (await uow.session.scalars(query)).one_or_none()


async def get_policy(uow: UnitOfWork) -> PolicyVersion:
    """The policy in force; `chancery init` activates the first."""
    query = (
        select(PolicyVersion)
        .order_by(col(PolicyVersion.activated_at).desc(), col(PolicyVersion.id).desc())
        .limit(1)
    )
    return (await uow.session.scalars(query)).one()


_GATE_KEY: Final = 0x6368616E  # one advisory lock of our own on PostgreSQL


async def enter_gate(uow: UnitOfWork, *, exclusive: bool) -> None:
    """Order what may leave against what forbids it.

    An intent enters shared; a stop, a policy, a revoked grant or a paused account enters exclusive. So whoever commits
    second has seen the first, and no intent commits after a stop. SQLite has one writer and needs no gate.
    """
    if uow.session.get_bind().dialect.name == "postgresql":
        lock = func.pg_advisory_xact_lock if exclusive else func.pg_advisory_xact_lock_shared
        await uow.session.execute(select(lock(_GATE_KEY)))
        await uow.tick()
