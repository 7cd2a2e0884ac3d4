"""The transactions of publishing: claim, prepare, intend, record. The network calls lie between them.

Nothing here waits for a platform. The order is fixed: the intent (attempt, key, request digest, deadline, fence) is
committed before the first byte leaves, and every write carries the fence of the claim.
"""

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlmodel import col, select

from adapters.base import Credentials, MediaRef
from scheduler.canonical import sha256_hex
from scheduler.clock import from_iso, iso
from scheduler.db import deliveries, posts, rules
from scheduler.db.tables import Account, Attempt, Delivery, Post
from scheduler.db.uow import UnitOfWork
from scheduler.domain.content import idempotency_key
from scheduler.domain.delivery_flow import CLOSING, DeliveryMove, DeliveryState
from scheduler.domain.lateness import Timing
from scheduler.domain.post_flow import PostMove, PostState
from scheduler.services import rendering, secrets
from scheduler.services.kit import Kit
from scheduler.services.release import Clearance, Obstacle, clear, judge_time
from scheduler.services.rendering import PayloadPart

#: How much longer than the platform's time-out a lease lasts (R2): the record is written within it.
LEASE_MARGIN: Final = timedelta(seconds=10)
#: How long a claim may wait for its instant and prepare.
CLAIM_LEASE: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What a worker has in hand: valid as long as the fence is."""

    delivery_id: UUID
    account_id: UUID
    fence: int
    due_at: datetime
    due_at_s: float  #: the same instant on this host's monotonic clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Everything one part needs to be prepared and sent."""

    claimed: Claimed
    platform: str
    credentials: Credentials
    payload: PayloadPart
    part: int
    parts: int
    key: str
    created_at: datetime
    media_receipts: dict[str, Any]
    parent: Any
    root: Any
    must_refresh: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A committed intent; `deadline` and `lease_until` are in the database's time."""

    work: Work
    attempt_id: UUID
    body: bytes
    deadline: datetime
    send_before_s: float  #: on this host's monotonic clock: later, the lease could end first (R2)
    record_before_s: float


async def claim(
    uow: UnitOfWork, *, worker: str, ahead: timedelta, limit: int
) -> tuple[Claimed, ...]:
    found = await deliveries.claim(
        uow, worker=worker, ahead=ahead, lease=ahead + CLAIM_LEASE, limit=limit
    )
    return tuple(
        Claimed(
            delivery_id=delivery.id,
            account_id=delivery.account_id,
            fence=delivery.fence,
            due_at=delivery.wake_at or uow.now,
            due_at_s=uow.read_at_s + ((delivery.wake_at or uow.now) - uow.now).total_seconds(),
        )
        for delivery in found
    )


async def prepare(uow: UnitOfWork, kit: Kit, claimed: Claimed) -> Work | None:
    """Start, or go on with, a delivery; None when it must not leave and was held."""
    delivery, account = await locked(uow, claimed)
    cleared = await clear(uow, delivery, account)
    if isinstance(cleared, Obstacle):
        await hold(uow, delivery, cleared)
        return None
    if not await _is_in_time(uow, delivery, cleared, may_be_early=True):
        return None
    post = await uow.session.get_one(Post, delivery.post_id)
    progress = dict(delivery.progress)
    progress.setdefault("created_at", iso(max(uow.now, claimed.due_at)))
    if delivery.state == DeliveryState.CLAIMED:
        await deliveries.move(uow, delivery, DeliveryMove.PREPARE, progress=progress)
    parts = rendering.parts_of(delivery)
    receipts = progress.get("parts", [])
    return Work(
        claimed=claimed,
        platform=account.platform,
        credentials=await secrets.open_credentials(uow, kit, account),
        payload=parts[delivery.next_part],
        part=delivery.next_part,
        parts=len(parts),
        key=idempotency_key(str(delivery.id), post.revision, delivery.next_part),
        created_at=from_iso(progress["created_at"]) + timedelta(milliseconds=delivery.next_part),
        media_receipts={
            media.sha256: kept["ref"]
            for media in parts[delivery.next_part].media
            if (kept := progress.get("media", {}).get(media.sha256)) is not None
            and _is_good_receipt(kit, account.platform, delivery.id, media, kept, uow.now)
        },
        parent=receipts[-1]["ref"] if receipts else None,
        root=receipts[0]["ref"] if receipts else None,
        must_refresh=bool(progress.get("refresh")),
    )


