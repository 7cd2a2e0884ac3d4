"""Alerts: found by looking, packed into messages, claimed by one sender at a time, and what came of it.

At least once, with the same id and the same bytes each time. Nothing here is on record: an alert changes no post, and
what it tells of has its record already.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from scheduler.db import alerts
from scheduler.db.alerts import TOLD_WITHIN, Told
from scheduler.db.tables import OutboundEvent, OutboundSend
from scheduler.db.uow import UnitOfWork, UnitOfWorkFactory
from scheduler.domain.alert_kinds import AlertKind
from scheduler.domain.alerts import (
    Alert,
    Target,
    judge_public,
    reason_of,
    write_mail,
    write_webhook,
)
from scheduler.domain.delivery_flow import DeliveryState
from scheduler.ids import new_id

#: The pause after each failed attempt; together just under a day, after which it is given up.
PAUSES: Final = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 60, 300, 1800, 2 * 3600, 5 * 3600, 8 * 3600, 8 * 3600)
)
#: How long a sender has a message to itself: longer than any attempt takes.
LEASE: Final = timedelta(seconds=60)
#: The first alert goes by mail at once; what follows within this time goes in one message.
GATHER: Final = timedelta(seconds=30)
_MOST_IN_ONE: Final = 50
_MOST_FOUND: Final = 200
_ERROR_LENGTH: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Where messages of one target go, and how they are written."""

    target: Target
    receiver: str  #: the address, hashed
    base_url: str  #: of this installation


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message in one sender's hands."""

    id: UUID  #: of the event that carries it: the same at every attempt
    attempt: int
    at: datetime
    body: bytes


def hash_receiver(address: str) -> str:
    return hashlib.sha256(address.encode()).hexdigest()[:32]


async def find_situations(open_uow: UnitOfWorkFactory) -> None:
    """Write the alerts that no record brings: what waits too long for a person or to leave, and silent workers."""
    async with open_uow.read() as uow:
        found = await _look(uow)
    if found:
        async with open_uow() as uow:
            await alerts.insert_new(uow, found)


async def _look(uow: UnitOfWork) -> list[OutboundEvent]:
    found = []
    undecided = {
        AlertKind.APPROVAL_DUE: await alerts.find_unapproved(uow, limit=_MOST_FOUND),
        AlertKind.CLEARANCE_LATE: await alerts.find_unanswered(uow, limit=_MOST_FOUND),
    }
    for kind, waiting in undecided.items():
        for post_id, since in waiting:
            subject = ("post", post_id)
            found.append(
                alerts.new_event(kind, subject, since, post_id=post_id, created_at=uow.now)
            )
    for delivery_id, post_id, due, paused in await alerts.find_unmoving(uow, limit=_MOST_FOUND):
        detail = {"why": f"the account is paused: {paused}"} if paused else {}
        subject = ("delivery", delivery_id)
        found.append(
            alerts.new_event(
                AlertKind.OVERDUE, subject, due, post_id=post_id, detail=detail, created_at=uow.now
            )
        )
    if silent := await alerts.find_silent(uow):
        living = await alerts.count_living(uow)
        others = f"{living} other(s) alive" if living else "no other is alive: nothing leaves"
        for sign in silent:
            detail = {"why": f"{sign.worker} since {sign.seen_at:%H:%M:%S} UTC; {others}"}
            subject = ("worker", sign.id)
            found.append(
                alerts.new_event(
                    AlertKind.WORKER_SILENT,
                    subject,
                    sign.seen_at,
                    detail=detail,
                    created_at=uow.now,
                )
            )
    return found


async def take(open_uow: UnitOfWorkFactory, way: Way, *, limit: int) -> list[Outgoing]:
    """Pack what is new and take up to `limit` messages that are due; nobody else gets them for `LEASE`."""
    async with open_uow.read() as uow:  # so that an idle process writes nothing
        may_pack = await _may_pack(uow, way) and await alerts.has_untold(uow, way.target)
        if not may_pack and not await alerts.has_due(uow, way.target):
            return []
    async with open_uow() as uow:
        if may_pack:
            await _pack(uow, way)
        return await _claim(uow, way, limit)


async def _pack(uow: UnitOfWork, way: Way) -> None:
    if not await alerts.enter_packing(uow, way.target) or not await _may_pack(uow, way):
        return
    found = await alerts.find_untold(uow, way.target, limit=_MOST_IN_ONE)
    if way.target is Target.WEBHOOK:
        for told in found:
            _add(uow, way, [told])
    elif found:
        _add(uow, way, found)
    await uow.session.flush()


async def _may_pack(uow: UnitOfWork, way: Way) -> bool:
    """Not for an address that said it is gone, and not a mail for each alert of a flood."""
    newest = await alerts.find_newest_send(uow, way.target)
    if newest is None:
        return True
    if newest.state == "gone" and newest.receiver == way.receiver:
        return False
    return way.target is Target.WEBHOOK or newest.created_at <= uow.now - GATHER


