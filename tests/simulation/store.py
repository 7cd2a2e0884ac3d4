"""One SQLite file in memory, its sessions, its single writer, and what every commit has changed.

The image is a founded ministry with scheduled posts. A run begins by copying the image's rows back, and each commit is
compared with the rows before it: points of the fault grid and invariants are found there, not in what the engine says.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tests.simulation.loop import OUTSIDE, PROCESS, Process

_BUSY_S = 10.0  #: as `busy_timeout` of production
_COLUMNS = (
    "id, post_id, account_id, state, fence, worker, lease_until, wake_at, late_at, expires_at,"
    " attempts, next_part, progress, reason, remote_id, due_at, payload"
)


@dataclass(slots=True)
class Session:
    """One connection to the file; the pool keeps it from run to run."""

    store: "Store"
    raw: sqlite3.Connection
    process: Process = OUTSIDE
    writing: bool = False
    broken: str = ""  #: why the server has ended the transaction
    begun_s: float = 0.0
    changes: int = 0
    statements: list[tuple[str, str, Any]] = field(default_factory=list)  #: of the open transaction


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit does to one delivery."""

    before: sqlite3.Row
    after: sqlite3.Row

    @property
    def moves(self) -> bool:
        return bool(self.before["state"] != self.after["state"])


@dataclass(slots=True)
class Facts:
    """What a transaction changes, seen from inside it right before the commit."""

    process: Process
    changes: list[Change]
    records: list[bytes]  #: bodies new in the outbox
    size: int  #: of the log

    def enters(self, state: str) -> list[Change]:
        return [each for each in self.changes if each.moves and each.after["state"] == state]


class Watcher(Protocol):
    """The run: it is asked before and told after everything the database does."""

    async def before_statement(self, session: Session, sql: str) -> str: ...
    async def before_commit(self, session: Session, facts: Facts) -> bool: ...
    async def after_commit(self, session: Session, facts: Facts) -> None: ...


