"""How a person ends a hold, a refusal or a doubt, and what they may not do."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import update
from sqlmodel import col

from scheduler.db import deliveries as rows
from scheduler.db import sight
from scheduler.db.tables import Attempt, Delivery, Post
from scheduler.domain.delivery_flow import DeliveryMove, DeliveryState
from scheduler.services import deliveries
from scheduler.services.deliveries import Resolution
from scheduler.services.writing import When
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    recording,
    refused,
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")
SERVER = "https://social.karvenia.example/@mfa"
SOON = When(local="2090-06-01T09:00")


async def _left(world: World, outcome: str | None = None, **values: Any) -> Delivery:
    """A delivery as the engine leaves it behind, with the end of its one attempt."""
    post = await world.scheduled(when=SOON)
    async with world.app.open_uow() as uow:
        query = update(Delivery).where(col(Delivery.post_id) == post.id)
        await uow.session.execute(query.values(**{"state": "held", "wake_at": None, **values}))
    [delivery] = await world.deliveries(post)
    if outcome is not None:
        async with world.app.open_uow() as uow:
            attempt = Attempt(
                delivery_id=delivery.id,
                number=1,
                part=0,
                fence=1,
                idempotency_key="k",
                request=b"{}",
                request_sha256="0" * 64,
                started_at=uow.now,
                deadline=uow.now,
                outcome=outcome,
                evidence={},
                ended_at=uow.now,
            )
            uow.session.add(attempt)
    return delivery


async def _release(
    world: World, delivery: Delivery, *, by: str = "zorc", **fields: Any
) -> Delivery:
    values = {"reason": "looked at it", "not_public": False, **fields}
    async with world.as_(by) as (uow, actor):
        return await deliveries.release(uow, actor, delivery.id, **values)


async def _resolve(
    world: World, delivery: Delivery, *, by: str = "zorc", **fields: Any
) -> Delivery:
    url = f"{SERVER}/{delivery.id}"
    values = {"reason": "looked at it", "resolution": Resolution.POSTED, "url": url, **fields}
    async with world.as_(by) as (uow, actor):
        return await deliveries.resolve(uow, actor, delivery.id, **values)


async def _post_state(world: World, delivery: Delivery) -> str:
    async with world.app.open_uow.read() as uow:
        return (await uow.session.get_one(Post, delivery.post_id)).state


@pytest.mark.parametrize("state", ["held", "rejected"])
async def test_a_held_or_refused_delivery_is_released_into_another_fence(
    shared: World, state: str
) -> None:
    left = await _left(shared, state=state, progress={"tries": 7, "looks": 3, "parts": [1]})
    async with recording(shared) as actions:
        released = await _release(shared, left)
    assert actions == ["delivery.release"]
    assert (released.state, released.fence, released.reason) == ("ready", left.fence + 1, "")
    assert released.progress == {"tries": 0, "looks": 0, "refresh": False, "parts": [1]}
    assert released.due_at == released.wake_at


async def test_releases_may_be_spread_over_a_day(shared: World) -> None:
    left = await _left(shared)
    for delay in (timedelta(seconds=-1), timedelta(hours=24, seconds=1)):
        async with refused(shared, "invalid"):
            await _release(shared, left, delay=delay)
    released = await _release(shared, left, delay=timedelta(hours=24))
    async with shared.app.open_uow.read() as uow:
        assert released.due_at is not None
        wait = released.due_at - uow.now
    assert timedelta(hours=23, minutes=59) < wait <= timedelta(hours=24)


async def test_what_may_be_public_is_released_only_by_somebody_who_has_looked(
    shared: World,
) -> None:
    left = await _left(shared, "unknown")
    async with refused(shared, "maybe_public") as caught:
        await _release(shared, left)
    assert str(caught.value.details["url"]).startswith("http")
    assert (await _release(shared, left, not_public=True)).state == "ready"


@pytest.mark.parametrize("outcome", ["not_sent", "rejected", "absent"])
async def test_what_is_certainly_not_public_is_released_without_a_look(
    shared: World, outcome: str
) -> None:
    left = await _left(shared, outcome)
    assert (await _release(shared, left)).state == "ready"


async def test_nothing_is_released_past_the_approved_window(shared: World) -> None:
    async with shared.app.open_uow.read() as uow:
        soon = uow.now + timedelta(hours=1)
    left = await _left(shared, expires_at=soon)
    async with refused(shared, "window_over"):
        await _release(shared, left, delay=timedelta(hours=2))
    assert (await _release(shared, left)).state == "ready"
    over = await _left(shared, expires_at=datetime(2026, 1, 1, tzinfo=UTC))
    async with refused(shared, "window_over"):
        await _release(shared, over)


@pytest.mark.parametrize("state", ["planned", "sent", "expired", "cancelled", "unknown"])
async def test_what_is_not_held_is_not_released(shared: World, state: str) -> None:
    left = await _left(shared, state=state, remote_id=uuid4().hex)
    async with refused(shared, "move_not_allowed"):
        await _release(shared, left)


async def test_what_was_posted_by_hand_is_sent_at_its_address_and_closes_the_post(
    shared: World,
) -> None:
    left = await _left(shared, "unknown")
    async with recording(shared) as actions:
        resolved = await _resolve(shared, left)
    assert actions == ["delivery.resolve", "post.close"]
    url = f"{SERVER}/{left.id}"
    assert (resolved.state, resolved.remote_id, resolved.remote_url) == ("sent", url, url)
    assert resolved.sent_at is not None
    assert await _post_state(shared, left) == "closed"


async def test_what_will_not_be_posted_is_cancelled_and_closes_the_post(shared: World) -> None:
    left = await _left(shared)
    async with recording(shared) as actions:
        resolved = await _resolve(shared, left, resolution=Resolution.CANCELLED, url="")
    assert actions == ["delivery.cancel", "post.close"]
    assert (resolved.state, resolved.wake_at) == ("cancelled", None)


async def test_a_post_stays_open_while_another_delivery_waits(shared: World) -> None:
    post = await shared.scheduled(when=SOON, targets=("hq.mastodon", "hq.bluesky"))
    one, _ = await shared.deliveries(post)
    async with shared.app.open_uow() as uow:
        query = update(Delivery).where(col(Delivery.id) == one.id)
        await uow.session.execute(query.values(state="held"))
    async with recording(shared) as actions:
        await _resolve(shared, one)
    assert actions == ["delivery.resolve"]
    assert await _post_state(shared, one) == "scheduled"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("", "address_missing"),
        ("social.karvenia.example/1", "address_missing"),
        ("javascript:alert(1)", "address_missing"),
        ("https://x.example/\u202e", "text_bidi"),
    ],
)
async def test_what_is_public_has_an_address(shared: World, url: str, code: str) -> None:
    left = await _left(shared)
    async with refused(shared, code):
        await _resolve(shared, left, url=url)


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"reason": ""}, "reason_missing"),
        ({"reason": " \n"}, "reason_missing"),
        ({"reason": "because\0"}, "text_control"),
        ({"by": "hocevar"}, "permission_denied"),
        ({"by": "bizjak"}, "permission_denied"),
        ({"by": "olena"}, "not_found"),
    ],
)
async def test_a_hold_is_ended_by_a_supervisor_with_a_reason(
    shared: World, fields: dict[str, Any], code: str
) -> None:
    left = await _left(shared)
    async with refused(shared, code):
        await _release(shared, left, **fields)
    async with refused(shared, code):
        await _resolve(shared, left, **fields)


async def test_a_delivery_that_is_not_there_is_not_found(shared: World) -> None:
    async with refused(shared, "not_found"), shared.as_("zorc") as (uow, actor):
        await deliveries.release(uow, actor, uuid4(), reason="x", not_public=True)
    async with refused(shared, "not_found"), shared.as_("zorc") as (uow, actor):
        await sight.get_delivery(uow, actor, uuid4())


async def test_a_delivery_is_looked_at_within_the_scope_only(shared: World) -> None:
    left = await _left(shared)
    async with shared.as_("mlakar") as (uow, actor):
        delivery, account = await sight.get_delivery(uow, actor, left.id)
    assert (delivery.id, account.code) == (left.id, "hq.mastodon")
    async with refused(shared, "not_found"), shared.as_("olena") as (uow, actor):
        await sight.get_delivery(uow, actor, left.id)


async def test_a_list_of_deliveries_is_paged_filtered_and_scoped(shared: World) -> None:
    made = [await _left(shared, state="rejected") for _ in range(3)]
    async with shared.as_("hocevar") as (uow, actor):
        states = [DeliveryState.REJECTED]
        page = await rows.find_page(uow, actor, states=states, before=None, limit=2)
        assert [delivery.id for delivery, _ in page] == [made[2].id, made[1].id]
        rest = await rows.find_page(uow, actor, states=states, before=made[1].id, limit=1)
        assert [delivery.id for delivery, _ in rest] == [made[0].id]
        assert (await rows.count_by_state(uow))["rejected"] >= 3
    async with shared.as_("olena") as (uow, actor):
        assert await rows.find_page(uow, actor, states=(), before=None, limit=9) == []


async def test_whoever_loses_a_delivery_to_another_fence_writes_nothing(shared: World) -> None:
    left = await _left(shared, fence=3)
    async with refused(shared, "state_changed"), shared.app.open_uow() as uow:
        await rows.lock(uow, left.id, 2)
    async with refused(shared, "state_changed"), shared.app.open_uow() as uow:
        mine = await rows.lock(uow, left.id, 3)
        query = update(Delivery).where(col(Delivery.id) == left.id).values(fence=4)
        await uow.session.execute(query.execution_options(synchronize_session=False))
        await rows.move(uow, mine, DeliveryMove.CANCEL)
