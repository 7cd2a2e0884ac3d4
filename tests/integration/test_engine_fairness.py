"""One slow server does not keep the others waiting."""

import asyncio

from scheduler.db.tables import Delivery
from scheduler.practice.admin import Turn
from scheduler.practice.model import Platform
from scheduler.publishing.engine import CLAIM_AHEAD, Engine
from scheduler.services import publishing
from tests.support.world import World, connect


async def test_a_full_server_leaves_its_deliveries_and_gives_way_to_the_others(
    world: World,
) -> None:
    texts = {language: [{"text": "To all", "media": []}] for language in ("en", "uk")}
    await world.scheduled(texts=texts, targets=("hq.mastodon", "kyi.mastodon", "hq.bluesky"))
    full = [world.practice.mastodon_url]
    async with world.app.open_uow() as uow:
        [claimed] = await publishing.claim(uow, worker="one", ahead=CLAIM_AHEAD, limit=9, full=full)
    assert claimed.account_id == world.accounts["hq.bluesky"]
    async with world.app.open_uow() as uow:
        left = await publishing.claim(uow, worker="one", ahead=CLAIM_AHEAD, limit=9)
    assert [each.server for each in left] == full * 2


async def test_a_worker_goes_on_elsewhere_while_one_server_makes_it_wait(world: World) -> None:
    lanes = [(await connect(world, f"lane{number}", "krv.hq", "en"))[0] for number in range(4)]
    world.practice.turn(Platform.MASTODON, Turn(latency_ms=8000))
    slow = await world.scheduled(targets=tuple(lanes))
    engine = Engine(
        world.app.open_uow, world.app.kit, worker="one", most_in_hand=4, most_on_a_server=2
    )
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(engine.run(stopping))
        quick = await world.scheduled(targets=("hq.bluesky",))
        await engine.nudge()
        await world.settle(quick, lambda each: each.sent_at is not None)
        still = [each for each in await world.deliveries(slow) if _is_waiting(each)]
        world.practice.turn(Platform.MASTODON, Turn(latency_ms=0))
        await world.settle(slow, lambda each: each.sent_at is not None, within_s=40)
        stopping.set()
    assert still


def _is_waiting(delivery: Delivery) -> bool:
    return delivery.state in {"ready", "claimed", "preparing", "sending"}


async def test_a_claim_that_its_own_worker_has_dropped_is_free_within_two_sweeps(
    world: World,
) -> None:
    post = await world.scheduled()
    async with world.app.open_uow() as uow:
        await publishing.claim(uow, worker="one", ahead=CLAIM_AHEAD, limit=9)
    other = Engine(world.app.open_uow, world.app.kit, worker="two")
    for engine in (other, other, mine := Engine(world.app.open_uow, world.app.kit, worker="one")):
        await engine._recover()
        assert [each.state for each in await world.deliveries(post)] == ["claimed"]
    await mine._recover()
    assert [each.state for each in await world.deliveries(post)] == ["ready"]
