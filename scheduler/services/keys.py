"""The key that wraps every data key: its versions, and the data keys that still need each."""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select
from sqlmodel import col

from scheduler.audit.actions import Action
from scheduler.canonical import JsonObject
from scheduler.db.tables import DataKey
from scheduler.db.uow import UnitOfWork
from scheduler.errors import ConflictError
from scheduler.services import secrets
from scheduler.services.kit import Kit
from scheduler.vault.keyfile import KeyRing

BATCH: Final = 100
_SUBJECT: Final = {"t": "key", "id": "kek"}


class KeyVersionInUseError(ConflictError):
    """Data keys are still wrapped with the version: to destroy it would lose their accounts' secrets."""

    code = "key_version_in_use"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatus:
    """A version of the key, and how many data keys only it can unwrap."""

    version: int
    state: str
    data_keys: int


async def find_status(uow: UnitOfWork, ring: KeyRing) -> list[KeyStatus]:
    """Every version there ever was, in ascending order."""
    query = select(col(DataKey.kek_version), func.count()).group_by(col(DataKey.kek_version))
    counts = {row[0]: row[1] for row in await uow.session.execute(query)}
    return [
        KeyStatus(version=version, state=state.value, data_keys=counts.get(version, 0))
        for version, state in ring.versions.items()
    ]


async def count_outdated(uow: UnitOfWork, ring: KeyRing) -> int:
    """How many data keys are wrapped with another version than the current one."""
    query = select(func.count()).where(col(DataKey.kek_version) != ring.current_version)
    return (await uow.session.execute(query)).scalar_one()


def rotate(uow: UnitOfWork, ring: KeyRing) -> int:
    """Make a new version current and answer its number; the file is written before the record commits."""
    version = ring.add_version()
    uow.record(Action.KEY_ROTATE, _SUBJECT, detail={"version": version})
    return version


async def rewrap(uow: UnitOfWork, kit: Kit) -> int:
    """Wrap up to `BATCH` data keys with the current version; answers how many, 0 when all are done.

    Raises:
        TokenUnavailableError: one of them cannot be unwrapped with the key file; nothing was changed.
    """
    current = kit.ring.current_version
    query = (
        select(DataKey)
        .where(col(DataKey.kek_version) != current)
        .order_by(col(DataKey.id))
        .limit(BATCH)
        .with_for_update()
    )
    rows = (await uow.session.scalars(query)).all()
    for row in rows:
        wrapped = kit.vault.rewrap(secrets.wrapped_key(row))
        row.kek_uri, row.kek_version, row.wrapped = (
            wrapped.kek_uri,
            wrapped.kek_version,
            wrapped.blob,
        )
    if rows:
        detail: JsonObject = {"version": current, "data_keys": [row.id for row in rows]}
        uow.record(Action.KEY_REWRAP, _SUBJECT, detail=detail)
    return len(rows)


async def retire(uow: UnitOfWork, ring: KeyRing, version: int) -> None:
    """Destroy a previous version that no data key needs.

    Raises:
        KeyVersionInUseError: data keys are still wrapped with it.
        KeyVersionError: it is the current one, is retired already, or never was.
    """
    query = select(func.count()).where(col(DataKey.kek_version) == version)
    count = (await uow.session.execute(query)).scalar_one()
    if count:
        raise KeyVersionInUseError(
            f"{count} data keys are wrapped with version {version}; run `chancery keys rewrap` first"
        )
    ring.retire(version)
    uow.record(Action.KEY_RETIRE, _SUBJECT, detail={"version": version})
