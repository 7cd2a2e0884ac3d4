"""Queries on accounts and their sealed secrets."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col

from scheduler.db.missions import in_scope
from scheduler.db.tables import Account, DataKey, Mission, SealedToken
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor, Permission
from scheduler.errors import NotFoundError


async def get(
    uow: UnitOfWork, actor: Actor, account_id: UUID, *, needs: Permission = Permission.READ
) -> Account:
    """The account in the actor's scope; one of another mission does not exist."""
    query = (
        select(Account, col(Mission.path))
        .join(Mission, col(Mission.id) == col(Account.mission_id))
        .where(col(Account.id) == account_id, col(Account.state) != "removed")
    )
    row = (await uow.session.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError(f"no account {account_id}")
    account, path = row
    actor.require(needs, path, now=uow.now)
    return account


async def find_all(uow: UnitOfWork, actor: Actor) -> Sequence[tuple[Account, Mission]]:
    """The accounts the actor sees, by mission and handle."""
    query = (
        select(Account, Mission)
        .join(Mission, col(Mission.id) == col(Account.mission_id))
        .where(
            col(Account.state) != "removed",
            in_scope(actor, Permission.READ),
        )
        .order_by(col(Mission.path), col(Account.code))
    )
    return (await uow.session.execute(query)).all()


async def get_all(uow: UnitOfWork, ids: Iterable[UUID]) -> dict[UUID, Account]:
    found = await uow.session.scalars(select(Account).where(col(Account.id).in_(ids)))
    return {each.id: each for each in found}


async def find_by_codes(uow: UnitOfWork, codes: Sequence[str]) -> Sequence[Account]:
    query = select(Account).where(col(Account.code).in_(codes), col(Account.state) != "removed")
    return (await uow.session.scalars(query)).all()


async def find_sealed(
    uow: UnitOfWork, account_id: UUID, kind: str, *, lock: bool = False
) -> tuple[SealedToken, DataKey] | None:
    return (await find_all_sealed(uow, [account_id], lock=lock)).get((account_id, kind))


async def find_all_sealed(
    uow: UnitOfWork, account_ids: Iterable[UUID], *, lock: bool = False
) -> dict[tuple[UUID, str], tuple[SealedToken, DataKey]]:
    """Every sealed secret of the accounts, by account and kind."""
    query = (
        select(SealedToken, DataKey)
        .join(DataKey, col(DataKey.id) == col(SealedToken.data_key_id))
        .where(col(SealedToken.account_id).in_(account_ids))
    )
    if lock:
        query = query.with_for_update(of=SealedToken)
        query = query.execution_options(populate_existing=True)
    rows = await uow.session.execute(query)
    return {(token.account_id, token.kind): (token, key) for token, key in rows}


async def find_data_keys(uow: UnitOfWork) -> Sequence[DataKey]:
    return (await uow.session.scalars(select(DataKey).order_by(col(DataKey.id)))).all()
