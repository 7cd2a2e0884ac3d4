"""Moves of deliveries, written many in one statement, each by compare-and-set on its state and fence (R5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy.orm.attributes import set_committed_value

from scheduler.audit.actions import Action
from scheduler.canonical import JsonObject
from scheduler.db import bulk
from scheduler.db.bulk import Update
from scheduler.db.posts import StaleStateError
from scheduler.db.seals import RULES
from scheduler.db.tables import Delivery
from scheduler.db.uow import UnitOfWork
from scheduler.domain import delivery_flow
from scheduler.domain.delivery_flow import IN_HAND, DeliveryMove, DeliveryState
from scheduler.domain.people import Actor

_SEALED: Final = frozenset(RULES[Delivery].columns)


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
    """Write what was planned; of a delivery that is an object, and not a row, the object changes along.

    Raises:
        StaleStateError: the state or the fence of one of them changed under us; nothing may be committed then.
    """
    await uow.session.flush()
    updates = [
        Update(
            id=move.delivery.id,
            only_if={"state": move.source.value, "fence": move.fence},
            values=move.values,
        )
        for move in moves
    ]
    if missed := await bulk.update(uow.session, Delivery, updates):
        raise StaleStateError(f"delivery {missed[0].id} has passed into other hands")
    for move in moves:
        if not isinstance(move.delivery, Delivery):
            if not _SEALED.isdisjoint(move.values):
                uow.note(Delivery, move.delivery, move.values)
            continue
        if not _SEALED.isdisjoint(move.values):
            uow.touch(move.delivery)
        for column, value in move.values.items():
            set_committed_value(move.delivery, column, value)