async def save_session(
    uow: UnitOfWork, kit: Kit, claimed: Claimed, credentials: Credentials
) -> None:
    """Seal a renewed session before it is used."""
    _, account = await locked(uow, claimed)
    if credentials.session is not None:
        await secrets.seal(uow, kit, account, "session", credentials.session, actor=None)


async def extend(uow: UnitOfWork, claimed: Claimed) -> None:
    """Say that the claim is alive: an upload may take longer than a lease."""
    delivery, _ = await locked(uow, claimed)
    delivery.lease_until = uow.now + CLAIM_LEASE


async def save_media(
    uow: UnitOfWork,
    kit: Kit,
    claimed: Claimed,
    media: MediaRef,
    receipt: Any,  # noqa: ANN401 - the platform's own JSON
) -> None:
    """Keep what the platform answered to an upload, so that a later try need not upload again."""
    delivery, _ = await locked(uow, claimed)
    kept = {
        "ref": receipt,
        "at": iso(uow.now),
        "mac": _receipt_mac(kit, claimed.delivery_id, media, receipt),
    }
    receipts = {**delivery.progress.get("media", {}), media.sha256: kept}
    delivery.progress = {**delivery.progress, "media": receipts}


async def intend(uow: UnitOfWork, kit: Kit, work: Work, body: bytes) -> Intent | None:
    """Commit to sending exactly these bytes now; None when it must not leave (R1, R2, R5-R8)."""
    await rules.enter_gate(uow, exclusive=False)
    delivery, account = await locked(uow, work.claimed)
    cleared = await clear(uow, delivery, account)
    if isinstance(cleared, Obstacle):
        await hold(uow, delivery, cleared)
        return None
    if not await _is_in_time(uow, delivery, cleared):
        return None
    return await _commit_intent(uow, kit, work, delivery, cleared, body)


async def _commit_intent(
    uow: UnitOfWork,
    kit: Kit,
    work: Work,
    delivery: Delivery,
    cleared: Clearance,
    body: bytes,
) -> Intent:
    timeout = kit.platform(work.platform).capabilities.publish_timeout
    send_within = LEASE_MARGIN / 2
    attempt = _build_attempt(work, delivery, body, uow.now, uow.now + send_within + timeout)
    uow.session.add(attempt)
    await deliveries.move(
        uow,
        delivery,
        DeliveryMove.INTENT,
        detail={
            "attempt": attempt.number,
            "part": work.part,
            "request": f"sha256:{attempt.request_sha256}",
            "digest": cleared.digest,
            "approval": str(cleared.approval_id),
            "policy": cleared.policy,
            "deadline": iso(attempt.deadline),
            "fence": delivery.fence,
        },
        attempts=attempt.number,
        lease_until=attempt.deadline + LEASE_MARGIN / 2,
    )
    return Intent(
        work=work,
        attempt_id=attempt.id,
        body=body,
        deadline=attempt.deadline,
        send_before_s=uow.asked_at_s + send_within.total_seconds(),
        record_before_s=uow.asked_at_s + (timeout + LEASE_MARGIN).total_seconds(),
    )


def _build_attempt(
    work: Work, delivery: Delivery, body: bytes, now: datetime, deadline: datetime
) -> Attempt:
    return Attempt(
        delivery_id=delivery.id,
        number=delivery.attempts + 1,
        part=work.part,
        fence=delivery.fence,
        idempotency_key=work.key,
        request=body,
        request_sha256=sha256_hex(body),
        started_at=now,
        deadline=deadline,
        evidence={},
    )


async def hold(uow: UnitOfWork, delivery: Delivery, obstacle: Obstacle) -> None:
    """Stop a delivery until a person releases or ends it."""
    await deliveries.move(
        uow,
        delivery,
        DeliveryMove.HOLD,
        detail={"code": obstacle.code, "why": obstacle.message},
        reason=f"{obstacle.code}: {obstacle.message}",
        fence=delivery.fence + 1,
        wake_at=None,
    )


