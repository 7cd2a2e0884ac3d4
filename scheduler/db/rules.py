"""Queries on what is in force for everybody: the posture and the policy."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func, select, text
from sqlmodel import col

from scheduler.db.tables import Mission, PolicyProposal, PolicyVersion, Posture
from scheduler.db.uow import UnitOfWork
from scheduler.domain.posture import Restriction
from scheduler.errors import UnavailableError

#: A proposal that nobody took up in this time is void.
PROPOSAL_LIFETIME: Final = timedelta(days=7)


async def load_postures(uow: UnitOfWork) -> tuple[Restriction, ...]:
    """Every posture that is in force or announced, by the database's clock; oldest first, mostly none.

    One that was changed by hand is in force whatever its row says now, and forbids everything.
    """
    query = (
        select(Posture, col(Mission.path))
        .outerjoin(Mission, col(Mission.id) == col(Posture.mission_id))
        .order_by(col(Posture.started_at), col(Posture.id))
        .execution_options(populate_existing=True)
    )
    found = []
    for row, path in await uow.session.execute(query):
        if not uow.seals.holds(row):
            found.append(_everything(row))
        elif row.ended_at is None and (row.ends_at is None or row.ends_at > uow.now):
            found.append(restriction_of(row, path))
    return tuple(found)


def _everything(posture: Posture) -> Restriction:
    return Restriction(id=posture.id, kind=posture.kind, reason="its row was changed by hand")


def restriction_of(posture: Posture, mission_path: str | None) -> Restriction:
    return Restriction(
        id=posture.id,
        kind=posture.kind,
        reason=posture.reason,
        mission_path=mission_path,
        account_id=posture.account_id,
        campaign_id=posture.campaign_id,
        language=posture.language,
        allowed_classes=frozenset(posture.allowed_classes),
        starts_at=posture.starts_at,
        ends_at=posture.ends_at,
    )


class PolicyChangedError(UnavailableError):
    """The row of the policy in force was changed by hand: nothing is judged by it."""

    code = "policy_changed"


async def get_policy(uow: UnitOfWork) -> PolicyVersion:
    """The policy in force; `chancery init` activates the first.

    Raises:
        PolicyChangedError: somebody changed it by hand.
    """
    policy = await find_policy(uow)
    if policy is None:
        raise PolicyChangedError("the policy in force was changed by hand; activate it again")
    return policy


async def find_policy(uow: UnitOfWork) -> PolicyVersion | None:
    """The policy in force, or None when its row has not got our seal."""
    query = (
        select(PolicyVersion)
        .order_by(col(PolicyVersion.activated_at).desc(), col(PolicyVersion.id).desc())
        .limit(1)
    )
    policy = (await uow.session.scalars(query)).one()
    return policy if uow.seals.holds(policy) else None


async def find_last_activation(uow: UnitOfWork) -> datetime:
    query = select(PolicyVersion).order_by(col(PolicyVersion.activated_at).desc()).limit(1)
    return (await uow.session.scalars(query)).one().activated_at


async def find_proposals(uow: UnitOfWork) -> Sequence[PolicyProposal]:
    """The policies that wait for a second admin, oldest first; those from before the one in force are void."""
    newest = select(func.max(col(PolicyVersion.activated_at))).scalar_subquery()
    query = (
        select(PolicyProposal)
        .where(
            col(PolicyProposal.proposed_at) > uow.now - PROPOSAL_LIFETIME,
            col(PolicyProposal.proposed_at) > newest,
        )
        .order_by(col(PolicyProposal.proposed_at), col(PolicyProposal.id))
    )
    return [each for each in await uow.session.scalars(query) if uow.seals.holds(each)]


_GATE_KEY: Final = 0x6368616E  # one advisory lock of our own on PostgreSQL
#: Who waits to enter exclusive keeps every later intent out, so waiting long lets nothing through.
_STOP_PATIENCE_MS: Final = 30_000


async def enter_gate(uow: UnitOfWork, *, exclusive: bool) -> None:
    """Order what may leave against what forbids it.

    An intent enters shared; a stop, a policy, a revoked grant or a paused account enters exclusive. So whoever commits
    second has seen the first, and no intent commits after a stop. SQLite has one writer and needs no gate.
    """
    if uow.session.get_bind().dialect.name == "postgresql":
        if exclusive:  # frozen processes lose their transactions one after the other, 5 s each; none may refuse a stop
            await uow.session.execute(text(f"SET LOCAL lock_timeout = {_STOP_PATIENCE_MS}"))
        lock = func.pg_advisory_xact_lock if exclusive else func.pg_advisory_xact_lock_shared
        await uow.session.execute(select(lock(_GATE_KEY)))
        await uow.tick()
