"""What came of an intent: recorded once, under the fence, with the evidence; and what is done about doubt.

An adapter's exception class is the decision: `UnavailableError` and `RateLimitedError` mean definitely not sent,
`ContentRejectedError` definitely refused, and everything else may be public and waits for a look-up.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlmodel import col, select

from adapters.base import Adapter, Credentials, Published, ReadBack
from adapters.errors import (
    AdapterError,
    ContentRejectedError,
    CredentialsRejectedError,
    OutcomeUnknownError,
    RateLimitedError,
)
from scheduler.canonical import JsonObject
from scheduler.clock import iso
from scheduler.db import deliveries
from scheduler.db.tables import Account, Attempt, Delivery, Post
from scheduler.db.uow import UnitOfWork
from scheduler.domain.delivery_flow import DeliveryMove, DeliveryState
from scheduler.services import accounts, rendering, secrets
from scheduler.services.kit import Kit
from scheduler.services.publishing import (
    CLAIM_LEASE,
    Claimed,
    Intent,
    close_if_settled,
    expire,
    hold,
    locked,
)
from scheduler.services.release import Obstacle
from scheduler.vault.envelope import TokenUnavailableError

READ_BACK_DELAY: Final = timedelta(seconds=1)
_FIRST_BACKOFF: Final = timedelta(seconds=2)
_LONGEST_BACKOFF: Final = timedelta(minutes=2)
#: A look-up that cannot tell is tried again this often before a person has to look.
_MOST_LOOKS: Final = 8
#: While one worker looks, the others leave the delivery alone.
_LOOK_LEASE: Final = timedelta(seconds=60)

Outcome = Published | AdapterError


async def record(uow: UnitOfWork, kit: Kit, intent: Intent, outcome: Outcome) -> bool:
    """Write what came of a sent intent; True when the thread has another part to send."""
    delivery, account = await locked(uow, intent.work.claimed)
    attempt = await uow.session.get_one(Attempt, intent.attempt_id)
    match outcome:
        case Published():
            _end(attempt, uow.now, "sent", remote_id=outcome.remote_id)
            return await _record_part(uow, delivery, outcome, intent.work.parts)
        case OutcomeUnknownError():
            _end(attempt, uow.now, "unknown", error=outcome)
            settle = kit.platform(account.platform).capabilities.settle
            await _doubt(uow, delivery, outcome.code, str(outcome), intent.deadline + settle)
        case ContentRejectedError():
            _end(attempt, uow.now, "rejected", error=outcome)
            await reject(uow, delivery, outcome)
        case _:
            _end(attempt, uow.now, "not_sent", error=outcome)
            await put_off(uow, delivery, account, outcome)
    return False


async def record_unprepared(
    uow: UnitOfWork, claimed: Claimed, error: AdapterError | Obstacle
) -> None:
    """Write that a part could not be prepared; nothing of it has left as a post."""
    delivery, account = await locked(uow, claimed)
    match error:
        case Obstacle():
            await hold(uow, delivery, error)
        case ContentRejectedError():
            await reject(uow, delivery, error)
        case _:
            await put_off(uow, delivery, account, error)


async def reject(uow: UnitOfWork, delivery: Delivery, error: AdapterError) -> None:
    await deliveries.move(
        uow,
        delivery,
        DeliveryMove.REJECTED,
        detail=_why(error),
        reason=f"{error.code}: {error}",
        wake_at=None,
    )


async def put_off(
    uow: UnitOfWork, delivery: Delivery, account: Account, error: AdapterError
) -> None:
    """Definitely not public: try again later, and pause the account when its sign-in was refused."""
    progress = dict(delivery.progress)
    tries = int(progress.get("tries", 0))
    wait = min(_FIRST_BACKOFF * 2**tries, _LONGEST_BACKOFF)
    match error:
        case RateLimitedError():
            wait = error.retry_after
        case CredentialsRejectedError(session_only=True) if not progress.get("refresh"):
            progress["refresh"], wait = True, timedelta(0)
        case CredentialsRejectedError():
            if account.state == "active":
                await accounts.set_state(uow, account, "paused", f"sign-in refused: {error}", None)
        case _:
            progress["tries"] = tries + 1
            if error.code == "media_expired":
                progress.pop("media", None)  # upload again
    await deliveries.move(
        uow,
        delivery,
        DeliveryMove.RETRY,
        detail={**_why(error), "again": iso(uow.now + wait)},
        reason=f"{error.code}: {error}",
        progress=progress,
        wake_at=uow.now + wait,
        fence=delivery.fence + 1,
    )


async def recover(uow: UnitOfWork, kit: Kit, delivery_id: UUID) -> None:
    """Take back what a dead or sleeping worker held; what it may have sent becomes unknown (R3)."""
    delivery = await deliveries.lock_lapsed(uow, delivery_id)
    if delivery is None:
        return
    if delivery.state != DeliveryState.SENDING:
        await deliveries.move(
            uow,
            delivery,
            DeliveryMove.UNCLAIM,
            detail={"why": "lease over"},
            fence=delivery.fence + 1,
            wake_at=uow.now,
        )
        return
    account = await uow.session.get_one(Account, delivery.account_id)
    attempt = await _last_attempt(uow, delivery)
    error = OutcomeUnknownError("the worker ended before it recorded", code="worker_ended")
    _end(attempt, uow.now, "unknown", error=error)
    settle = kit.platform(account.platform).capabilities.settle
    await _doubt(uow, delivery, error.code, str(error), attempt.deadline + settle)


async def end_window(uow: UnitOfWork, delivery_id: UUID) -> None:
    """Expire a delivery past its window, or hold one that a paused account has made late."""
    delivery = await deliveries.lock_waiting(uow, delivery_id)
    if delivery is None:
        return
    if delivery.expires_at is not None and delivery.expires_at < uow.now:
        await expire(uow, delivery)
        return
    post = await uow.session.get_one(Post, delivery.post_id)
    due = delivery.due_at or uow.now
    if uow.now > due + timedelta(minutes=post.late_minutes):
        late = Obstacle(code="account_out_of_service", message="its account was paused too long")
        await hold(uow, delivery, late)


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
        receipts=tuple(_published(each) for each in delivery.progress.get("parts", [])),
    )


async def record_found(uow: UnitOfWork, look: Look, found: Published | None) -> None:
    """Write what the look-up after a doubtful end has shown."""
    delivery, _ = await locked(uow, look.claimed)
    attempt = await _last_attempt(uow, delivery)
    if found is None:
        _end(attempt, uow.now, "absent")
        await deliveries.move(
            uow,
            delivery,
            DeliveryMove.ABSENT,
            fence=delivery.fence + 1,
            wake_at=uow.now,
            reason="",
            progress=_without_looks(delivery),
        )
        uow.wake(delivery.account_id, uow.now)
        return
    _end(attempt, uow.now, "found", remote_id=found.remote_id)
    parts = len(rendering.parts_of(delivery))
    await _record_part(uow, delivery, found, parts)


async def record_no_answer(uow: UnitOfWork, look: Look, error: AdapterError) -> None:
    """A look that could not tell: again later, and after some times a person has to look."""
    delivery, _ = await locked(uow, look.claimed)
    looks = int(delivery.progress.get("looks", 0)) + 1
    if looks >= _MOST_LOOKS:
        message = f"the platform could not be asked: {error}"
        await _give_up_looking(uow, delivery, Obstacle(code="outcome_unknown", message=message))
        return
    delivery.progress = {**delivery.progress, "looks": looks}
    delivery.wake_at = uow.now + min(_FIRST_BACKOFF * 2**looks, _LONGEST_BACKOFF)


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


async def _record_part(
    uow: UnitOfWork, delivery: Delivery, published: Published, parts: int
) -> bool:
    """Keep the receipt of a public part; the last one makes the delivery sent."""
    receipt = {"id": published.remote_id, "url": published.url, "ref": published.ref}
    receipts = [*delivery.progress.get("parts", []), receipt]
    progress = {**_without_looks(delivery), "parts": receipts, "tries": 0, "refresh": False}
    detail: JsonObject = {"part": delivery.next_part, "remote": published.remote_id}
    unknown = delivery.state == DeliveryState.UNKNOWN
    if len(receipts) < parts:
        move = DeliveryMove.PART_FOUND if unknown else DeliveryMove.PART_SENT
        await deliveries.move(
            uow,
            delivery,
            move,
            detail=detail,
            progress=progress,
            next_part=len(receipts),
            reason="",
            wake_at=uow.now,
            fence=delivery.fence + (1 if unknown else 0),
            lease_until=None if unknown else uow.now + CLAIM_LEASE,
        )
        return True
    await deliveries.move(
        uow,
        delivery,
        DeliveryMove.FOUND if unknown else DeliveryMove.SENT,
        detail=detail,
        progress=progress,
        reason="",
        remote_id=receipts[0]["id"],
        remote_url=receipts[0]["url"],
        sent_at=uow.now,
        wake_at=uow.now + READ_BACK_DELAY,
    )
    await close_if_settled(uow, delivery.post_id)
    return False


async def _doubt(
    uow: UnitOfWork, delivery: Delivery, code: str, message: str, settled_at: datetime
) -> None:
    await deliveries.move(
        uow,
        delivery,
        DeliveryMove.UNKNOWN,
        detail={"code": code, "look": iso(settled_at)},
        reason=f"{code}: {message}",
        wake_at=settled_at,
        fence=delivery.fence + 1,
    )


async def _last_attempt(uow: UnitOfWork, delivery: Delivery) -> Attempt:
    query = select(Attempt).where(
        col(Attempt.delivery_id) == delivery.id, col(Attempt.number) == delivery.attempts
    )
    return (await uow.session.scalars(query)).one()


def _end(
    attempt: Attempt,
    now: datetime,
    outcome: str,
    *,
    error: AdapterError | None = None,
    remote_id: str | None = None,
) -> None:
    attempt.outcome, attempt.ended_at = outcome, now
    if error is not None:
        attempt.code, attempt.message = error.code, str(error)
        attempt.evidence = {**attempt.evidence, **error.evidence}
    if remote_id is not None:
        attempt.evidence = {**attempt.evidence, "remote_id": remote_id}


def _why(error: AdapterError) -> dict[str, Any]:
    return {"code": error.code, "evidence": dict(error.evidence)}


def _published(receipt: dict[str, Any]) -> Published:
    return Published(remote_id=receipt["id"], url=receipt["url"], ref=receipt["ref"])


def _without_looks(delivery: Delivery) -> dict[str, Any]:
    return {key: value for key, value in delivery.progress.items() if key != "looks"}
