"""Taking a delivery out of a worker's hands: given back, held, expired; and closing a post when all is settled."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from scheduler.clock import iso
from scheduler.db import deliveries, posts
from scheduler.db.tables import Account, Delivery, Post
from scheduler.db.uow import UnitOfWork
from scheduler.domain.delivery_flow import DeliveryMove, DeliveryState
from scheduler.domain.lateness import Timing
from scheduler.domain.pace import Wait
from scheduler.domain.post_flow import PostMove
from scheduler.services.release import Obstacle


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """What a worker has in hand: valid as long as the fence is."""

    delivery_id: UUID
    account_id: UUID
    server: str  #: where the account is
    fence: int
    due_at: datetime
    due_at_s: float  #: the same instant on this host's monotonic clock


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


async def turn_away(uow: UnitOfWork, claimed: Claimed, why: Obstacle | Timing | Wait) -> None:
    """Do with a delivery what follows from the reason why it must not leave now."""
    delivery, _ = await locked(uow, claimed)
    post = await uow.session.get_one(Post, delivery.post_id)
    match why:
        case Obstacle():
            await hold(uow, delivery, why)
        case Wait():
            await deliveries.move(
                uow,
                delivery,
                DeliveryMove.UNCLAIM,
                detail={"code": why.code, "why": why.message, "again": iso(why.until)},
                reason=f"{why.code}: {why.message}; again at {iso(why.until)}",
                fence=delivery.fence + 1,
                wake_at=why.until,
            )
        case Timing.LATE:
            late = f"more than {post.late_minutes} minutes after its time"
            await hold(uow, delivery, Obstacle(code="late", message=late))
        case Timing.EXPIRED:
            await expire(uow, delivery)
        case Timing.EARLY | Timing.IN_TIME:
            # Only a changed row or a jumping clock gets here: wait for the approved instant.
            await deliveries.move(
                uow,
                delivery,
                DeliveryMove.UNCLAIM,
                fence=delivery.fence + 1,
                wake_at=max(each for each in (post.due_at, delivery.due_at) if each),
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
    await close_if_settled(uow, [delivery.post_id])


async def close_if_settled(uow: UnitOfWork, post_ids: Iterable[UUID]) -> None:
    """Close each scheduled post of whose deliveries none moves any more by itself."""
    for post in await posts.lock_settled(uow, post_ids):
        await posts.move(uow, post, PostMove.CLOSE, actor=None)
