"""Looking at the platform after the fact: who looks, what for, and what it shows.

A doubtful delivery is sent again only after a look that proves it absent; one that was accepted is read back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from adapters.base import Credentials, Published, ReadBack
from adapters.errors import AdapterError
from scheduler.canonical import JsonObject
from scheduler.clock import iso
from scheduler.db import accounts, attempts, deliveries, moves
from scheduler.db.tables import Account, Attempt, DataKey, Delivery, SealedToken
from scheduler.db.uow import UnitOfWork
from scheduler.domain.delivery_flow import DeliveryMove, DeliveryState
from scheduler.services import rendering, secrets
from scheduler.services.holds import Claimed, close_if_settled, hold, locked
from scheduler.services.kit import Kit
from scheduler.services.outcomes import (
    backoff,
    end_attempt,
    plan_part,
    without_looks,
)
from scheduler.services.release import Obstacle
from scheduler.vault.envelope import TokenUnavailableError

#: A look-up that cannot tell is tried again this often before a person has to look.
_MOST_LOOKS: Final = 8
#: While one worker looks, the others leave the delivery alone.
_LOOK_LEASE: Final = timedelta(seconds=60)
#: A post of ours that a look could mistake for the one in doubt is at most so much older.
_TAKEN_SINCE: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a reconciling or read-back look needs to know."""

    claimed: Claimed
    in_doubt: bool  #: find out whether it is public; else: read back what is
    platform: str
    credentials: Credentials
    bodies: tuple[bytes, ...]  #: of the public parts; of the one in doubt when unknown
    key: str
    since: datetime
    taken: frozenset[str]  #: ids on the platform that belong to other posts of ours
    receipts: tuple[Published, ...]  #: of the public parts


async def start(
    uow: UnitOfWork, kit: Kit, delivery_ids: Sequence[UUID]
) -> list[Look | Exception | None]:
    """Take deliveries whose time to be looked at has come, so that no other worker looks too."""
    waking = await deliveries.lock_waking(uow, delivery_ids)
    owners = await accounts.get_all(uow, {each.account_id for each in waking.values()})
    sealed = await accounts.find_all_sealed(uow, owners)
    tries = await attempts.find(uow, waking)
    told: list[Look | Exception | None] = []
    wakes: list[tuple[Delivery, datetime | None]] = []
    for each in delivery_ids:
        delivery, built = waking.get(each), None
        if delivery is not None:
            account = owners[delivery.account_id]
            built = _build_look(uow, kit, delivery, account, sealed[account.id], tries[each])
            if isinstance(built, Obstacle):
                held = await deliveries.lock(uow, each, delivery.fence)
                await _give_up_looking(uow, held, built)
            else:
                wakes.append((delivery, None if built is None else uow.now + _LOOK_LEASE))
        told.append(built if isinstance(built, Look) else None)
    await deliveries.wake_later(uow, wakes)
    return [await _with_taken(uow, each) if isinstance(each, Look) else each for each in told]


def _build_look(
    uow: UnitOfWork,
    kit: Kit,
    delivery: Delivery,
    account: Account,
    sealed: Sequence[tuple[SealedToken, DataKey]],
    tries: Sequence[Attempt],
) -> Look | Obstacle | None:
    """What to look for; an obstacle where nobody but a person can tell, None where nothing is to be seen."""
    can, in_doubt = kit.platform(account.platform).capabilities, _is_in_doubt(delivery)
    if not in_doubt and not can.read_back:
        return None
    if in_doubt and not can.lookup:  # R4: nobody can tell, so nobody sends it again but a person
        message = "the platform offers no look-up; somebody has to look"
        return Obstacle(code="outcome_unknown", message=message)
    try:
        credentials = secrets.open_found(kit, account, sealed)
    except TokenUnavailableError as exc:
        return Obstacle(code=exc.code, message=str(exc))
    last = tries[-1]
    public = tuple(each.request for each in tries if each.outcome in {"sent", "found"})
    return Look(
        claimed=Claimed(
            delivery_id=delivery.id,
            account_id=account.id,
            server=account.base_url,
            fence=delivery.fence,
            due_at=delivery.due_at or uow.now,
            due_at_s=uow.read_at_s,
        ),
        in_doubt=in_doubt,
        platform=account.platform,
        credentials=credentials,
        bodies=(last.request,) if in_doubt else public,
        key=last.idempotency_key,
        since=last.started_at,
        taken=frozenset(),
        receipts=tuple(_published(each) for each in delivery.progress.get("parts", [])),
    )


def _is_in_doubt(delivery: Delivery) -> bool:
    return delivery.state == DeliveryState.UNKNOWN


async def _with_taken(uow: UnitOfWork, look: Look) -> Look:
    if not look.in_doubt:
        return look
    since = look.since - _TAKEN_SINCE
    taken = await deliveries.find_remote_ids(uow, look.claimed.account_id, since)
    return replace(look, taken=taken)


