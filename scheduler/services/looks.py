"""Looking at the platform after the fact: who looks, what for, and what it shows.

A doubtful delivery is sent again only after a look that proves it absent; one that was accepted is read back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from adapters.base import Adapter, Credentials, Published, ReadBack
from adapters.errors import AdapterError
from scheduler.db import deliveries
from scheduler.db.tables import Account, Delivery
from scheduler.db.uow import UnitOfWork
from scheduler.domain.delivery_flow import DeliveryMove, DeliveryState
from scheduler.services import rendering, secrets
from scheduler.services.kit import Kit
from scheduler.services.outcomes import (
    backoff,
    end_attempt,
    last_attempt,
    record_part,
    without_looks,
)
from scheduler.services.publishing import Claimed, hold, locked
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


async def start_look(uow: UnitOfWork, kit: Kit, delivery_id: UUID) -> Look | None:
    """Take a delivery whose time to be looked at has come, so that no other worker looks too."""
    delivery = await deliveries.lock_waking(uow, delivery_id)
    if delivery is None:
        return None
    account = await uow.session.get_one(Account, delivery.account_id)
    delivery.wake_at = uow.now + _LOOK_LEASE
    if not await _can_look(uow, kit.platform(account.platform), delivery):
        return None
    try:
        credentials = await secrets.open_credentials(uow, kit, account)
    except TokenUnavailableError as exc:
        await _give_up_looking(uow, delivery, Obstacle(code=exc.code, message=str(exc)))
        return None
    attempts = await deliveries.find_attempts(uow, delivery.id)
    last = attempts[-1]
    public = [each.request for each in attempts if each.outcome in {"sent", "found"}]
    return Look(
        claimed=Claimed(
            delivery_id=delivery.id,
            account_id=account.id,
            fence=delivery.fence,
            due_at=delivery.due_at or uow.now,
            due_at_s=uow.read_at_s,
        ),
        in_doubt=delivery.state == DeliveryState.UNKNOWN,
        platform=account.platform,
        credentials=credentials,
        bodies=tuple(public) if delivery.state == DeliveryState.SENT else (last.request,),
        key=last.idempotency_key,
        since=last.started_at,
        taken=await deliveries.find_remote_ids(uow, account.id, last.started_at - _TAKEN_SINCE),
        receipts=tuple(_published(each) for each in delivery.progress.get("parts", [])),
    )


async def record_found(uow: UnitOfWork, look: Look, found: Published | None) -> None:
    """Write what the look-up after a doubtful end has shown."""
    delivery, _ = await locked(uow, look.claimed)
    attempt = await last_attempt(uow, delivery)
    if found is None:
        end_attempt(attempt, uow.now, "absent")
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
    parts = len(rendering.parts_of(delivery))
    await record_part(uow, delivery, found, parts)


async def record_no_answer(uow: UnitOfWork, look: Look, error: AdapterError) -> None:
    """A look that could not tell: again later, and after some times a person has to look."""
    delivery, _ = await locked(uow, look.claimed)
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


async def record_read_back(uow: UnitOfWork, look: Look, seen: Sequence[ReadBack]) -> None:
    """Write whether what is public, part by part, is what was approved."""
    delivery, _ = await locked(uow, look.claimed)
    evidence = [f"sha256:{part.evidence_sha256}" for part in seen]
    differences = [
        f"{index}:{code}"
        for index, part in enumerate(seen)
        for code in (part.differences if part.found else ("gone",))
    ]
    if not differences:
        await deliveries.move(
            uow, delivery, DeliveryMove.VERIFY, detail={"evidence": evidence}, wake_at=None
        )
        return
    await deliveries.move(
        uow,
        delivery,
        DeliveryMove.DRIFT,
        detail={"evidence": evidence, "differences": differences},
        reason="drift: " + ", ".join(differences),
        wake_at=None,
    )


async def _can_look(uow: UnitOfWork, adapter: Adapter, delivery: Delivery) -> bool:
    can = adapter.capabilities
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