async def unclaim(uow: UnitOfWork, claimed: Claimed) -> None:
    """Give a delivery back unsent, for the next worker; a shutdown does this."""
    delivery, _ = await locked(uow, claimed)
    await deliveries.move(
        uow, delivery, DeliveryMove.UNCLAIM, fence=delivery.fence + 1, wake_at=claimed.due_at
    )


async def locked(uow: UnitOfWork, claimed: Claimed) -> tuple[Delivery, Account]:
    """The delivery if this claim is still good, and its account as it is now."""
    delivery = await deliveries.lock(uow, claimed.delivery_id, claimed.fence)
    account = await uow.session.get_one(Account, delivery.account_id, populate_existing=True)
    return delivery, account


async def _is_in_time(
    uow: UnitOfWork, delivery: Delivery, cleared: Clearance, *, may_be_early: bool = False
) -> bool:
    post = await uow.session.get_one(Post, delivery.post_id)
    verdict = judge_time(now=uow.now, post=post, delivery=delivery, approved_at=cleared.approved_at)
    match verdict:
        case Timing.IN_TIME:
            return True
        case Timing.EARLY if may_be_early:
            return True
        case Timing.EARLY:
            # Only a changed row or a jumping clock gets here: wait for the approved instant.
            await deliveries.move(
                uow,
                delivery,
                DeliveryMove.UNCLAIM,
                fence=delivery.fence + 1,
                wake_at=max(each for each in (post.due_at, delivery.due_at) if each),
            )
        case Timing.LATE:
            late = Obstacle(
                code="late", message=f"more than {post.late_minutes} minutes after its time"
            )
            await hold(uow, delivery, late)
        case Timing.EXPIRED:
            await expire(uow, delivery)
    return False


async def expire(uow: UnitOfWork, delivery: Delivery) -> None:
    """End what was never public; a thread that is public in part waits for a person instead."""
    if delivery.progress.get("parts"):
        if delivery.state != DeliveryState.HELD:
            over = Obstacle(code="window_over", message="the window ended; a part is public")
            await hold(uow, delivery, over)
        return
    await deliveries.move(
        uow,
        delivery,
        DeliveryMove.EXPIRE,
        reason="expired: the approved window is over",
        fence=delivery.fence + 1,
        wake_at=None,
    )
    await close_if_settled(uow, delivery.post_id)


async def close_if_settled(uow: UnitOfWork, post_id: UUID) -> None:
    """Close a scheduled post when nothing more happens to any of its deliveries by itself."""
    post = await uow.session.get_one(Post, post_id, with_for_update=True, populate_existing=True)
    states = await uow.session.scalars(
        select(col(Delivery.state)).where(col(Delivery.post_id) == post_id)
    )
    if post.state == PostState.SCHEDULED and set(states) <= CLOSING:
        await posts.move(uow, post, PostMove.CLOSE, actor=None)


def _is_good_receipt(
    kit: Kit,
    platform: str,
    delivery_id: UUID,
    media: MediaRef,
    kept: dict[str, Any],
    now: datetime,
) -> bool:
    """Whether the platform still knows the upload, and it is of this picture with this description.

    Receipts are outside of what is approved: the keyed digest keeps a changed row from putting another picture there.
    """
    lifetime = kit.platform(platform).capabilities.media_lifetime
    expected = _receipt_mac(kit, delivery_id, media, kept["ref"])
    return hmac.compare_digest(expected, str(kept.get("mac"))) and (
        from_iso(kept["at"]) + lifetime > now
    )


def _receipt_mac(kit: Kit, delivery_id: UUID, media: MediaRef, receipt: Any) -> str:  # noqa: ANN401 - the platform's own JSON
    told = json.dumps([str(delivery_id), asdict(media), receipt], sort_keys=True).encode()
    return hmac.new(kit.ring.derive("media receipts"), told, hashlib.sha256).hexdigest()