async def record_found(uow: UnitOfWork, look: Look, found: Published | None) -> None:
    """Write what the look-up after a doubtful end has shown."""
    delivery, _ = await locked(uow, look.claimed)
    attempt = await attempts.get_last(uow, delivery)
    if found is None:
        end_attempt(attempt, uow.now, "absent")
        _keep(attempt, uow.now, saw="absent")
        await deliveries.move(
            uow,
            delivery,
            DeliveryMove.ABSENT,
            fence=delivery.fence + 1,
            wake_at=uow.now,
            reason="",
            progress=without_looks(delivery),
        )
        uow.wake(delivery.account_id, uow.now)
        return
    end_attempt(attempt, uow.now, "found", remote_id=found.remote_id)
    _keep(attempt, uow.now, saw="public", url=found.url)
    parts = len(rendering.parts_of(delivery))
    await moves.write(uow, [plan_part(uow, delivery, found, parts)])
    await close_if_settled(uow, [delivery.post_id])


async def record_no_answer(uow: UnitOfWork, look: Look, error: AdapterError) -> None:
    """A look that could not tell: again later, and after some times a person has to look."""
    delivery, _ = await locked(uow, look.claimed)
    attempt = await attempts.get_last(uow, delivery)
    _keep(
        attempt,
        uow.now,
        saw="no_answer",
        code=error.code,
        message=str(error),
        evidence=dict(error.evidence),
    )
    looks = int(delivery.progress.get("looks", 0)) + 1
    if looks >= _MOST_LOOKS:
        message = f"the platform could not be asked: {error}"
        await _give_up_looking(uow, delivery, Obstacle(code="outcome_unknown", message=message))
        return
    delivery.progress = {**delivery.progress, "looks": looks}
    delivery.wake_at = uow.now + backoff(looks)


async def _give_up_looking(uow: UnitOfWork, delivery: Delivery, obstacle: Obstacle) -> None:
    """A doubtful delivery waits for a person; one that was accepted stays sent, unverified."""
    if delivery.state == DeliveryState.UNKNOWN:
        await hold(uow, delivery, obstacle)
        return
    delivery.wake_at = None
    delivery.reason = f"unverified: {obstacle.message}"


async def record_read_back(
    uow: UnitOfWork, looked: Sequence[tuple[Look, Sequence[ReadBack]]]
) -> list[Exception | None]:
    """Write whether what is public, part by part, is what was approved."""
    fences = {look.claimed.delivery_id: look.claimed.fence for look, _ in looked}
    held = await deliveries.lock_all(uow, fences)
    verified, told = [], list[Exception | None]()
    for look, seen in looked:
        delivery = held.get(look.claimed.delivery_id)
        if delivery is None:
            told.append(deliveries.passed_on(look.claimed.delivery_id))
            continue
        if differences := _find_differences(seen):
            await _record_drift(uow, look.claimed, seen, differences)
        else:
            detail: JsonObject = {"evidence": _evidence_of(seen)}
            verified.append(
                moves.plan(uow, delivery, DeliveryMove.VERIFY, detail=detail, wake_at=None)
            )
        told.append(None)
    await moves.write(uow, verified)
    return told


def _find_differences(seen: Sequence[ReadBack]) -> list[str]:
    return [
        f"{index}:{code}"
        for index, part in enumerate(seen)
        for code in (part.differences if part.found else ("gone",))
    ]


def _evidence_of(seen: Sequence[ReadBack]) -> list[str]:
    return [f"sha256:{part.evidence_sha256}" for part in seen]


async def _record_drift(
    uow: UnitOfWork, claimed: Claimed, seen: Sequence[ReadBack], differences: Sequence[str]
) -> None:
    delivery, _ = await locked(uow, claimed)
    attempt = await attempts.get_last(uow, delivery)
    _keep(attempt, uow.now, saw="drift", message=", ".join(differences))
    await deliveries.move(
        uow,
        delivery,
        DeliveryMove.DRIFT,
        detail={"evidence": _evidence_of(seen), "differences": list(differences)},
        reason="drift: " + ", ".join(differences),
        wake_at=None,
    )


def _keep(attempt: Attempt, now: datetime, **seen: object) -> None:
    """Keep with the attempt what a look has shown, for the person who has to decide.

    A read-back that shows what was approved is on record with its move, and is not kept twice.
    """
    looks = [*attempt.evidence.get("looks", []), {"at": iso(now), **seen}]
    attempt.evidence = {**attempt.evidence, "looks": looks}


def _published(receipt: dict[str, Any]) -> Published:
    return Published(remote_id=receipt["id"], url=receipt["url"], ref=receipt["ref"])
