"""What came of an intent: recorded once, under the fence, with the evidence; and what is done about doubt.

An adapter's exception class is the decision: `UnavailableError` and `RateLimitedError` mean definitely not sent,
`ContentRejectedError` definitely refused, and everything else may be public and waits for a look-up.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from adapters.base import Published
from adapters.errors import (
    AdapterError,
    ContentRejectedError,
    CredentialsRejectedError,
    OutcomeUnknownError,
    RateLimitedError,
)
from scheduler.canonical import JsonObject
from scheduler.clock import iso
from scheduler.db import attempts, deliveries, moves
from scheduler.db.moves import PlannedMove
from scheduler.db.tables import Account, Attempt, Delivery
from scheduler.db.uow import UnitOfWork
from scheduler.domain.delivery_flow import DeliveryMove, DeliveryState
from scheduler.services import accounts
from scheduler.services.holds import Claimed, close_if_settled, expire, hold, locked
from scheduler.services.kit import Kit
from scheduler.services.publishing import CLAIM_LEASE, Intent
from scheduler.services.release import Obstacle

READ_BACK_DELAY: Final = timedelta(seconds=1)
_FIRST_BACKOFF: Final = timedelta(seconds=2)
_LONGEST_BACKOFF: Final = timedelta(minutes=2)

Outcome = Published | AdapterError


async def record(
    uow: UnitOfWork, kit: Kit, ended: Sequence[tuple[Intent, Outcome]]
) -> list[bool | Exception]:
    """Write what came of sent intents; True for a thread that has another part to send."""
    fences = {intent.work.claimed.delivery_id: intent.work.claimed.fence for intent, _ in ended}
    held = await deliveries.lock_all(uow, fences)
    tries = await attempts.get_all(uow, [intent.attempt_id for intent, _ in ended])
    sent: list[PlannedMove] = []
    ends: list[tuple[Attempt, dict[str, Any]]] = []
    told: list[bool | Exception] = []
    for intent, outcome in ended:
        delivery = held.get(intent.work.claimed.delivery_id)
        if delivery is None:
            told.append(deliveries.passed_on(intent.work.claimed.delivery_id))
        elif isinstance(outcome, Published):
            attempt = tries[intent.attempt_id]
            ends.append((attempt, _build_end(attempt, outcome, uow.now)))
            can = kit.platform(intent.work.platform).capabilities
            part = plan_part(uow, delivery, outcome, intent.work.parts, reads_back=can.read_back)
            sent.append(part)
            told.append(part.values["state"] == DeliveryState.PREPARING)
        else:
            await _record_failure(uow, kit, intent, outcome)
            told.append(False)
    await attempts.end_all(uow, ends)
    await moves.write(uow, sent)
    await close_if_settled(uow, {move.delivery.post_id for move in sent})
    return told


def _build_end(attempt: Attempt, published: Published, now: datetime) -> dict[str, Any]:
    evidence = {**attempt.evidence, "remote_id": published.remote_id}
    return {"outcome": "sent", "ended_at": now, "evidence": evidence}


async def _record_failure(uow: UnitOfWork, kit: Kit, intent: Intent, error: AdapterError) -> None:
    delivery, account = await locked(uow, intent.work.claimed)
    attempt = await uow.session.get_one(Attempt, intent.attempt_id, populate_existing=True)
    match error:
        case OutcomeUnknownError():
            end_attempt(attempt, uow.now, "unknown", error=error)
            settle = kit.platform(account.platform).capabilities.settle
            await _doubt(uow, delivery, error.code, str(error), intent.deadline + settle)
        case ContentRejectedError():
            end_attempt(attempt, uow.now, "rejected", error=error)
            await reject(uow, delivery, error)
        case _:
            end_attempt(attempt, uow.now, "not_sent", error=error)
            await put_off(uow, delivery, account, error)


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
    wait = backoff(tries)
    match error:
        case RateLimitedError():
            wait = error.retry_after
        case CredentialsRejectedError(session_only=True) if not progress.get("refresh"):
            progress["refresh"], wait = True, timedelta(0)
        case CredentialsRejectedError():
            await accounts.pause_refused(uow, account, f"sign-in refused: {error}")
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
    if delivery.late_at is not None and uow.now + wait > delivery.late_at:
        await uow.session.refresh(delivery)
        late = Obstacle(code="late", message=f"it could only go on after its time: {error}")
        await hold(uow, delivery, late)


async def recover(uow: UnitOfWork, kit: Kit, delivery_id: UUID) -> None:
    """Take back what a dead or sleeping worker held; what it may have sent becomes unknown (R3)."""
    delivery = await deliveries.lock_lapsed(uow, delivery_id)
    if delivery is None:
        return
    if delivery.state != DeliveryState.SENDING:
        await _unclaim(uow, delivery, "lease over")
        return
    account = await uow.session.get_one(Account, delivery.account_id)
    attempt = await attempts.get_last(uow, delivery)
    error = OutcomeUnknownError("the worker ended before it recorded", code="worker_ended")
    end_attempt(attempt, uow.now, "unknown", error=error)
    settle = kit.platform(account.platform).capabilities.settle
    await _doubt(uow, delivery, error.code, str(error), attempt.deadline + settle)


async def give_back(uow: UnitOfWork, delivery_id: UUID, fence: int) -> None:
    """Make a claim that its own worker has dropped free for everybody, without waiting for the end of its lease."""
    delivery = await deliveries.lock(uow, delivery_id, fence)
    await _unclaim(uow, delivery, "dropped")


async def _unclaim(uow: UnitOfWork, delivery: Delivery, why: str) -> None:
    await deliveries.move(
        uow,
        delivery,
        DeliveryMove.UNCLAIM,
        detail={"why": why},
        fence=delivery.fence + 1,
        wake_at=uow.now,
    )


async def end_window(uow: UnitOfWork, delivery_id: UUID) -> None:
    """Expire a delivery past its window, or hold one past the time at which it may still leave by itself."""
    delivery = await deliveries.lock_waiting(uow, delivery_id)
    if delivery is None:
        return
    if delivery.expires_at is not None and delivery.expires_at < uow.now:
        await expire(uow, delivery)
        return
    is_late = delivery.late_at is not None and delivery.late_at < uow.now
    if delivery.state == DeliveryState.READY and is_late:
        account = await uow.session.get_one(Account, delivery.account_id)
        why = delivery.reason or f"the account is {account.state}"
        await hold(uow, delivery, Obstacle(code="late", message=f"it could not leave: {why}"))


def plan_part(
    uow: UnitOfWork,
    delivery: Delivery,
    published: Published,
    parts: int,
    *,
    reads_back: bool = True,
) -> PlannedMove:
    """Keep the receipt of a public part; the last one makes the delivery sent, to be read back where one can."""
    receipt = {"id": published.remote_id, "url": published.url, "ref": published.ref}
    receipts = [*delivery.progress.get("parts", []), receipt]
    unknown = delivery.state == DeliveryState.UNKNOWN
    values = {
        "progress": {**without_looks(delivery), "parts": receipts, "tries": 0, "refresh": False},
        "remote_id": receipts[0]["id"],
        "remote_url": receipts[0]["url"],
        "reason": "",
    }
    if len(receipts) == parts:
        move = DeliveryMove.FOUND if unknown else DeliveryMove.SENT
        values |= {"sent_at": uow.now, "wake_at": uow.now + READ_BACK_DELAY if reads_back else None}
    else:
        move = DeliveryMove.PART_FOUND if unknown else DeliveryMove.PART_SENT
        values |= {
            "next_part": len(receipts),
            "wake_at": uow.now,
            "fence": delivery.fence + (1 if unknown else 0),
            "lease_until": None if unknown else uow.now + CLAIM_LEASE,
        }
    detail: JsonObject = {"part": delivery.next_part, "remote": published.remote_id}
    return moves.plan(uow, delivery, move, detail=detail, **values)


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


async def keep_late_answer(uow: UnitOfWork, intent: Intent, outcome: Outcome) -> None:
    """An answer after the claim has passed into other hands decides nothing, but it is evidence."""
    attempt = await uow.session.get_one(Attempt, intent.attempt_id)
    told = outcome.remote_id if isinstance(outcome, Published) else outcome.code
    attempt.evidence = {**attempt.evidence, "late_answer": told}


def end_attempt(
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


def backoff(tries: int) -> timedelta:
    wait: timedelta = _FIRST_BACKOFF * 2 ** min(tries, 10)
    return min(wait, _LONGEST_BACKOFF)


def _why(error: AdapterError) -> dict[str, Any]:
    return {"code": error.code, "evidence": dict(error.evidence)}


def without_looks(delivery: Delivery) -> dict[str, Any]:
    return {key: value for key, value in delivery.progress.items() if key != "looks"}