class Store:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "chancery.db"
        self.watcher: Watcher | None = None
        self.over = False
        self.sessions: list[Session] = []
        self.writer: Session | None = None
        self.waiting: list[asyncio.Future[None]] = []
        self.deliveries: dict[str, sqlite3.Row] = {}
        self.size = 0
        self.last_record = 0
        self._monitor: sqlite3.Connection | None = None

    @property
    def in_run(self) -> bool:
        return self.watcher is not None

    def open(self) -> Session:
        raw = sqlite3.connect(self.path, check_same_thread=False, cached_statements=512)
        session = Session(self, raw)
        self.sessions.append(session)
        return session

    def close(self, session: Session) -> None:
        self.rollback(session)
        session.raw.close()
        self.sessions.remove(session)

    # The image

    def keep_image(self, name: str) -> None:
        """Remember every row as it stands now."""
        raw = self.monitor
        for table in self._tables():
            raw.execute(f'CREATE TABLE images."{name}_{table}" AS SELECT * FROM main."{table}"')

    def _tables(self) -> list[str]:
        names = self.monitor.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")
        return [name for (name,) in names if not name.startswith("sqlite_")]

    def restore_rows(self, name: str) -> None:
        raw = self.monitor
        raw.execute("BEGIN IMMEDIATE")
        for table in self._tables():
            raw.execute(f'DELETE FROM main."{table}"')
            raw.execute(f'INSERT INTO main."{table}" SELECT * FROM images."{name}_{table}"')
        raw.execute("COMMIT")

    def restore(self, name: str) -> None:
        """Begin a run from the image of this name."""
        self.restore_rows(name)
        raw = self.monitor
        self.over, self.writer, self.waiting = False, None, []
        self.deliveries = {row["id"]: row for row in self.rows(raw)}
        [(self.size,)] = raw.execute("SELECT size FROM main.audit_head")
        [(self.last_record,)] = raw.execute("SELECT coalesce(max(id), 0) FROM main.audit_outbox")

    @property
    def monitor(self) -> sqlite3.Connection:
        """Looks from outside, beside every transaction."""
        if self._monitor is None:
            self._monitor = sqlite3.connect(
                self.path, check_same_thread=False, isolation_level=None, cached_statements=512
            )
            self._monitor.row_factory = sqlite3.Row
            self._monitor.execute("PRAGMA foreign_keys=OFF")
            self._monitor.execute("ATTACH ':memory:' AS images")
        return self._monitor

    @staticmethod
    def rows(raw: sqlite3.Connection) -> list[sqlite3.Row]:
        cursor = raw.cursor()
        cursor.row_factory = sqlite3.Row
        return cursor.execute(f"SELECT {_COLUMNS} FROM delivery").fetchall()

    # The steps of a transaction

    async def before(self, session: Session, sql: str) -> str:
        """A step of the loop, and the chance of every fault; answers the SQL to run."""
        if self.over:
            raise sqlite3.OperationalError("the run is over")
        assert self.watcher is not None
        begins = sql.startswith("BEGIN")
        if begins:
            session.process, session.broken = PROCESS.get(), ""
            session.begun_s = asyncio.get_running_loop().time()
            session.changes = session.raw.total_changes
            session.statements.clear()
        sql = await self.watcher.before_statement(session, sql)
        if self.over:
            raise sqlite3.OperationalError("the run is over")
        if session.broken:
            raise sqlite3.OperationalError(session.broken)
        if begins and "IMMEDIATE" in sql:
            await self._take_turn(session)
        return sql

    async def commit(self, session: Session) -> None:
        if not session.raw.in_transaction:
            if session.broken:
                raise sqlite3.OperationalError(session.broken)
            return
        assert self.watcher is not None
        if not session.writing or session.raw.total_changes == session.changes:
            session.raw.execute("COMMIT")
            self._free(session)
            return
        facts = self._facts(session)
        keeps = await self.watcher.before_commit(session, facts)
        if self.over or session.broken:
            self.rollback(session)
            raise sqlite3.OperationalError(session.broken or "the run is over")
        if keeps:
            session.raw.execute("COMMIT")
            for change in facts.changes:
                self.deliveries[change.after["id"]] = change.after
            self.size = facts.size
            self.last_record += len(facts.records)
        else:
            session.raw.execute("ROLLBACK")
        self._free(session)
        await self.watcher.after_commit(session, facts)
        if session.broken:
            raise sqlite3.OperationalError(session.broken)

    def rollback(self, session: Session) -> None:
        if session.raw.in_transaction:
            session.raw.execute("ROLLBACK")
        self._free(session)

    def end_transactions(self, hit: Callable[[Session], bool], why: str) -> None:
        """The server's side of a lost connection: what was open is undone."""
        for session in self.sessions:
            if hit(session) and session.raw.in_transaction:
                session.raw.execute("ROLLBACK")
                session.broken = why
                self._free(session)

    def _facts(self, session: Session) -> Facts:
        changes = []
        for row in self.rows(session.raw):
            before = self.deliveries.get(row["id"])
            if before is not None and tuple(before) != tuple(row):
                changes.append(Change(before, row))
        records = session.raw.execute(
            "SELECT body FROM audit_outbox WHERE id > ? ORDER BY id", (self.last_record,)
        ).fetchall()
        [(size,)] = session.raw.execute("SELECT size FROM audit_head").fetchall()
        return Facts(session.process, changes, [body for (body,) in records], size)

    async def _take_turn(self, session: Session) -> None:
        """SQLite's one writer: whoever comes while it writes waits, and gives up in the end."""
        loop = asyncio.get_running_loop()
        until = loop.time() + _BUSY_S
        while self.writer is not None:
            turn = loop.create_future()
            self.waiting.append(turn)
            timer = loop.call_at(until, lambda turn=turn: turn.done() or turn.set_result(None))  # type: ignore[misc]
            try:
                await turn
            finally:
                timer.cancel()
                if turn in self.waiting:
                    self.waiting.remove(turn)
            if self.over:
                raise sqlite3.OperationalError("the run is over")
            if self.writer is not None and loop.time() >= until:
                raise sqlite3.OperationalError("database is locked")
        self.writer = session
        session.writing = True

    def _free(self, session: Session) -> None:
        session.writing = False
        if self.writer is session:
            self.writer = None
            for turn in self.waiting:
                if not turn.done():
                    turn.set_result(None)
            self.waiting.clear()
