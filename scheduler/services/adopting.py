"""An installation of an older release: its rows are believed once, sealed and put on record, its tokens sealed anew."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlmodel import col

from scheduler.audit.actions import Action
from scheduler.db import log, missions
from scheduler.db.seals import RULES, name_of
from scheduler.db.tables import Account, Approval, AuditLeaf, Base
from scheduler.db.uow import UnitOfWork
from scheduler.services import secrets
from scheduler.services.kit import Kit

_SUBJECT: Final = {"t": "installation", "id": "rows"}
_ROWS_A_RECORD: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    rows: int
    doubted: tuple[
        str, ...
    ]  #: accounts that are not what their record says: their tokens stay closed


async def adopt(uow: UnitOfWork, kit: Kit) -> Adopted | None:
    """Seal every row as it stands, once in an installation's life; later only what has no seal of its own yet."""
    if await _has_seals(uow):
        return await _adopt_approvals(uow)
    rows: list[Base] = []
    for table in RULES:
        rows += (await uow.session.scalars(select(table).with_for_update())).all()
    for batch in _batches(rows):
        detail: dict[str, Any] = {name_of(row): [None, uow.seals.digest(row)] for row in batch}
        uow.record(Action.ROWS_SEAL, _SUBJECT, detail={"rows": detail})
    for row in rows:
        if hasattr(row, "seal"):
            row.seal = uow.seals.digest(row)
    accounts = [row for row in rows if isinstance(row, Account)]
    doubted = [each.code for each in accounts if not await _seal_tokens(uow, kit, each)]
    return Adopted(rows=len(rows), doubted=tuple(doubted))


async def _adopt_approvals(uow: UnitOfWork) -> Adopted | None:
    """Seal the approvals of the release before, each if it is what its record says; None where there are none."""
    found = (
        await uow.session.scalars(
            select(Approval).where(col(Approval.seal) == "").order_by(col(Approval.id))
        )
    ).all()
    rows, unknown = [], []
    for each in found:
        told = await _read(uow, str(each.post_id))
        if any(_is_decision(rec, each) for rec in told):
            rows.append(each)
            if not any(name_of(each) in rec["d"].get("rows", {}) for rec in told):
                unknown.append(each)
    if not rows:
        return None
    for batch in _batches(unknown) if unknown else ():
        detail: dict[str, Any] = {name_of(row): [None, uow.seals.digest(row)] for row in batch}
        uow.record(Action.ROWS_SEAL, _SUBJECT, detail={"rows": detail})
    for row in rows:
        row.seal = uow.seals.digest(row)
    return Adopted(rows=len(rows), doubted=())


def _is_decision(rec: dict[str, Any], approval: Approval) -> bool:
    """Whether the record says what the row says."""
    recorded = (rec["act"], rec["d"].get("approval"), rec["d"].get("digest"), rec["by"].get("p"))
    person, own = str(approval.person_id), str(approval.id)
    stands = (Action.POST_APPROVE, own, approval.digest, person)
    return recorded == stands and rec["on"].get("rev") == approval.revision


async def believe(uow: UnitOfWork) -> Sequence[str]:
    """Seal the rows whose seals are broken, as they stand, and answer their names.

    The record keeps what each is now: one that was not so by its last record stays named by every verification.
    """
    rows: list[Base] = []
    for table in RULES:
        found = (await uow.session.scalars(select(table).with_for_update())).all()
        rows += [row for row in found if hasattr(row, "seal") and not uow.seals.holds(row)]
    for batch in _batches(rows) if rows else ():
        detail: dict[str, Any] = {name_of(row): [uow.seals.digest(row)] * 2 for row in batch}
        uow.record(Action.ROWS_SEAL, _SUBJECT, detail={"rows": detail})
    for row in rows:
        row.seal = uow.seals.digest(row)
    return [name_of(row) for row in rows]


async def _seal_tokens(uow: UnitOfWork, kit: Kit, account: Account) -> bool:
    """Seal the account's tokens anew, unless the account may have been changed by hand."""
    if account.state != "removed" and not await _is_as_recorded(uow, account):
        return False
    await secrets.seal_anew(uow, kit, account)
    return True


def _batches(rows: Sequence[Base]) -> Iterator[Sequence[Base]]:
    """At least one, so that even an empty installation is sealed from then on."""
    for start in range(0, max(len(rows), 1), _ROWS_A_RECORD):
        yield rows[start : start + _ROWS_A_RECORD]


async def _has_seals(uow: UnitOfWork) -> bool:
    if await _find(uow, _SUBJECT["id"], Action.ROWS_SEAL) is not None:
        return True
    root = await missions.find_root(uow)
    begun = None if root is None else await _find(uow, str(root.id), Action.INSTALLATION_INIT)
    return root is None or bool(begun and begun.get("seals"))


async def _is_as_recorded(uow: UnitOfWork, account: Account) -> bool:
    told = await _find(uow, str(account.id), Action.ACCOUNT_ADD)
    return told is not None and (told["server"], told["external"], told["platform"]) == (
        account.base_url,
        account.external_id,
        account.platform,
    )


async def _find(uow: UnitOfWork, subject: str, action: Action) -> dict[str, Any] | None:
    """The detail of the first such record."""
    for rec in await _read(uow, subject):
        if rec["act"] == action:
            detail: dict[str, Any] = rec["d"]
            return detail
    return None


async def _read(uow: UnitOfWork, subject: str) -> list[dict[str, Any]]:
    """The records of a subject, sealed in the log or not yet."""
    query = select(AuditLeaf).where(col(AuditLeaf.subject) == subject).order_by(col(AuditLeaf.seq))
    lines = [json.loads(leaf.line)["rec"] for leaf in await uow.session.scalars(query)]
    lines += [json.loads(row.body) for row in await log.find_unsealed(uow, limit=None)]
    return [rec for rec in lines if rec["on"]["id"] == subject]
