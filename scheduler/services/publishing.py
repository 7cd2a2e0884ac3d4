"""The transactions of publishing: claim, prepare, intend, each for many deliveries. The network calls lie between them.

Nothing here waits for a platform. The order is fixed: the intent (attempt, key, request digest, deadline, fence) is
committed before the first byte leaves, and every write carries the fence of the claim.
"""

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar
from uuid import UUID

from adapters.base import Credentials, MediaRef
from scheduler.canonical import sha256_hex
from scheduler.clock import from_iso, iso
from scheduler.db import accounts, attempts, deliveries, moves, rules
from scheduler.db.attempts import NewAttempt
from scheduler.db.cases import Case
from scheduler.db.moves import PlannedMove
from scheduler.db.tables import Delivery
from scheduler.db.uow import UnitOfWork
from scheduler.domain.content import idempotency_key
from scheduler.domain.delivery_flow import DeliveryMove, DeliveryState
from scheduler.domain.lateness import Timing
from scheduler.domain.pace import Wait
from scheduler.ids import new_id
from scheduler.services import pacing, release, rendering, secrets
from scheduler.services.holds import Claimed, locked
from scheduler.services.kit import Kit
from scheduler.services.release import Bench, Clearance, Obstacle, approved_due, due
from scheduler.services.rendering import PayloadPart

#: How much longer than the platform's time-out a lease lasts (R2): the record is written within it.
LEASE_MARGIN: Final = timedelta(seconds=10)
#: How long after its intent a request may start; later it stays here.
_SEND_WITHIN: Final = LEASE_MARGIN / 2
#: How long a claim may wait for its instant and prepare.
CLAIM_LEASE: Final = timedelta(seconds=45)

Asked = TypeVar("Asked")
Told = TypeVar("Told")
#: Why a delivery does not leave now.
Refusal = Obstacle | Timing | Wait


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
    approved_for: datetime  #: the instant that was approved: later tries do not change it
    created_at: datetime  #: the instant for which it is due now
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
    uow: UnitOfWork, *, worker: str, ahead: timedelta, limit: int, full: Iterable[str] = ()
) -> tuple[Claimed, ...]:
    """Take what is due within `ahead`, but nothing on a server that is `full`."""
    found = await deliveries.claim(
        uow,
        worker=worker,
        until=uow.now + ahead,
        lease=ahead + CLAIM_LEASE,
        limit=limit,
        full=full,
    )
    return tuple(
        Claimed(
            delivery_id=each.delivery_id,
            account_id=each.account_id,
            server=each.server,
            fence=each.fence,
            due_at=each.due_at,
            due_at_s=uow.read_at_s + (each.due_at - uow.now).total_seconds(),
        )
        for each in found
    )


async def prepare(
    uow: UnitOfWork, kit: Kit, claims: Sequence[Claimed]
) -> list[Work | Refusal | Exception]:
    """Start, or go on with, deliveries; one that must not leave is answered with the reason and left as it is."""
    bench = await _load(uow, claims)
    in_use = {case.account.id for case in bench.cases.values()}
    sealed = await accounts.find_all_sealed(uow, in_use)
    planned: list[PlannedMove] = []

    async def one(claimed: Claimed) -> Work | Refusal:
        case = _case(bench, claimed)
        verdict = bench.judge(case)
        if not isinstance(verdict, Clearance) and verdict is not Timing.EARLY:
            return verdict
        credentials = secrets.open_found(kit, case.account, sealed[case.account.id])
        work = _build_work(kit, case, claimed, credentials, uow.now)
        if case.delivery.state == DeliveryState.CLAIMED:
            planned.append(moves.plan(uow, case.delivery, DeliveryMove.PREPARE))
        return work

    told = await _each(claims, one)
    await moves.write(uow, planned)
    return told


async def _load(uow: UnitOfWork, claims: Sequence[Claimed]) -> Bench:
    """The cases that are still in this worker's hands."""
    held = await deliveries.lock_all(uow, {each.delivery_id: each.fence for each in claims})
    return await release.load(uow, held.values())


def _case(bench: Bench, claimed: Claimed) -> Case:
    if claimed.delivery_id not in bench.cases:
        raise deliveries.passed_on(claimed.delivery_id)
    return bench.cases[claimed.delivery_id]


