"""SQLite in the same thread behind SQLAlchemy's async interface: every statement is a step of the loop.

aiosqlite answers from a thread of its own, at a moment that no seed decides. Everything above the driver, from the
pragmas to the unit of work, is the production's.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import pool
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.engine import AdaptedConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util.concurrency import await_

from scheduler.db.engine import prepare_sqlite
from tests.simulation.store import Session, Store

_STORES: dict[str, Store] = {}


class Cursor:
    """Fetches at once, so that no statement stays open over a step."""

    arraysize = 1

    def __init__(self, session: Session) -> None:
        self._session = session
        self._cursor = session.raw.cursor()
        self._rows: list[Any] = []
        self._next = 0

    @property
    def description(self) -> Any:
        return self._cursor.description

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._cursor.lastrowid

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> "Cursor":
        self._run(sql, parameters, self._cursor.execute)
        return self

    def executemany(self, sql: str, parameters: Sequence[Sequence[Any]]) -> "Cursor":
        self._run(sql, parameters, self._cursor.executemany)
        return self

    def _run(self, sql: str, parameters: Any, execute: Callable[[str, Any], Any]) -> None:
        self._rows, self._next = [], 0
        session = self._session
        if session.store.in_run and not sql.startswith("PRAGMA"):  # those of a new connection
            sql = await_(session.store.before(session, sql))
            if session.writing:
                session.statements.append((execute.__name__, sql, parameters))
        execute(sql, parameters)
        if self._cursor.description is not None:
            self._rows = self._cursor.fetchall()

    def fetchone(self) -> Any:
        if self._next >= len(self._rows):
            return None
        self._next += 1
        return self._rows[self._next - 1]

    def fetchmany(self, size: int | None = None) -> Sequence[Any]:
        first, self._next = self._next, self._next + (size or self.arraysize)
        return self._rows[first : self._next]

    def fetchall(self) -> Sequence[Any]:
        first, self._next = self._next, len(self._rows)
        return self._rows[first:]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fetchall())

    async def _async_soft_close(self) -> None:
        """Nothing is open: the rows are here."""

    def close(self) -> None:
        self._cursor.close()


class Connection(AdaptedConnection):
    """What the dialect takes for a connection of its driver."""

    def __init__(self, session: Session) -> None:
        self._connection = session.raw
        self.session = session

    @property
    def isolation_level(self) -> str | None:
        return self.session.raw.isolation_level

    @isolation_level.setter
    def isolation_level(self, value: str | None) -> None:
        self.session.raw.isolation_level = value  # type: ignore[assignment]

    def create_function(self, *args: Any, **kw: Any) -> None:
        self.session.raw.create_function(*args, **kw)

    def cursor(self) -> Cursor:
        return Cursor(self.session)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Cursor:
        return self.cursor().execute(sql, parameters)

    def commit(self) -> None:
        session = self.session
        if session.store.in_run:
            await_(session.store.commit(session))
        elif session.raw.in_transaction:
            session.raw.execute("COMMIT")

    def rollback(self) -> None:
        self.session.store.rollback(self.session)

    def close(self) -> None:
        self.session.store.close(self.session)

    def terminate(self) -> None:
        self.close()


class _Module:
    """The standard library's module, but its `connect` opens a session of a named store."""

    paramstyle = "qmark"
    threadsafety = 1
    apilevel = "2.0"

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)

    def connect(self, path: str, **_: Any) -> Connection:
        return Connection(_STORES[path].open())


class SimulatedDialect(SQLiteDialect_pysqlite):
    driver = "simulated"
    is_async = True
    has_terminate = True
    supports_statement_cache = True

    @classmethod
    def import_dbapi(cls) -> Any:
        return _Module()

    @classmethod
    def get_pool_class(cls, url: Any) -> type[pool.Pool]:
        return pool.AsyncAdaptedQueuePool

    def on_connect(self) -> None:
        """No regular expressions: production's driver is asked for none either."""

    def get_driver_connection(self, connection: Any) -> Any:
        return connection.session.raw

    def do_terminate(self, dbapi_connection: Any) -> None:
        dbapi_connection.terminate()


registry.register("sqlite.simulated", __name__, "SimulatedDialect")


def build_simulated_engine(store: Store, clock: Callable[[], datetime]) -> AsyncEngine:
    """As `build_engine` builds SQLite's, with the other driver."""
    _STORES[str(store.path)] = store
    engine = create_async_engine(
        f"sqlite+simulated:///{store.path}", pool_size=10, max_overflow=10, hide_parameters=True
    )
    prepare_sqlite(engine, clock)
    return engine
