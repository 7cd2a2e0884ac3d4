"""The unit of work: one request, command or step is one transaction with one `now`, its audit records and their alerts.

`commit` stands here and nowhere else. Jobs are sent after the commit; a lost one does no harm, because the sweep finds
what is due in the database.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from scheduler.audit.actions import Action
from scheduler.audit.keys import InstanceKey
from scheduler.audit.record import Record, add_rows, build, seal_transaction
from scheduler.canonical import JsonObject, JsonValue
from scheduler.clock import monotonic_s
from scheduler.db import bulk, seals
from scheduler.db.engine import READ_ONLY, database_now
from scheduler.db.outbox import build_event
from scheduler.db.seals import RowSeals, SealingSession
from scheduler.db.tables import AuditOutbox, Base
from scheduler.domain.people import Actor
from scheduler.errors import UnavailableError
from scheduler.ids import new_id
from scheduler.logs import log_record


class DatabaseUnavailableError(UnavailableError):
    """The database did not answer, refused the write, or its disk is full; nothing was changed."""

    code = "database_unavailable"


class Wake(Protocol):
    """Ring for the lane of an account; never raises, because the sweep covers a lost ring."""

    async def __call__(self, account_id: UUID, due_at: datetime) -> None: ...


@dataclass(slots=True)
class UnitOfWork:
    """An open transaction; `now` is the database's clock when it began."""

    session: AsyncSession
    now: datetime
    service: str  #: which process acts: `web`, `worker`, `cli`
    seals: RowSeals
    asked_at_s: float  #: this host's monotonic time, not after `now`: what must be over by then counts from here
    read_at_s: float = field(default_factory=monotonic_s)  #: and not before `now`
    records: list[Record] = field(default_factory=list)
    wakes: dict[UUID, datetime] = field(default_factory=dict)
    due: dict[str, datetime] = field(default_factory=dict)  #: by subject, for the log's durations

    def record(
        self,
        action: Action,
        on: JsonObject,
        *,
        actor: Actor | None = None,
        detail: JsonObject | None = None,
        refused: bool = False,
    ) -> None:
        """Put one audit record into this transaction: no change without it, and none without the change."""
        by: dict[str, JsonValue] = {"via": self.service}
        if actor is not None:
            by = {"p": str(actor.person_id), "via": actor.via}
            if actor.token_id is not None:
                by["tok"] = str(actor.token_id)
        self.records.append(
            build(
                record_id=str(new_id()),
                at=self.now,
                action=action,
                by=by,
                on=on,
                detail=detail or {},
                result="denied" if refused else "ok",
            )
        )

    def wake(self, account_id: UUID, due_at: datetime) -> None:
        """Ring for the account's lane once this unit has committed."""
        earlier = self.wakes.get(account_id, due_at)
        self.wakes[account_id] = min(earlier, due_at)

    def touch(self, row: Base) -> None:
        """Say that a statement is about to change the row: what is changed on the row itself is noticed."""
        seals.touch(self.session.sync_session, row)

    def note(self, table: type[Base], row: object | None, values: Mapping[str, Any]) -> None:
        """Say that a statement changes a row that was only read, or makes one when `row` is None."""
        seals.note(self.session.sync_session, table, row, values)

    async def tick(self) -> datetime:
        """Read the database's clock again, after a wait for a lock."""
        self.asked_at_s = monotonic_s()
        self.now = (await self.session.execute(_NOW)).scalar_one()
        self.read_at_s = monotonic_s()
        return self.now


_NOW: Final = select(database_now())


async def _no_wake(account_id: UUID, due_at: datetime) -> None:
    """Without a queue the sweep finds everything, at most a second later."""


