"""Looking at the platform after the fact: who looks, what for, and what it shows.

A doubtful delivery is sent again only after a look that proves it absent; one that was accepted is read back.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from adapters.base import Credentials, Published, ReadBack
from adapters.errors import AdapterError
from scheduler.canonical import JsonObject
from scheduler.clock import iso
from scheduler.db import accounts, deliveries, moves
from scheduler.db.moves import PlannedMove
from scheduler.db.tables import Account, Attempt, Delivery
from scheduler.db.uow import UnitOfWork
from scheduler.domain.delivery_flow import DeliveryMove, DeliveryState
from scheduler.services import rendering, secrets
from scheduler.services.holds import Claimed, close_if_settled, hold, locked
from scheduler.services.kit import Kit
from scheduler.services.outcomes import (
    backoff,
    end_attempt,
    last_attempt,
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
    attempts = await deliveries.find_attempts(uow, waking)
    told: list[Look | Exception | None] = []
    for each in delivery_ids:
        delivery = waking.get(each)
        if delivery is None or not await _can_look(uow, kit, owners, delivery):
            told.append(None)
            continue
        account = owners[delivery.account_id]
        try:
            credentials = secrets.open_found(kit, account, sealed)
        except TokenUnavailableError as exc:
            await _give_up_looking(uow, delivery, Obstacle(code=exc.code, message=str(exc)))
            told.append(None)
            continue
        told.append(await _build_look(uow, delivery, account, credentials, attempts[each]))
    return told


async def _build_look(
    uow: UnitOfWork,
    delivery: Delivery,
    account: Account,
    credentials: Credentials,
    attempts: Sequence[Attempt],
) -> Look:
    last, in_doubt = attempts[-1], delivery.state == DeliveryState.UNKNOWN
    since = last.started_at - _TAKEN_SINCE
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
        bodies=(last.request,)
        if in_doubt
        else tuple(each.request for each in attempts if each.outcome in {"sent", "found"}),
        key=last.idempotency_key,
        since=last.started_at,
        taken=await deliveries.find_remote_ids(uow, account.id, since) if in_doubt else frozenset(),
        receipts=tuple(_published(each) for each in delivery.progress.get("parts", [])),
    )


async def record_found(uow: UnitOfWork, look: Look, found: Published | None) -> None:
    """Write what the look-up after a doubtful end has shown."""
    delivery, _ = await locked(uow, look.claimed)
    attempt = await last_attempt(uow, delivery)
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
    attempt = await last_attempt(uow, delivery)
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
    planned, told = [], list[Exception | None]()
    for look, seen in looked:
        delivery = held.get(look.claimed.delivery_id)
        if delivery is None:
            told.append(deliveries.passed_on(look.claimed.delivery_id))
            continue
        planned.append(await _plan_read_back(uow, delivery, seen))
        told.append(None)
    await moves.write(uow, planned)
    return told


async def _plan_read_back(
    uow: UnitOfWork, delivery: Delivery, seen: Sequence[ReadBack]
) -> PlannedMove:
    evidence = [f"sha256:{part.evidence_sha256}" for part in seen]
    differences = [
        f"{index}:{code}"
        for index, part in enumerate(seen)
        for code in (part.differences if part.found else ("gone",))
    ]
    if not differences:
        detail: JsonObject = {"evidence": evidence}
        return moves.plan(uow, delivery, DeliveryMove.VERIFY, detail=detail, wake_at=None)
    attempt = await last_attempt(uow, delivery)
    _keep(attempt, uow.now, saw="drift", message=", ".join(differences))
    return moves.plan(
        uow,
        delivery,
        DeliveryMove.DRIFT,
        detail={"evidence": evidence, "differences": differences},
        reason="drift: " + ", ".join(differences),
        wake_at=None,
    )


def _keep(attempt: Attempt, now: datetime, **seen: object) -> None:
    """Keep with the attempt what a look has shown, for the person who has to decide.

    A read-back that shows what was approved is on record with its move, and is not kept twice.
    """
    looks = [*attempt.evidence.get("looks", []), {"at": iso(now), **seen}]
    attempt.evidence = {**attempt.evidence, "looks": looks}


async def _can_look(
    uow: UnitOfWork, kit: Kit, owners: Mapping[UUID, Account], delivery: Delivery
) -> bool:
    can = kit.platform(owners[delivery.account_id].platform).capabilities
    delivery.wake_at = uow.now + _LOOK_LEASE
    if delivery.state == DeliveryState.SENT:
        if not can.read_back:
            delivery.wake_at = None
        return can.read_back
    if not can.lookup:  # R4: nobody can tell, so nobody sends it again but a person
        message = "the platform offers no look-up; somebody has to look"
        await hold(uow, delivery, Obstacle(code="outcome_unknown", message=message))
    return can.lookup


def _published(receipt: dict[str, Any]) -> Published:
    return Published(remote_id=receipt["id"], url=receipt["url"], ref=receipt["ref"])
