"""One engine for both databases: SQLite (WAL, FULL, `BEGIN IMMEDIATE`) and PostgreSQL, and the one SQL clock."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from scheduler.clock import iso, utc_now
from scheduler.db.types import UtcDateTime

_BUSY_TIMEOUT_MS: Final = 10_000
#: A process that is frozen or cut off in the middle of a transaction must not hold up a stop.
_SERVER_SETTINGS: Final = {
    "idle_in_transaction_session_timeout": "5000",
    "lock_timeout": "8000",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
}
#: Execution option of a connection that only reads: SQLite then takes no write lock.
READ_ONLY: Final = "chancery_read_only"


class database_now(FunctionElement[datetime]):  # noqa: N801 - used as an SQL function
    """The database's clock, not frozen at the start of the transaction."""

    type = UtcDateTime()
    inherit_cache = True
    name = "database_now"


@compiles(database_now, "postgresql")
def _postgresql_now(_element: database_now, _compiler: SQLCompiler, **_: Any) -> str:  # noqa: ANN401
    return "clock_timestamp()"


@compiles(database_now, "sqlite")
def _sqlite_now(_element: database_now, _compiler: SQLCompiler, **_: Any) -> str:  # noqa: ANN401
    return "chancery_now()"


def build_engine(url: str, *, clock: Callable[[], datetime] = utc_now) -> AsyncEngine:
    """Connect lazily to `url` (`sqlite+aiosqlite:///…` or `postgresql+asyncpg://…`).

    `clock` is what SQLite's registered `chancery_now()` answers; PostgreSQL has its own clock.
    """
    if make_url(url).get_backend_name() == "sqlite":
        return _sqlite_engine(url, clock)
    # A small pool: the worker keeps many deliveries in flight, but their transactions are short.
    return create_async_engine(
        url,
        pool_size=10,
        max_overflow=10,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={"server_settings": _SERVER_SETTINGS},
    )


def _sqlite_engine(url: str, clock: Callable[[], datetime]) -> AsyncEngine:
    database = make_url(url).database
    if database and database != ":memory:":
        Path(database).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    engine = create_async_engine(url, pool_size=10, max_overflow=10, hide_parameters=True)
    prepare_sqlite(engine, clock)
    return engine


def prepare_sqlite(engine: AsyncEngine, clock: Callable[[], datetime]) -> None:
    """Make every connection of the engine, whatever its driver, one that keeps our rules."""

    @event.listens_for(engine.sync_engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:  # noqa: ANN401 - the driver's adapter
        connection.isolation_level = None  # the "begin" event below decides
        connection.create_function("chancery_now", 0, lambda: iso(clock()))
        cursor = connection.cursor()
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            f"busy_timeout={_BUSY_TIMEOUT_MS}",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def _begin(connection: Connection) -> None:
        read_only = connection.get_execution_options().get(READ_ONLY)
        # A deferred BEGIN that writes later fails at once when another writer was faster.
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