@dataclass(slots=True)
class UnitOfWorkFactory:
    """Opens units of work on one engine; `service` names the process in the records."""

    engine: AsyncEngine
    instance: InstanceKey
    service: str
    version: str
    seals: RowSeals
    ring: Wake = _no_wake
    _write_gate: asyncio.Lock = field(default_factory=asyncio.Lock)
    _open: async_sessionmaker[AsyncSession] = field(init=False)
    _open_to_read: async_sessionmaker[AsyncSession] = field(init=False)

    def __post_init__(self) -> None:
        reading = self.engine.execution_options(**{READ_ONLY: True})
        if self.engine.dialect.name == "postgresql":  # one snapshot, as SQLite's WAL gives
            reading = reading.execution_options(isolation_level="REPEATABLE READ")
        self._open = self._opener(self.engine)
        self._open_to_read = self._opener(reading)

    def _opener(self, engine: AsyncEngine) -> async_sessionmaker[AsyncSession]:
        return async_sessionmaker(
            engine,
            expire_on_commit=False,
            sync_session_class=SealingSession,
            info=seals.sealing(self.seals),
        )

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[UnitOfWork]:
        """Open a writing unit; it commits at the end of the block or leaves no trace.

        Raises:
            DatabaseUnavailableError: the database is away, busy beyond its time, or its disk is full.
        """
        with _refusals():
            async with self._turn(), self._open() as session, session.begin():
                asked_at_s = monotonic_s()
                now = await _clock(session)
                uow = UnitOfWork(session, now, self.service, self.seals, asked_at_s)
                yield uow
                await self._write_records(uow)
        self._log_records(uow)
        for account_id, due_at in uow.wakes.items():
            await self.ring(account_id, due_at)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[UnitOfWork]:
        """Open a unit that only reads; what it would write is rolled back."""
        with _refusals():
            async with self._open_to_read() as session:
                asked_at_s = monotonic_s()
                now = await _clock(session)
                uow = UnitOfWork(session, now, self.service, self.seals, asked_at_s)
                if self.engine.dialect.name == "postgresql":  # a reader holds nobody up
                    await session.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
                yield uow
                session.expunge_all()  # rows stay readable after the end

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """On SQLite writers of one process take turns here, which is fair, instead of in SQLite's busy loop."""
        if self.engine.dialect.name != "sqlite":
            yield
            return
        async with self._write_gate:
            yield

    async def _write_records(self, uow: UnitOfWork) -> None:
        if not uow.records:
            return
        events = (build_event(record.members, uow.now) for record in uow.records)
        uow.session.add_all(event for event in events if event is not None)
        await uow.session.flush()
        records = await _with_rows(uow)
        bodies = seal_transaction(
            records, self.instance, service=self.service, version=self.version
        )
        values = [{"body": body} for body in bodies]
        await bulk.insert(uow.session, AuditOutbox, values)  # in one go, and in this order

    def _log_records(self, uow: UnitOfWork) -> None:
        """One event for each change, once it is committed: what was rolled back never was."""
        if self.service == "cli":
            return  # the operator is looking at the command's own words, and the record keeps the change
        took_s = monotonic_s() - uow.asked_at_s
        with suppress(OSError):  # a log that cannot be written does not undo a commit
            for record in uow.records:
                log_record(record.members, now=uow.now, due=uow.due, took_s=took_s)


async def _with_rows(uow: UnitOfWork) -> list[Record]:
    """The records, each with the digests of the rows that it tells of; the last one has those without a subject."""
    for row in seals.find_stale(uow.session.sync_session):
        await uow.session.refresh(row)
    last = len(uow.records) - 1
    places = {record.subject: index for index, record in enumerate(uow.records)}
    rows: dict[int, dict[str, JsonValue]] = defaultdict(dict)
    for change in seals.find_changes(uow.session.sync_session):
        of_record = rows[places.get((change.kind, change.owner), last)]
        if change.name in of_record:
            raise RuntimeError(f"{change.name} was changed as an object and as a row")
        of_record[change.name] = change.digests
    return [
        add_rows(record, rows[index]) if index in rows else record
        for index, record in enumerate(uow.records)
    ]


async def _clock(session: AsyncSession) -> datetime:
    try:
        return (await session.execute(_NOW)).scalar_one()
    except OSError as exc:  # asyncpg's own, when nobody listens there
        raise DatabaseUnavailableError("the database does not answer") from exc


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn the driver's operational errors into one refusal; integrity and programming errors pass."""
    try:
        yield
    except PoolTimeoutError as exc:
        raise DatabaseUnavailableError("the database is too busy") from exc
    except DBAPIError as exc:
        away = isinstance(exc, OperationalError | InterfaceError | InternalError)
        if away or type(exc) is DBAPIError:
            raise DatabaseUnavailableError(f"the database refused: {exc.orig}") from exc
        raise
