"""One statement for any number of rows, so that it is parsed, planned and sent once.

What changes travels as one JSON text; what is new, on PostgreSQL, as one array for each column.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final
from uuid import UUID

import orjson
import sqlalchemy
from sqlalchemy import Insert, TextClause, bindparam, inspect, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

from scheduler.clock import iso
from scheduler.db.tables import Base

_POSTGRESQL: Final = postgresql.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What changes in one row, and what its other columns have to be for that."""

    id: UUID | int
    only_if: Mapping[str, Any]
    values: Mapping[str, Any]


async def update(
    session: AsyncSession, table: type[Base], updates: Sequence[Update]
) -> list[Update]:
    """Write them; answers those whose row was not as it had to be, and which are not written."""
    groups: dict[tuple[tuple[str, ...], tuple[str, ...]], list[Update]] = defaultdict(list)
    for each in updates:
        groups[tuple(sorted(each.values)), tuple(sorted(each.only_if))].append(each)
    dialect = session.get_bind().dialect.name
    missed = []
    for (columns, guards), group in groups.items():
        rows = orjson.dumps([_row(each) for each in group], default=_plain, option=_OPTIONS)
        statement = _statement(dialect, table, columns, guards)
        written = await session.execute(statement, {"rows": rows.decode()})
        found = {_key(row.id) for row in written}
        missed += [each for each in group if _key(each.id) not in found]
    return missed


def _key(value: UUID | str | int) -> str | int:
    """An id as both databases and we write it."""
    return value.hex if isinstance(value, UUID) else value


async def insert(
    session: AsyncSession, table: type[Base], values: Sequence[Mapping[str, Any]]
) -> None:
    """Write new rows, all with the same columns, in this order."""
    if not values:
        return
    names = tuple(values[0])
    if session.get_bind().dialect.name == "sqlite":
        await session.execute(_insert(table), values)
        return
    arrays = {name: [each[name] for each in values] for name in names}
    await session.execute(_insert_arrays(table, names), arrays)


@cache
def _insert(table: type[Base]) -> Insert:
    return sqlalchemy.insert(Base.metadata.tables[str(table.__tablename__)])


@cache
def _insert_arrays(table: type[Base], names: tuple[str, ...]) -> TextClause:
    columns = Base.metadata.tables[str(table.__tablename__)].c
    told, given = ", ".join(names), ", ".join(f":{name}" for name in names)
    return text(
        f"INSERT INTO {table.__tablename__} ({told}) SELECT {told} "  # noqa: S608 - names of our own columns
        f"FROM unnest({given}) WITH ORDINALITY AS x({told}, place) ORDER BY place"
    ).bindparams(*(bindparam(name, type_=postgresql.ARRAY(columns[name].type)) for name in names))


_OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATETIME


def _plain(value: object) -> str:
    match value:
        case datetime():
            return iso(value)
        case UUID():
            return value.hex
        case _:
            raise TypeError(f"{type(value).__name__} cannot be written in bulk")


def _row(each: Update) -> dict[str, object]:
    was = {f"was_{column}": value for column, value in each.only_if.items()}
    return {**each.values, **was, "id": _key(each.id)}


@cache
def _statement(
    dialect: str, table: type[Base], columns: tuple[str, ...], guards: tuple[str, ...]
) -> TextClause:
    name = str(table.__tablename__)
    changes = ", ".join(f"{column} = x.{column}" for column in columns)
    of = {"id": "id"} | {f"was_{each}": each for each in guards} | {each: each for each in columns}
    rows = _postgresql_rows(table, of) if dialect == "postgresql" else _sqlite_rows(of)
    same = "".join(f" AND {name}.{each} = x.was_{each}" for each in guards)
    return text(
        f"UPDATE {name} SET {changes} FROM {rows} "  # noqa: S608 - names of our own columns
        f"WHERE {name}.id = x.id{same} RETURNING {name}.id"
    )


def _postgresql_rows(table: type[Base], of: Mapping[str, str]) -> str:
    columns = inspect(table).columns
    typed = ", ".join(
        f"{name} {columns[column].type.compile(dialect=_POSTGRESQL)}" for name, column in of.items()
    )
    return f"json_to_recordset(CAST(:rows AS json)) AS x({typed})"


def _sqlite_rows(of: Mapping[str, str]) -> str:
    picked = ", ".join(f"json_extract(value, '$.{name}') AS {name}" for name in of)
    return f"(SELECT {picked} FROM json_each(:rows)) AS x"  # noqa: S608 - names of our own columns
