"""Queries on the renewals of sign-ins: one worker at a time has an account's in hand."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import col

from scheduler.db.tables import Account, SignIn
from scheduler.db.uow import UnitOfWork


async def find_active(uow: UnitOfWork) -> Sequence[Account]:
    query = select(Account).where(col(Account.state) == "active").order_by(col(Account.id))
    return (await uow.session.scalars(query)).all()


async def find_waiting(uow: UnitOfWork) -> frozenset[UUID]:
    """Accounts that are left alone: somebody renews them now, or a failed try has to rest."""
    query = select(col(SignIn.account_id)).where(
        or_(col(SignIn.lease_until) > uow.now, col(SignIn.retry_at) > uow.now)
    )
    return frozenset(await uow.session.scalars(query))


async def give_back(
    uow: UnitOfWork, account_id: UUID, *, owner: str, tries: int, retry_at: datetime | None
) -> None:
    """End a renewal, unless its lease has passed into other hands."""
    await uow.session.execute(
        update(SignIn)
        .where(col(SignIn.account_id) == account_id, col(SignIn.lease_owner) == owner)
        .values(lease_owner="", lease_until=None, tries=tries, retry_at=retry_at)
        .execution_options(synchronize_session=False)
    )


async def lock(uow: UnitOfWork, account_id: UUID) -> SignIn:
    """The account's row, made when there is none, and locked where the database locks rows."""
    build = postgresql if uow.session.get_bind().dialect.name == "postgresql" else sqlite
    await uow.session.execute(
        build.insert(SignIn)
        .values(account_id=account_id, lease_owner="", tries=0)
        .on_conflict_do_nothing()
    )
    query = select(SignIn).where(col(SignIn.account_id) == account_id).with_for_update()
    return (await uow.session.scalars(query.execution_options(populate_existing=True))).one()


async def find_ending(uow: UnitOfWork, until: datetime) -> Sequence[tuple[SignIn, Account]]:
    """Accounts in service whose sign-in ends for good before `until`."""
    query = (
        select(SignIn, Account)
        .join(Account, col(Account.id) == col(SignIn.account_id))
        .where(col(Account.state) == "active", col(SignIn.ends_at) <= until)
        .order_by(col(SignIn.ends_at))
    )
    return (await uow.session.execute(query)).all()


async def find_ends(uow: UnitOfWork, account_ids: Sequence[UUID]) -> dict[UUID, datetime]:
    """When sign-ins end for good, where it is known."""
    query = select(col(SignIn.account_id), col(SignIn.ends_at)).where(
        col(SignIn.account_id).in_(account_ids), col(SignIn.ends_at).is_not(None)
    )
    return {row.account_id: row.ends_at for row in await uow.session.execute(query)}


async def set_end(uow: UnitOfWork, account_id: UUID, ends_at: datetime | None) -> None:
    """Keep when the sign-in ends for good; another end is warned of anew."""
    row = await lock(uow, account_id)
    if row.ends_at != ends_at:
        row.ends_at, row.warned_days = ends_at, None


async def note_warning(uow: UnitOfWork, account_id: UUID, days: int) -> bool:
    """Keep that somebody is told so many days ahead; False when they have been."""
    told = await uow.session.execute(
        update(SignIn)
        .where(
            col(SignIn.account_id) == account_id,
            or_(col(SignIn.warned_days).is_(None), col(SignIn.warned_days) > days),
        )
        .values(warned_days=days)
        .returning(col(SignIn.account_id))
        .execution_options(synchronize_session=False)
    )
    return told.one_or_none() is not None
