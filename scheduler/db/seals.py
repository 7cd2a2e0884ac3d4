"""Seals of rows: a keyed digest of what a row decides, so that whoever writes to the database alone is found out.

Every change puts `rows` into the detail of a record of its transaction: for each row `[before, after]`. The chain of
these digests says what a row has to be today, and that nobody changed it between two records. Where a row gives power,
its newest digest also stands in its `seal` column and is checked when the row is used. The key is derived from the key
file; as the digests are keyed, a record tells nothing of the persons whose rows it names.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import event, inspect
from sqlalchemy.orm import Session
from sqlalchemy.orm.base import NO_VALUE

from scheduler.clock import iso
from scheduler.db.tables import (
    Account,
    ApiToken,
    Approval,
    Attempt,
    Base,
    Campaign,
    Comment,
    DataKey,
    Delivery,
    Enrolment,
    Grant,
    Media,
    Mission,
    Occurrence,
    Person,
    PolicyProposal,
    PolicyVersion,
    Post,
    PostEditor,
    Posture,
    SealedToken,
    Series,
)

_LABEL: Final = b"chancery/row/v1\0"
_DIGEST_SIZE: Final = 32  #: hex digits: 128 bits
_SEALS: Final = "seals"
_TOUCHED: Final = "touched"
_NOTED: Final = "noted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What of a table's rows is sealed, and whose record tells of it: a record on `kind` with the id in `owner`."""

    columns: tuple[str, ...]
    kind: str
    owner: str = "id"


def _rule(
    table: type[Base],
    *,
    only: Iterable[str] = (),
    without: Iterable[str] = (),
    kind: str | None = None,
    owner: str = "id",
) -> Rule:
    names = list(only) or [each.key for each in inspect(table).columns]
    left_out = {"seal", *without}
    columns = tuple(sorted(name for name in names if name not in left_out))
    return Rule(columns=columns, kind=kind or str(table.__tablename__), owner=owner)


#: What is not here decides nothing (leases), or is compared in another way: states, texts.
RULES: Final[Mapping[type[Base], Rule]] = {
    Mission: _rule(Mission),
    Person: _rule(Person),
    Grant: _rule(Grant),
    Enrolment: _rule(Enrolment, kind="person", owner="person_id"),
    ApiToken: _rule(ApiToken, kind="token"),
    Account: _rule(
        Account,
        only=(
            "id",
            "mission_id",
            "code",
            "platform",
            "base_url",
            "identifier",
            "external_id",
            "language",
            "state",
        ),
    ),
    DataKey: _rule(DataKey, kind="key"),
    SealedToken: _rule(SealedToken, kind="account", owner="account_id"),
    Media: _rule(Media, owner="sha256"),
    Campaign: _rule(Campaign),
    Posture: _rule(Posture),
    Series: _rule(Series),
    Occurrence: _rule(Occurrence, kind="post", owner="post_id"),
    PolicyVersion: _rule(PolicyVersion, kind="policy"),
    PolicyProposal: _rule(PolicyProposal, kind="policy"),
    Post: _rule(Post, without=("state", "updated_at")),
    PostEditor: _rule(PostEditor, kind="post", owner="post_id"),
    Approval: _rule(Approval, kind="post", owner="post_id"),
    Comment: _rule(Comment, kind="post", owner="post_id"),
    Delivery: _rule(
        Delivery,
        only=(
            "id",
            "post_id",
            "account_id",
            "language",
            "due_at",
            "late_at",
            "expires_at",
            "attempts",
            "next_part",
            "progress",
            "remote_id",
            "remote_url",
            "sent_at",
        ),
    ),
    Attempt: _rule(
        Attempt, without=("request", "account_id"), kind="delivery", owner="delivery_id"
    ),
}
#: Columns that came later stand in a digest only where they say something else than before: older digests stay true.
_LATER: Final[Mapping[type[Base], Mapping[str, object]]] = {
    Grant: {"office": ""},
    Post: dict.fromkeys(
        ("campaign_id", "facts", "accepted", "submitted_at", "answer_by", "import_ref")
    ),
    Posture: {"campaign_id": None},
    Approval: {"mode": "approve", "reason": ""},
}
#: Rows of these are changed by who has locked them: what is in memory is what is in the database.
_LOCKED: Final = (Post, Delivery, Attempt)
#: Of these columns only a part is sealed; the rest may change without a record.
_PARTS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "progress": lambda progress: progress.get("parts", []),
    "evidence": lambda evidence: {
        key: value for key, value in evidence.items() if key != "late_answer"
    },
}


def name_of(row: Base) -> str:
    """How records and mismatches name the row, such as `grant:0193…`."""
    table = inspect(type(row))
    key = "/".join(str(getattr(row, column.key)) for column in table.primary_key)
    return f"{table.local_table.name}:{key}"


def _plain(value: object) -> object:
    match value:
        case datetime():
            return iso(value)
        case UUID():
            return str(value)
        case bytes():
            return hashlib.sha256(value).hexdigest()
        case _:
            raise TypeError(f"{type(value).__name__} cannot be sealed")


_OPTIONS: Final = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME


class RowSeals:
    """Digests of rows under the installation's key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def digest(self, row: Base) -> str:
        """What the row is now."""
        return self._digest(type(row), {name: getattr(row, name) for name in _columns(row)})

    def digest_before(self, row: Base) -> str:
        """What the row was when it was read, whatever has been changed on it since."""
        read = inspect(row).committed_state
        values = {name: read.get(name, NO_VALUE) for name in _columns(row)}
        for name, value in values.items():
            if value is NO_VALUE:
                values[name] = getattr(row, name)
        return self._digest(type(row), values)

    def digest_of(self, table: type[Base], row: object, values: Mapping[str, Any]) -> str:
        """What a row of the table is with these values, and otherwise as it was read."""
        names = RULES[table].columns
        told = {name: values[name] if name in values else getattr(row, name) for name in names}
        return self._digest(table, told)

    def holds(self, row: Base) -> bool:
        """Whether the seal on the row is ours: nobody else changed it, or put it there."""
        return hmac.compare_digest(str(getattr(row, "seal", "")), self.digest(row))

    def _digest(self, table: type[Base], values: dict[str, Any]) -> str:
        for name in _PARTS.keys() & values.keys():
            values[name] = _PARTS[name](values[name])
        for name, before in _LATER.get(table, {}).items():
            if values[name] == before:
                del values[name]
        try:
            told = orjson.dumps([table.__tablename__, values], default=_plain, option=_OPTIONS)
        except orjson.JSONEncodeError as exc:
            raise ValueError(f"a row cannot be sealed: {exc.__cause__ or exc}") from exc
        return hmac.digest(self._key, _LABEL + told, "sha256").hex()[:_DIGEST_SIZE]


def _columns(row: Base) -> tuple[str, ...]:
    return RULES[type(row)].columns


@dataclass(frozen=True, slots=True)
class Touched:
    """A row that this transaction changes; `before` is None when it makes it."""

    row: Base
    before: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a transaction has made of a row, and the subject whose record tells of it."""

    name: str
    kind: str
    owner: str
    digests: tuple[str | None, str | None] = field(default=(None, None))


class SealingSession(Session):
    """Seals rows as they are written, and remembers which; given `info=sealing(…)`."""


def sealing(seals: RowSeals) -> dict[Any, Any]:
    return {_SEALS: seals}


def touch(session: Session, row: Base) -> None:
    """Remember a row that a statement of its own is about to change; the others are found by themselves."""
    seals: RowSeals = session.info[_SEALS]
    _touched(session).setdefault(id(row), Touched(row, seals.digest_before(row)))


def note(
    session: Session, table: type[Base], row: object | None, values: Mapping[str, Any]
) -> None:
    """Remember that a statement changes a row that was only read, or makes one when there is none."""
    seals: RowSeals = session.info[_SEALS]
    key = values["id"] if row is None else row.id  # type: ignore[attr-defined]
    rule, name = RULES[table], f"{table.__tablename__}:{key}"
    owner = values[rule.owner] if rule.owner in values else getattr(row, rule.owner)
    after = seals.digest_of(table, row, values)
    noted = _noted(session)
    if name in noted:
        noted[name] = replace(noted[name], digests=(noted[name].digests[0], after))
        return
    before = None if row is None else seals.digest_of(table, row, {})
    noted[name] = Change(name=name, kind=rule.kind, owner=str(owner), digests=(before, after))


def find_stale(session: Session) -> list[Base]:
    """Touched rows that have to be read again, because another transaction may have changed them beside this one."""
    changed = [each.row for each in _touched(session).values() if each.before is not None]
    return [
        row
        for row in changed
        if not _is_gone(row) and (not isinstance(row, _LOCKED) or inspect(row).expired_attributes)
    ]


def find_changes(session: Session) -> Iterator[Change]:
    """What the transaction, which is written but for its records, has made of the rows it touched."""
    seals: RowSeals = session.info[_SEALS]
    for each in _touched(session).values():
        after = None if _is_gone(each.row) else seals.digest(each.row)
        if after != each.before:
            rule = RULES[type(each.row)]
            yield Change(
                name=name_of(each.row),
                kind=rule.kind,
                owner=str(getattr(each.row, rule.owner)),
                digests=(each.before, after),
            )
    for change in _noted(session).values():
        if change.digests[0] != change.digests[1]:
            yield change


def _is_gone(row: Base) -> bool:
    state = inspect(row)
    return bool(state.deleted or state.was_deleted)


def _noted(session: Session) -> dict[str, Change]:
    found: dict[str, Change] = session.info.setdefault(_NOTED, {})
    return found


def _touched(session: Session) -> dict[int, Touched]:
    found: dict[int, Touched] = session.info.setdefault(_TOUCHED, {})
    return found


@event.listens_for(SealingSession, "before_flush")
def _seal(session: Session, *_: object) -> None:
    seals: RowSeals = session.info[_SEALS]
    touched = _touched(session)
    for row in session.new:
        if type(row) in RULES:
            touched.setdefault(id(row), Touched(row, None))
            if hasattr(row, "seal"):
                row.seal = seals.digest(row)
    for row in session.dirty:
        if type(row) in RULES and session.is_modified(row):
            _seal_again(seals, touched, row)
    for row in session.deleted:
        if type(row) in RULES:
            touched.setdefault(id(row), Touched(row, seals.digest_before(row)))


def _seal_again(seals: RowSeals, touched: dict[int, Touched], row: Any) -> None:  # noqa: ANN401 - any of RULES
    """A row whose seal was broken keeps it broken: a lawful change must not cover up an unlawful one."""
    before = seals.digest_before(row)
    touched.setdefault(id(row), Touched(row, before))
    if hasattr(row, "seal") and hmac.compare_digest(row.seal, before):
        row.seal = seals.digest(row)