async def _each(
    asked: Sequence[Asked], one: Callable[[Asked], Awaitable[Told]]
) -> list[Told | Exception]:
    """The answer to each; what breaks one delivery is its own answer and does not stop the others."""
    told: list[Told | Exception] = []
    for each in asked:
        try:
            told.append(await one(each))
        except Exception as exc:  # noqa: BLE001 - it is raised to whoever has this delivery in hand
            told.append(exc)
    return told


def _build_work(
    kit: Kit,
    case: Case,
    claimed: Claimed,
    credentials: Credentials,
    now: datetime,
) -> Work:
    delivery, platform = case.delivery, case.account.platform
    progress, parts = delivery.progress, rendering.parts_of(delivery)
    receipts = progress.get("parts", [])
    step = timedelta(milliseconds=delivery.next_part)
    return Work(
        claimed=claimed,
        platform=platform,
        credentials=credentials,
        payload=parts[delivery.next_part],
        part=delivery.next_part,
        parts=len(parts),
        key=idempotency_key(str(delivery.id), case.post.revision, delivery.next_part),
        approved_for=approved_due(case) + step,
        created_at=due(case) + step,
        media_receipts={
            media.sha256: kept["ref"]
            for media in parts[delivery.next_part].media
            if (kept := progress.get("media", {}).get(media.sha256)) is not None
            and _is_good_receipt(kit, platform, delivery.id, media, kept, now)
        },
        parent=receipts[-1]["ref"] if receipts else None,
        root=receipts[0]["ref"] if receipts else None,
        must_refresh=bool(progress.get("refresh")),
    )


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


async def intend(
    uow: UnitOfWork, kit: Kit, ready: Sequence[tuple[Work, bytes]]
) -> list[Intent | Refusal | Exception]:
    """Commit to sending exactly these bytes now (R1, R2, R5-R8).

    One that must not leave is answered with the reason and left as it is.
    """
    await rules.enter_gate(uow, exclusive=False)
    bench = await _load(uow, [work.claimed for work, _ in ready])
    pace = await pacing.load(uow, kit, bench.cases.values())
    planned: list[PlannedMove] = []
    made: list[NewAttempt] = []

    async def one(asked: tuple[Work, bytes]) -> Intent | Refusal:
        work, body = asked
        case = _case(bench, work.claimed)
        verdict = bench.judge(case)
        if not isinstance(verdict, Clearance):
            return verdict
        if (wait := await pace.find_wait(case)) is not None:
            return wait
        pace.spend(case)
        timeout = kit.platform(work.platform).capabilities.publish_timeout
        attempt = _build_attempt(work, case.delivery, body, uow.now, timeout)
        planned.append(_plan_intent(uow, case.delivery, attempt, verdict))
        made.append(attempt)
        return Intent(
            work=work,
            attempt_id=attempt.id,
            body=body,
            deadline=attempt.deadline,
            send_before_s=uow.asked_at_s + _SEND_WITHIN.total_seconds(),
            record_before_s=uow.asked_at_s + (timeout + LEASE_MARGIN).total_seconds(),
        )

    told = await _each(ready, one)
    await attempts.add_all(uow, made)
    await moves.write(uow, planned)
    return told


def _plan_intent(
    uow: UnitOfWork, delivery: Delivery, attempt: NewAttempt, cleared: Clearance
) -> PlannedMove:
    return moves.plan(
        uow,
        delivery,
        DeliveryMove.INTENT,
        detail={
            "attempt": attempt.number,
            "part": attempt.part,
            "request": f"sha256:{attempt.request_sha256}",
            "digest": cleared.digest,
            "approval": str(cleared.approval_id),
            "policy": cleared.policy,
            "deadline": iso(attempt.deadline),
            "fence": delivery.fence,
        },
        attempts=attempt.number,
        lease_until=attempt.deadline + LEASE_MARGIN - _SEND_WITHIN,
    )


def _build_attempt(
    work: Work, delivery: Delivery, body: bytes, now: datetime, timeout: timedelta
) -> NewAttempt:
    return NewAttempt(
        id=new_id(),
        delivery_id=delivery.id,
        account_id=delivery.account_id,
        number=delivery.attempts + 1,
        part=work.part,
        fence=delivery.fence,
        idempotency_key=work.key,
        request=body,
        request_sha256=sha256_hex(body),
        started_at=now,
        deadline=now + _SEND_WITHIN + timeout,
    )


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
