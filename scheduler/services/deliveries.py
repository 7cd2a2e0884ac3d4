"""How a person ends a hold, a refusal or a doubt, with a reason on record."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from scheduler.canonical import JsonObject
from scheduler.clock import iso
from scheduler.db import attempts, deliveries, persons
from scheduler.db.tables import Account, Delivery, Post
from scheduler.db.uow import UnitOfWork
from scheduler.domain.delivery_flow import DeliveryMove, DeliveryState, plan
from scheduler.domain.people import Actor, Permission
from scheduler.domain.text import check_text
from scheduler.errors import ConflictError, InvalidError
from scheduler.services.holds import close_if_settled
from scheduler.services.postures import ReasonMissingError

#: A release may be set this far ahead, so that many are spread out instead of bursting.
_LONGEST_DELAY: Final = timedelta(hours=24)


class MaybePublicError(ConflictError):
    """Its last try may be public: somebody has to look and say that it is not."""

    code = "maybe_public"


class WindowOverError(ConflictError):
    code = "window_over"


class AddressMissingError(InvalidError):
    code = "address_missing"


class Resolution(StrEnum):
    POSTED = "posted"  #: it is public after all
    BY_HAND = "by_hand"  #: somebody posted it by hand
    CANCELLED = "cancelled"  #: it is not public and will not be


async def release(
    uow: UnitOfWork,
    actor: Actor,
    delivery_id: UUID,
    *,
    reason: str,
    not_public: bool,
    delay: timedelta = timedelta(0),
) -> Delivery:
    """Let a held or refused delivery go again, now or after `delay` (at most 24 hours).

    Raises:
        MaybePublicError: its last try may be public and `not_public` was not given.
        WindowOverError: the approved window is over by then.
    """
    delivery = await _get(uow, actor, delivery_id, reason)
    plan(DeliveryState(delivery.state), DeliveryMove.RELEASE)
    await refuse_maybe_public(uow, delivery, not_public=not_public)
    due = judge_delay(uow, delivery, delay)
    await let_go(uow, actor, delivery, due, {"reason": reason, "not_public": not_public})
    return delivery


async def let_go(
    uow: UnitOfWork, actor: Actor, delivery: Delivery, due: datetime, detail: JsonObject
) -> None:
    """Make it ready for the instant `due`; everything that may stand against it is asked again then."""
    post = await uow.session.get_one(Post, delivery.post_id)
    await deliveries.move(
        uow,
        delivery,
        DeliveryMove.RELEASE,
        actor=actor,
        detail={**detail, "due": iso(due)},
        due_at=due,
        wake_at=due,
        late_at=due + timedelta(minutes=post.late_minutes),
        reason="",
        fence=delivery.fence + 1,
        progress={**delivery.progress, "tries": 0, "looks": 0, "refresh": False},
    )
    uow.wake(delivery.account_id, due)


def judge_delay(uow: UnitOfWork, delivery: Delivery, delay: timedelta) -> datetime:
    """The instant of a release after `delay`, if the approved window is not over by then."""
    if not timedelta(0) <= delay <= _LONGEST_DELAY:
        raise InvalidError("a release can be set up to 24 hours ahead")
    due: datetime = uow.now + delay
    if delivery.expires_at is not None and due > delivery.expires_at:
        raise WindowOverError(
            f"the approved window ended at {iso(delivery.expires_at)}; submit a new post"
        )
    return due


async def resolve(
    uow: UnitOfWork,
    actor: Actor,
    delivery_id: UUID,
    *,
    reason: str,
    resolution: Resolution,
    url: str = "",
) -> Delivery:
    """End a held or refused delivery for good: it is public at `url`, or it will not be.

    Raises:
        AddressMissingError: said to be public, but not where.
    """
    delivery = await _get(uow, actor, delivery_id, reason)
    plan(DeliveryState(delivery.state), DeliveryMove.RESOLVE)
    detail: JsonObject = {
        "reason": reason,
        "resolution": resolution.value,
        "url": url,
        "public_parts": [part["url"] for part in delivery.progress.get("parts", [])],
    }
    action, values = DeliveryMove.CANCEL, {}
    if resolution is not Resolution.CANCELLED:
        check_text(url, "url")
        if not url.startswith(("https://", "http://")):
            raise AddressMissingError(
                "give the address where it is public (`--posted-by-hand URL`, or `--url`)"
            )
        person = await persons.get(uow, actor.person_id)
        how = "posted by hand" if resolution is Resolution.BY_HAND else "found public"
        values = {"remote_id": url, "remote_url": url, "sent_at": uow.now}
        values["reason"] = f"{how}, says {person.name} ({person.code}): {reason}"
        action = DeliveryMove.RESOLVE
    fence = delivery.fence + 1
    await deliveries.move(
        uow, delivery, action, actor=actor, detail=detail, wake_at=None, fence=fence, **values
    )
    await close_if_settled(uow, [delivery.post_id])
    return delivery


async def _get(uow: UnitOfWork, actor: Actor, delivery_id: UUID, reason: str) -> Delivery:
    if not reason.strip():
        raise ReasonMissingError("say why: the reason is kept in the record")
    check_text(reason, "reason")
    return await deliveries.get(uow, actor, delivery_id, needs=Permission.REPAIR)


async def refuse_maybe_public(uow: UnitOfWork, delivery: Delivery, *, not_public: bool) -> None:
    """Refuse to send again what may be public, unless a person has looked."""
    tries = (await attempts.find(uow, [delivery.id]))[delivery.id]
    if tries and tries[-1].outcome == "unknown" and not not_public:
        account = await uow.session.get_one(Account, delivery.account_id)
        raise MaybePublicError(
            f"the last try may be public: look at {account.url} and, when it is not there, "
            "say so with --not-public",
            url=account.url,
        )
