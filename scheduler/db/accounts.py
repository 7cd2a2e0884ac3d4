"""Queries on accounts and their sealed secrets."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col

from scheduler.db import rows
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
    """The accounts by id; only to be read."""
    found = await rows.find(uow, Account, rows.among(col(Account.id), ids))
    return {each.id: each for each in found}


async def find_by_codes(uow: UnitOfWork, codes: Iterable[str]) -> Sequence[tuple[Account, Mission]]:
    """Those of the accounts that there are, each with the mission it is of."""
    query = (
        select(Account, Mission)
        .join(Mission, col(Mission.id) == col(Account.mission_id))
        .where(col(Account.code).in_(codes), col(Account.state) != "removed")
    )
    return (await uow.session.execute(query)).all()


async def lock_sealed(
    uow: UnitOfWork, account_id: UUID, kind: str
) -> tuple[SealedToken, DataKey] | None:
    """The account's sealed secret of this kind; to be changed."""
    query = (
        select(SealedToken, DataKey)
        .join(DataKey, col(DataKey.id) == col(SealedToken.data_key_id))
        .where(col(SealedToken.account_id) == account_id, col(SealedToken.kind) == kind)
        .with_for_update(of=SealedToken)
        .execution_options(populate_existing=True)
    )
    row = (await uow.session.execute(query)).one_or_none()
    return None if row is None else (row[0], row[1])


async def find_all_sealed(
    uow: UnitOfWork, account_ids: Iterable[UUID]
) -> dict[UUID, list[tuple[SealedToken, DataKey]]]:
    """Every sealed secret by account, with its key; only to be read."""
    wanted = rows.among(col(SealedToken.account_id), account_ids)
    tokens = await rows.find(uow, SealedToken, wanted)
    of_tokens = col(DataKey.id).in_(select(col(SealedToken.data_key_id)).where(wanted))
    keys = {key.id: key for key in await rows.find(uow, DataKey, of_tokens)}
    found: dict[UUID, list[tuple[SealedToken, DataKey]]] = defaultdict(list)
    for token in tokens:
        found[token.account_id].append((token, keys[token.data_key_id]))
    return found


async def find_data_keys(uow: UnitOfWork) -> Sequence[DataKey]:
    return (await uow.session.scalars(select(DataKey).order_by(col(DataKey.id)))).all()
