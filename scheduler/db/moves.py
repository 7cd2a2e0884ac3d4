"""Moves of deliveries, written many in one statement, each by compare-and-set on its state and fence (R5)."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import TextClause, inspect, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm.attributes import set_committed_value

from scheduler.audit.actions import Action
from scheduler.canonical import JsonObject
from scheduler.clock import iso
from scheduler.db.posts import StaleStateError
from scheduler.db.seals import RULES
from scheduler.db.tables import Delivery
from scheduler.db.uow import UnitOfWork
from scheduler.domain import delivery_flow
from scheduler.domain.delivery_flow import IN_HAND, DeliveryMove, DeliveryState
from scheduler.domain.people import Actor

_COLUMNS: Final = inspect(Delivery).columns
_SEALED: Final = frozenset(RULES[Delivery].columns)
_POSTGRESQL: Final = postgresql.dialect()  # type: ignore[no-untyped-call]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedMove:
    """A move that is allowed and in this transaction's records, and still has to be written."""

    delivery: Delivery
    source: DeliveryState
    fence: int
    values: Mapping[str, Any]  #: by column


def plan(
    uow: UnitOfWork,
    delivery: Delivery,
    action: DeliveryMove,
    *,
    actor: Actor | None = None,
    detail: JsonObject | None = None,
    **values: object,
) -> PlannedMove:
    """Plan the move, with its one audit record; `values` are the columns that change besides the state.

    Raises:
        IllegalMoveError: the delivery's state does not allow it.
    """
    source = DeliveryState(delivery.state)
    planned = delivery_flow.plan(source, action)
    if planned.target not in IN_HAND:
        values.setdefault("lease_until", None)
    uow.record(
        Action(f"delivery.{action}"),
        {"t": "delivery", "id": str(delivery.id), "post": str(delivery.post_id)},
        actor=actor,
        detail={"from": source.value, "to": planned.target.value, **(detail or {})},
    )
    if delivery.due_at is not None:
        uow.due[str(delivery.id)] = delivery.due_at
    values |= {"state": planned.target.value, "updated_at": uow.now}
    return PlannedMove(delivery=delivery, source=source, fence=delivery.fence, values=values)


async def write(uow: UnitOfWork, moves: Sequence[PlannedMove]) -> None:
    """Write what was planned; the deliveries in memory change along.

    Raises:
        StaleStateError: the state or the fence of one of them changed under us; nothing may be committed then.
    """
    await uow.session.flush()
    groups: dict[tuple[str, ...], list[PlannedMove]] = defaultdict(list)
    for move in moves:
        groups[tuple(sorted(move.values))].append(move)
    dialect = uow.session.get_bind().dialect
    for columns, group in groups.items():
        rows = json.dumps([_row(move) for move in group])
        written = await uow.session.execute(_statement(dialect.name, columns), {"rows": rows})
        if len(written.all()) != len(group):
            raise _stale(group)
    for move in moves:
        if not _SEALED.isdisjoint(move.values):
            uow.touch(move.delivery)
        for column, value in move.values.items():
            set_committed_value(move.delivery, column, value)


def _stale(group: Sequence[PlannedMove]) -> StaleStateError:
    if len(group) > 1:
        return StaleStateError(f"one of {len(group)} deliveries has passed into other hands")
    return StaleStateError(f"delivery {group[0].delivery.id} is no longer {group[0].source}")


def _row(move: PlannedMove) -> dict[str, object]:
    values = {
        column: iso(value) if isinstance(value, datetime) else value
        for column, value in move.values.items()
    }
    return {**values, "id": move.delivery.id.hex, "source": move.source, "held": move.fence}


@cache
def _statement(dialect: str, columns: tuple[str, ...]) -> TextClause:
    """One statement for any number of rows, which travel as one JSON text: it is parsed and planned once."""
    changes = ", ".join(f"{column} = x.{column}" for column in columns)
    rows = _postgresql_rows(columns) if dialect == "postgresql" else _sqlite_rows(columns)
    return text(
        f"UPDATE delivery SET {changes} FROM {rows} "  # noqa: S608 - names of our own columns
        "WHERE delivery.id = x.id AND delivery.state = x.source AND delivery.fence = x.held "
        "RETURNING delivery.id"
    )


def _postgresql_rows(columns: tuple[str, ...]) -> str:
    types = {column: _COLUMNS[column].type.compile(dialect=_POSTGRESQL) for column in columns}
    typed = ", ".join(f"{column} {type_}" for column, type_ in types.items())
    return (
        f"json_to_recordset(CAST(:rows AS json)) AS x(id uuid, source text, held bigint, {typed})"
    )


def _sqlite_rows(columns: tuple[str, ...]) -> str:
    picked = ", ".join(
        f"json_extract(value, '$.{column}') AS {column}"
        for column in ("id", "source", "held", *columns)
    )
    return f"(SELECT {picked} FROM json_each(:rows)) AS x"  # noqa: S608 - names of our own columns
