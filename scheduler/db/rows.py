"""Rows that are only read: tuples with the columns of a table as attributes, at a fraction of what an object costs.

They look like the table's class to whoever reads them, and refuse to be changed. Where hundreds are read at once that
saves most of the time; whoever wants to change a row asks for the object, or changes many with `scheduler.db.bulk`.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any, TypeVar, cast
from uuid import UUID

import orjson
from sqlalchemy import Boolean, ColumnElement, Dialect, Select, Text, Uuid, bindparam, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Mapped
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from scheduler.db.tables import Base
from scheduler.db.uow import UnitOfWork

OfTable = TypeVar("OfTable", bound=Base)


async def find(
    uow: UnitOfWork, table: type[OfTable], *where: ColumnElement[bool], lock: bool = False
) -> list[OfTable]:
    """The rows, by id when they are locked: everybody locks in the same order."""
    query = of(table).where(*where)
    if lock:
        query = query.order_by(query.selected_columns["id"]).with_for_update()
    return cast(list[OfTable], (await uow.session.execute(query)).all())


@cache
def of(table: type[Base]) -> Select[Any]:
    """A query for every column of the table."""
    return select(*Base.metadata.tables[str(table.__tablename__)].c)


class _Ids(TypeDecorator[list[UUID]]):
    """Any number of ids in one parameter: the statement stays the same, and is planned once."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(Text())
        return dialect.type_descriptor(postgresql.ARRAY(Uuid()))

    def process_bind_param(self, value: list[UUID] | None, dialect: Dialect) -> Any:  # noqa: ANN401 - text or array, by dialect
        if value is None or dialect.name != "sqlite":
            return value
        return orjson.dumps([each.hex for each in value]).decode()


class _among(FunctionElement[bool]):  # noqa: N801 - used as an SQL function
    type = Boolean()
    inherit_cache = True
    name = "among"


def among(column: Mapped[UUID], ids: Iterable[UUID]) -> ColumnElement[bool]:
    """Is the column's id one of these?"""
    return _among(column, bindparam("ids", list(ids), type_=_Ids(), unique=True))


@compiles(_among, "postgresql")
def _postgresql_among(element: _among, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    column, ids = (compiler.process(each, **options) for each in element.clauses)
    return f"{column} = ANY ({ids})"


@compiles(_among, "sqlite")
def _sqlite_among(element: _among, compiler: SQLCompiler, **options: Any) -> str:  # noqa: ANN401
    column, ids = (compiler.process(each, **options) for each in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({ids}))"  # noqa: S608 - compiled names