def _add(uow: UnitOfWork, way: Way, found: Sequence[Told], *, taken: bool = False) -> bytes:
    """Write one message about all of them, perhaps in our hands already; answers its body."""
    shown = [describe(told) for told in found]
    if way.target is Target.WEBHOOK:
        body = write_webhook(shown[0], way.base_url)
    else:
        subject, text = write_mail(shown, way.base_url)
        body = json.dumps({"subject": subject, "text": text}).encode()
    for alert in shown:
        uow.session.add(
            OutboundSend(
                event_id=alert.id,
                target=way.target.value,
                carrier=shown[0].id,
                receiver=way.receiver,
                body=body if alert is shown[0] else None,
                attempts=1 if taken else 0,
                wake_at=uow.now + LEASE if taken else uow.now,
                created_at=uow.now,
            )
        )
    return body


async def _claim(uow: UnitOfWork, way: Way, limit: int) -> list[Outgoing]:
    taken = []
    for row in await alerts.lock_due(uow, way.target, limit=limit):
        event = await uow.session.get_one(OutboundEvent, row.event_id)
        for each in await alerts.lock_sending(uow, way.target, row.carrier, row.attempts):
            each.attempts += 1
            each.wake_at = uow.now + LEASE
        taken.append(
            Outgoing(
                id=row.event_id, attempt=row.attempts, at=event.created_at, body=row.body or b""
            )
        )
    return taken


async def record_sent(uow: UnitOfWork, way: Way, outgoing: Outgoing, *, note: str = "") -> None:
    """It has arrived; `note` says for whom it has not."""
    for row in await alerts.lock_sending(uow, way.target, outgoing.id, outgoing.attempt):
        row.state, row.error, row.wake_at, row.ended_at = "sent", _short(note), None, uow.now


async def record_failed(uow: UnitOfWork, way: Way, outgoing: Outgoing, *, error: str) -> None:
    """It has not arrived, or nobody knows: again after a pause, and given up after a day."""
    for row in await alerts.lock_sending(uow, way.target, outgoing.id, outgoing.attempt):
        row.error = _short(error)
        pause = PAUSES[min(outgoing.attempt, len(PAUSES)) - 1]
        if uow.now + pause - row.created_at <= TOLD_WITHIN:
            row.wake_at = uow.now + pause
        else:
            row.state, row.wake_at, row.ended_at = "failed", None, uow.now


async def record_gone(uow: UnitOfWork, way: Way, outgoing: Outgoing, *, error: str) -> None:
    """The receiver wants no more: nothing is sent to this address again, until a test arrives there."""
    if await alerts.lock_sending(uow, way.target, outgoing.id, outgoing.attempt):
        await alerts.end_pending(uow, way.target, "gone", _short(error))


async def begin_test(uow: UnitOfWork, ways: Sequence[Way]) -> Mapping[Target, Outgoing]:
    """Write a test alert and take its messages at once; it is not repeated."""
    event_id = new_id()
    subject = ("alert", event_id)
    event = alerts.new_event(AlertKind.TEST, subject, uow.now, created_at=uow.now)
    uow.session.add(event)
    await uow.session.flush()
    told = Told(event, None, None, None, None)
    taken = {}
    for way in ways:
        body = _add(uow, way, [told], taken=True)
        taken[way.target] = Outgoing(id=event.id, attempt=1, at=uow.now, body=body)
    return taken


async def end_test(uow: UnitOfWork, way: Way, outgoing: Outgoing, *, error: str) -> None:
    for row in await alerts.lock_sending(uow, way.target, outgoing.id, outgoing.attempt):
        row.state, row.error = "failed" if error else "sent", _short(error)
        row.wake_at, row.ended_at = None, uow.now


def describe(told: Told) -> Alert:
    """The alert with what is known now."""
    event, delivery, post, account = told.event, told.delivery, told.post, told.account
    kind = AlertKind(event.kind)
    return Alert(
        id=event.id,
        kind=kind,
        at=event.created_at,
        subject_id=event.subject_id,
        public=judge_public(
            kind,
            event.detail,
            state=None if delivery is None else DeliveryState(delivery.state),
            parts=0 if delivery is None else len(delivery.progress.get("parts", [])),
        ),
        why=_why(told),
        post_id=event.post_id,
        title="" if post is None else post.title,
        account="" if account is None else account.code,
        handle="" if account is None else account.handle,
        mission="" if told.mission is None else told.mission.code,
        due_at=_due_at(told),
    )


def _why(told: Told) -> str:
    """What the record says; where it has only a code, the delivery has the sentence."""
    said = reason_of(told.event.detail)
    if said and told.delivery is not None and told.delivery.reason.startswith(f"{said}: "):
        return told.delivery.reason
    return said


def _due_at(told: Told) -> datetime | None:
    if told.delivery is not None:
        return told.delivery.due_at
    return None if told.post is None else told.post.due_at


def _short(text: str) -> str:
    return " ".join(text.split())[:_ERROR_LENGTH]
