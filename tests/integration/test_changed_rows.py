"""Rows that are older than the world, or that somebody changed: nothing is public twice, and a person sees it."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import delete, update
from sqlmodel import select

from scheduler.clock import from_iso
from scheduler.db import deliveries as rows
from scheduler.db.tables import Attempt, Delivery, Post
from scheduler.publishing.delivering import Courier
from scheduler.publishing.looking import Looker
from scheduler.services import deliveries, publishing
from tests.support.world import World

AHEAD = timedelta(seconds=3)
#: A delivery as it was before anybody took it.
UNTOUCHED = {
    "state": "ready",
    "progress": {},
    "attempts": 0,
    "next_part": 0,
    "remote_id": None,
    "remote_url": None,
    "lease_until": None,
}


async def _publish(world: World) -> Delivery:
    async with world.app.open_uow() as uow:
        [claimed] = await publishing.claim(uow, worker="one", ahead=AHEAD, limit=9)
    await Courier(world.app.open_uow, world.app.kit, asyncio.Event()).deliver(claimed)
    return await _only(world)


async def _only(world: World) -> Delivery:
    async with world.app.open_uow.read() as uow:
        return (await uow.session.scalars(select(Delivery))).one()


async def _change(world: World, **values: object) -> None:
    async with world.app.open_uow() as uow:
        await uow.session.execute(update(Post).values(state="scheduled"))
        await uow.session.execute(update(Delivery).values(wake_at=uow.now, **values))


@pytest.mark.parametrize("target", ["hq.bluesky", "hq.mastodon"])
async def test_a_database_restored_from_before_a_post_does_not_publish_it_again(
    world: World, target: str
) -> None:
    await world.scheduled(targets=(target,))
    assert (await _publish(world)).state == "sent"
    async with world.app.open_uow() as uow:
        await uow.session.execute(delete(Attempt))
    await _change(world, **UNTOUCHED)
    delivery = await _publish(world)
    if delivery.state == "unknown":
        await _change(world)
        await Looker(world.app.open_uow, world.app.kit).look_at(delivery.id)
    assert len(world.practice.posts()) == 1
    assert (await _only(world)).state == "sent"


async def test_a_delivery_set_back_by_hand_is_held_because_a_try_says_that_it_is_public(
    world: World,
) -> None:
    await world.scheduled()
    await _publish(world)
    await _change(world, **{**UNTOUCHED, "attempts": 1})
    delivery = await _publish(world)
    assert (delivery.state, delivery.reason.partition(":")[0]) == ("held", "progress_changed")
    assert len(world.practice.posts()) == 1


async def test_a_thread_does_not_go_on_from_a_receipt_that_somebody_wrote(world: World) -> None:
    parts = [{"text": f"{number}/2", "media": []} for number in (1, 2)]
    await world.scheduled(texts={"en": parts})
    forged = {"parts": [{"id": "77", "url": "https://social.karvenia.example/77", "ref": "77"}]}
    await _change(world, progress=forged, next_part=1)
    delivery = await _publish(world)
    assert (delivery.state, delivery.reason.partition(":")[0]) == ("held", "progress_changed")
    assert world.practice.posts() == []


async def test_a_try_whose_end_is_not_recorded_keeps_the_next_one_back(world: World) -> None:
    await world.scheduled()
    await _publish(world)
    async with world.app.open_uow() as uow:
        await uow.session.execute(update(Attempt).values(outcome=None, ended_at=None))
    await _change(world, **{**UNTOUCHED, "attempts": 1})
    assert (await _publish(world)).state == "held"
    assert len(world.practice.posts()) == 1


async def test_a_claim_that_nobody_can_have_is_taken_back(world: World) -> None:
    await world.scheduled()
    async with world.app.open_uow() as uow:
        await publishing.claim(uow, worker="one", ahead=AHEAD, limit=9)
        far = uow.now + timedelta(days=20_000)
        await uow.session.execute(update(Delivery).values(lease_until=far))
    async with world.app.open_uow() as uow:
        assert len(await rows.find_lapsed(uow, limit=9)) == 1


async def test_a_post_that_was_released_later_says_when_it_was_released(world: World) -> None:
    await world.scheduled(targets=("hq.bluesky",))
    async with world.app.open_uow() as uow:
        first = (await uow.session.scalars(select(Delivery))).one()
        await rows.move(uow, first, rows.DeliveryMove.HOLD, wake_at=None, reason="held: for a test")
    await asyncio.sleep(1.1)
    async with world.as_("zorc") as (uow, actor):
        released = await deliveries.release(
            uow, actor, first.id, reason="it may go", not_public=True
        )
        until = released.due_at
    delivery = await _publish(world)
    assert delivery.state == "sent"
    async with world.app.open_uow.read() as uow:
        attempt = (await uow.session.scalars(select(Attempt))).one()
    said = attempt.request.decode().split('"createdAt":"')[1].split('"')[0]
    assert until is not None
    assert abs(from_iso(said) - until) < timedelta(milliseconds=2)
