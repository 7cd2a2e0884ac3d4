"""Sealed secrets of accounts: from the row to the adapter's credentials and back, never anywhere else."""

from collections.abc import Iterable

from sqlmodel import col, select

from adapters.base import Credentials
from scheduler.audit.actions import Action
from scheduler.db import accounts
from scheduler.db.tables import Account, DataKey, SealedToken
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor
from scheduler.ids import new_id
from scheduler.services.kit import Kit
from scheduler.vault.envelope import Context, WrappedKey, is_older


async def seal(
    uow: UnitOfWork, kit: Kit, account: Account, kind: str, secret: str, *, actor: Actor | None
) -> None:
    """Seal a `secret` or `session` for the account; an older one of the kind is overwritten.

    Raises:
        ValueError: nothing to seal: an empty answer never overwrites a good sign-in.
    """
    if not secret:
        raise ValueError(f"an empty {kind} is not sealed")
    found = await accounts.lock_sealed(uow, account.id, kind)
    if found is None:
        key = await _data_key(uow, kit, account)
        row = SealedToken(
            id=new_id(),
            account_id=account.id,
            kind=kind,
            generation=1,
            data_key_id=_key_id(key),
            blob=b"",
            updated_at=uow.now,
        )
    else:
        row, key = found
        row.generation += 1
        row.updated_at = uow.now
    row.blob = kit.vault.seal(secret, wrapped_key(key), _context(row, account))
    uow.session.add(row)
    uow.record(
        Action.TOKEN_SEAL if row.generation == 1 else Action.TOKEN_ROTATE,
        {"t": "account", "id": str(account.id)},
        actor=actor,
        detail={"kind": kind, "gen": row.generation, "key": _key_id(key)},
    )


async def seal_anew(uow: UnitOfWork, kit: Kit, account: Account) -> None:
    """Seal the account's secrets of the older format for the server, profile and login name of its row."""
    for row, key in (await accounts.find_all_sealed(uow, [account.id]))[account.id]:
        if is_older(row.blob):
            secret = kit.vault.open_older(row.blob, wrapped_key(key), _context(row, account))
            await seal(uow, kit, account, row.kind, secret, actor=None)


async def open_credentials(uow: UnitOfWork, kit: Kit, account: Account) -> Credentials:
    """Open what the adapter needs to act for the account.

    Raises:
        TokenUnavailableError: another row's seal, an account that was changed by hand, or no key for it.
    """
    return open_found(kit, account, (await accounts.find_all_sealed(uow, [account.id]))[account.id])


def open_found(
    kit: Kit, account: Account, found: Iterable[tuple[SealedToken, DataKey]]
) -> Credentials:
    """The same, from the account's own of `accounts.find_all_sealed`."""
    opened = {
        row.kind: kit.vault.open(row.blob, wrapped_key(key), _context(row, account))
        for row, key in found
    }
    return Credentials(
        base_url=account.base_url,
        external_id=account.external_id,
        identifier=account.identifier,
        secret=opened.get("secret", ""),
        session=opened.get("session"),
    )


async def shred(uow: UnitOfWork, account: Account) -> None:
    """Destroy the account's data key and tokens: no copy of this database opens them any more."""
    tokens = await uow.session.scalars(
        select(SealedToken).where(col(SealedToken.account_id) == account.id)
    )
    for token in tokens:
        await uow.session.delete(token)
    await uow.session.flush()
    keys = await uow.session.scalars(select(DataKey).where(col(DataKey.subject) == str(account.id)))
    for key in keys:
        await uow.session.delete(key)


async def _data_key(uow: UnitOfWork, kit: Kit, account: Account) -> DataKey:
    query = select(DataKey).where(col(DataKey.subject) == str(account.id))
    key = (await uow.session.scalars(query)).one_or_none()
    if key is not None:
        return key
    key = DataKey(
        purpose="token",
        subject=str(account.id),
        kek_uri="",
        kek_version=0,
        wrapped=b"",
        created_at=uow.now,
    )
    uow.session.add(key)
    await uow.session.flush()  # the id is bound into the wrapping
    wrapped = kit.vault.new_dek(_key_id(key), key.purpose, key.subject)
    key.kek_uri, key.kek_version, key.wrapped = (
        wrapped.kek_uri,
        wrapped.kek_version,
        wrapped.blob,
    )
    return key


def wrapped_key(key: DataKey) -> WrappedKey:
    return WrappedKey(
        dek_id=_key_id(key),
        purpose=key.purpose,
        subject=key.subject,
        kek_uri=key.kek_uri,
        kek_version=key.kek_version,
        blob=key.wrapped,
    )


def _key_id(key: DataKey) -> int:
    if key.id is None:
        raise ValueError("the data key has not been stored yet")
    return key.id


def _context(row: SealedToken, account: Account) -> Context:
    return Context(
        table="sealed_token",
        row=str(row.id),
        account=str(account.id),
        platform=account.platform,
        server=account.base_url,
        external=account.external_id,
        login=account.identifier,
        kind=row.kind,
        generation=row.generation,
    )
