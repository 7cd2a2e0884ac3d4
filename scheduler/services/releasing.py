"""Release what a posture has caught, spread out, so that nothing bursts when it is over."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from scheduler.canonical import JsonObject
from scheduler.db import postures as rows
from scheduler.db.tables import Account, Delivery
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor, Permission, PermissionDeniedError, ScopeDeniedError
from scheduler.errors import ChanceryError, ConflictError
from scheduler.services.deliveries import (
    WindowOverError,
    judge_delay,
    let_go,
    refuse_maybe_public,
)
from scheduler.services.postures import is_over, require_concern, require_reason
from scheduler.services.release import find_stops


class PostureInForceError(ConflictError):
    """It would only be caught again: lift the posture first."""

    code = "posture_in_force"


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    delivery_id: UUID
    account: str
    due_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """It stays held; `code` says why, as a release of it alone would."""

    delivery_id: UUID
    account: str
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseReceipt:
    released: tuple[Released, ...]
    skipped: tuple[Skipped, ...]


async def release_caught(
    uow: UnitOfWork, actor: Actor, posture_id: UUID, *, reason: str, spread: timedelta
) -> ReleaseReceipt:
    """Let go what the posture has held, the first at once and the others evenly over `spread`.

    In the order of their first times. What is past its window, may be public, is forbidden by another posture, or is
    not the actor's to repair stays held and is named.

    Raises:
        PostureInForceError: it is not over yet.
        PermissionDeniedError, ScopeDeniedError: the actor repairs nothing anywhere.
    """
    require_reason(reason)
    _require_repair(actor)
    posture = await rows.get(uow, posture_id)
    await require_concern(uow, actor, posture)
    if not is_over(posture, uow.now):
        raise PostureInForceError("it is in force: run `chancery resume` first")
    skipped: list[Skipped] = []
    free: list[tuple[Delivery, Account]] = []
    for delivery, account, path in await rows.find_caught(uow, posture_id):
        refusal = await _find_refusal(uow, actor, delivery, path)
        if refusal is None:
            free.append((delivery, account))
        else:
            skipped.append(_skip(delivery, account, *refusal))
    released = []
    for index, (delivery, account) in enumerate(free):
        try:
            due = judge_delay(uow, delivery, spread * index / len(free))
        except WindowOverError as exc:
            skipped.append(_skip(delivery, account, exc.code, str(exc)))
            continue
        detail: JsonObject = {"reason": reason, "posture": str(posture_id)}
        await let_go(uow, actor, delivery, due, detail)
        released.append(Released(delivery_id=delivery.id, account=account.code, due_at=due))
    return ReleaseReceipt(released=tuple(released), skipped=tuple(skipped))


async def _find_refusal(
    uow: UnitOfWork, actor: Actor, delivery: Delivery, path: str
) -> tuple[str, str] | None:
    """Why it stays held, as code and message."""
    try:
        actor.require(Permission.REPAIR, path, now=uow.now)
        judge_delay(uow, delivery, timedelta(0))
        await refuse_maybe_public(uow, delivery, not_public=False)
    except ChanceryError as exc:
        return exc.code, str(exc)
    other = (await find_stops(uow, [delivery])).get(delivery.id)
    return None if other is None else (other.code, other.message)


def _require_repair(actor: Actor) -> None:
    if Permission.REPAIR not in actor.scopes:
        raise ScopeDeniedError(f"this token does not carry the scope {Permission.REPAIR}")
    if not actor.paths(Permission.REPAIR):
        raise PermissionDeniedError("repair is granted to you nowhere", needs="repair")


def _skip(delivery: Delivery, account: Account, code: str, message: str) -> Skipped:
    return Skipped(delivery_id=delivery.id, account=account.code, code=code, message=message)
