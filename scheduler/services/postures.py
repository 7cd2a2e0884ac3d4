"""Stop and resume: a stop takes effect in the transaction that would record an intent to send."""

from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col

from scheduler.audit.actions import Action
from scheduler.canonical import sha256_hex
from scheduler.db import rules
from scheduler.db.tables import Delivery, Posture
from scheduler.db.uow import UnitOfWork
from scheduler.domain.delivery_flow import IN_HAND, DeliveryState
from scheduler.domain.people import Actor, Permission
from scheduler.errors import ConflictError, InvalidError
from scheduler.services.scope import require_at_the_top


class AlreadyStoppedError(ConflictError):
    code = "already_stopped"


class NotStoppedError(ConflictError):
    code = "not_stopped"


class ReasonMissingError(InvalidError):
    """The record needs to know why."""

    code = "reason_missing"


@dataclass(frozen=True, slots=True, kw_only=True)
class StopReceipt:
    posture: Posture
    caught: tuple[UUID, ...]  #: ready or in preparation: they will be held when they come due
    in_flight: tuple[
        UUID, ...
    ]  #: their intent was committed before the stop: they may become public


async def stop(uow: UnitOfWork, actor: Actor, *, reason: str) -> StopReceipt:
    """Freeze the whole installation; nothing whose intent is not committed yet will leave."""
    await _require(uow, actor, reason)
    await rules.enter_gate(uow, exclusive=True)
    if await rules.find_stop(uow) is not None:
        raise AlreadyStoppedError("publishing is stopped already")
    posture = Posture(kind="stop", reason=reason, started_by=actor.person_id, started_at=uow.now)
    uow.session.add(posture)
    caught = await _ids(uow, (IN_HAND - {DeliveryState.SENDING}) | {DeliveryState.READY})
    in_flight = await _ids(uow, frozenset({DeliveryState.SENDING}))
    uow.record(
        Action.POSTURE_STOP,
        {"t": "posture", "id": str(posture.id)},
        actor=actor,
        detail={
            "reason": reason,
            "caught": len(caught),
            "in_flight": len(in_flight),
            "in_flight_sha256": sha256_hex("\n".join(map(str, in_flight)).encode()),
        },
    )
    return StopReceipt(posture=posture, caught=caught, in_flight=in_flight)


async def resume(uow: UnitOfWork, actor: Actor, *, reason: str) -> Posture:
    """Lift the stop; what was held stays held until a person releases it."""
    await _require(uow, actor, reason)
    await rules.enter_gate(uow, exclusive=True)
    posture = await rules.find_stop(uow)
    if posture is None:
        raise NotStoppedError("publishing is not stopped")
    posture.ended_by, posture.ended_at = actor.person_id, uow.now
    uow.record(
        Action.POSTURE_RESUME,
        {"t": "posture", "id": str(posture.id)},
        actor=actor,
        detail={"reason": reason},
    )
    return posture


async def _require(uow: UnitOfWork, actor: Actor, reason: str) -> None:
    if not reason.strip():
        raise ReasonMissingError("say why: the reason is kept in the record")
    await require_at_the_top(uow, actor, Permission.STOP)


async def _ids(uow: UnitOfWork, states: frozenset[DeliveryState]) -> tuple[UUID, ...]:
    query = (
        select(col(Delivery.id)).where(col(Delivery.state).in_(states)).order_by(col(Delivery.id))
    )
    return tuple(await uow.session.scalars(query))
