"""The rules R1-R10 that have no wider test: each fails when its rule is taken out of the code."""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from adapters.base import Adapter, Credentials, Published
from adapters.errors import UnavailableError
from scheduler.clock import HOST_CLOCK, monotonic_s, utc_now
from scheduler.db import deliveries as rows
from scheduler.db.engine import build_engine
from scheduler.db.posts import StaleStateError
from scheduler.db.tables import Attempt, Delivery
from scheduler.db.uow import UnitOfWorkFactory
from scheduler.publishing.delivering import Courier
from scheduler.publishing.engine import Engine
from scheduler.services import looks, outcomes, publishing
from scheduler.services.kit import Kit
from scheduler.services.publishing import Intent, Work
from tests.support.world import World

AHEAD = timedelta(seconds=3)
PUBLISHED = Published(remote_id="1", url="https://social.karvenia.example/1", ref="1")


@dataclass
class Onlooker:
    """The real adapter, but somebody else looks into the database while it publishes."""

    real: Adapter
    open_uow: UnitOfWorkFactory
    seen: list[tuple[str, str | None, bytes]]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    async def publish(self, credentials: Credentials, body: bytes, key: str) -> Published:
        async with self.open_uow.read() as uow:
            attempt = (await uow.session.scalars(select(Attempt))).one()
            delivery = await uow.session.get_one(Delivery, attempt.delivery_id)
        self.seen.append((delivery.state, attempt.outcome, attempt.request))
        assert attempt.idempotency_key == key
        return await self.real.publish(credentials, body, key)


async def test_r1_the_intent_is_committed_before_the_first_byte_leaves(world: World) -> None:
    seen: list[tuple[str, str | None, bytes]] = []
    platforms = {
        name: Onlooker(adapter, world.app.open_uow, seen)
        for name, adapter in world.app.kit.platforms.items()
    }
    kit = replace(world.app.kit, platforms=platforms)
    await world.scheduled()
    await _deliver_all(world, kit)
    [(state, outcome, body)] = seen
    assert (state, outcome) == ("sending", None)
    assert b"Good morning from Lipovec!" in body
    assert len(world.practice.posts()) == 1


async def test_r2_a_process_that_slept_past_its_lease_sends_nothing(world: World) -> None:
    intent = await _intent(world)
    late = replace(intent, send_before_s=monotonic_s() - 0.001)
    courier = Courier(world.app.open_uow, world.app.kit, asyncio.Event())
    outcome = await courier._send(late)
    assert isinstance(outcome, UnavailableError)
    assert outcome.code == "lease_short"
    assert world.practice.posts() == []
    assert not await courier._record(late, outcome)
    assert (await _only(world)).state == "ready"


async def test_r2_the_lease_outlasts_the_longest_answer(world: World) -> None:
    intent = await _intent(world)
    delivery = await _only(world)
    assert delivery.lease_until is not None
    timeout = world.app.kit.platform("mastodon").capabilities.publish_timeout
    assert delivery.lease_until - intent.deadline == publishing.LEASE_MARGIN / 2
    assert intent.deadline - timeout > utc_now() - timedelta(minutes=1)
    assert intent.send_before_s < intent.record_before_s


async def test_r3_a_sending_delivery_is_left_alone_until_deadline_and_settle_time_are_over(
    world: World,
) -> None:
    intent = await _intent(world)
    delivery_id = intent.work.claimed.delivery_id
    async with world.app.open_uow() as uow:
        assert await rows.find_lapsed(uow, limit=9) == []
        await outcomes.recover(uow, world.app.kit, delivery_id)
    assert (await _only(world)).state == "sending"
    async with world.app.open_uow() as uow:
        await uow.session.execute(
            update(Delivery).values(lease_until=uow.now - timedelta(seconds=1))
        )
    async with world.app.open_uow() as uow:
        assert await rows.find_lapsed(uow, limit=9) == [delivery_id]
        await outcomes.recover(uow, world.app.kit, delivery_id)
        assert await rows.find_waking(uow, limit=9) == []
    delivery = await _only(world)
    settle = world.app.kit.platform("mastodon").capabilities.settle
    assert delivery.state == "unknown"
    assert delivery.wake_at == intent.deadline + settle
    async with world.app.open_uow() as uow:
        assert await looks.start(uow, world.app.kit, [delivery_id]) == [None]


async def test_r5_a_worker_whose_claim_was_taken_over_writes_nothing(world: World) -> None:
    intent = await _intent(world)
    async with world.app.open_uow() as uow:
        await uow.session.execute(update(Delivery).values(fence=Delivery.fence + 1))
    async with world.app.open_uow() as uow:
        [told] = await outcomes.record(uow, world.app.kit, [(intent, PUBLISHED)])
    assert isinstance(told, StaleStateError)
    delivery = await _only(world)
    assert (delivery.state, delivery.remote_id) == ("sending", None)


async def test_r5_a_move_compares_the_fence_and_not_only_the_state(world: World) -> None:
    await _intent(world)
    with pytest.raises(StaleStateError):
        async with world.app.open_uow() as uow:
            delivery = (await uow.session.scalars(select(Delivery))).one()
            async with _beside(world, uow) as other:
                await other.execute(update(Delivery).values(fence=99))
            await rows.move(uow, delivery, rows.DeliveryMove.UNKNOWN, wake_at=uow.now)


async def test_r6_one_account_has_one_delivery_in_hand(world: World) -> None:
    for number in range(3):
        await world.scheduled(texts={"en": [{"text": f"Number {number}", "media": []}]})
    async with world.app.open_uow() as uow:
        first = await publishing.claim(uow, worker="one", ahead=AHEAD, limit=9)
    async with world.app.open_uow() as uow:
        second = await publishing.claim(uow, worker="two", ahead=AHEAD, limit=9)
    assert (len(first), second) == (1, ())


async def test_r6_the_database_itself_refuses_a_second_publish_on_an_account(world: World) -> None:
    await world.scheduled()
    await world.scheduled(texts={"en": [{"text": "Another", "media": []}]})
    with pytest.raises(IntegrityError):
        async with world.app.open_uow() as uow:
            await uow.session.execute(update(Delivery).values(state="sending", lease_until=uow.now))


async def test_r6_a_database_clock_that_jumps_does_not_free_the_account_of_a_request_under_way(
    world: World,
) -> None:
    """Another worker counts the lease by a clock of its own too, from when it first saw the intent."""
    intent = await _intent(world)
    await world.scheduled(texts={"en": [{"text": "Another", "media": []}]})
    other = Engine(world.app.open_uow, world.app.kit, worker="two")
    await other._recover()
    async with world.app.open_uow() as uow:  # the same as a clock an hour ahead
        past = uow.now - timedelta(hours=1)
        await uow.session.execute(
            update(Delivery).where(col(Delivery.state) == "sending").values(lease_until=past)
        )
    await other._recover()
    async with world.app.open_uow() as uow:
        assert await publishing.claim(uow, worker="two", ahead=AHEAD, limit=9) == ()
    timeout = world.app.kit.platform("mastodon").capabilities.publish_timeout
    later_s = monotonic_s() + (timeout + publishing.LEASE_MARGIN).total_seconds()
    HOST_CLOCK.set(replace(HOST_CLOCK.get(), monotonic_s=lambda: later_s))
    await other._recover()
    async with world.app.open_uow() as uow:
        [claimed] = await publishing.claim(uow, worker="two", ahead=AHEAD, limit=9)
    assert claimed.delivery_id != intent.work.claimed.delivery_id


@pytest.mark.parametrize("database", ["sqlite"], indirect=False)
async def test_r8_the_clock_of_the_database_decides_what_is_due(
    world: World, database: str
) -> None:
    """PostgreSQL has a clock of its own that no test can set; the code that asks is the same."""
    later = build_engine(
        str(world.app.open_uow.engine.url), clock=lambda: utc_now() + timedelta(hours=2)
    )
    await world.scheduled()
    async with world.app.open_uow() as uow:
        await uow.session.execute(update(Delivery).values(wake_at=uow.now + timedelta(hours=1)))
    async with world.app.open_uow() as uow:
        assert await publishing.claim(uow, worker="one", ahead=AHEAD, limit=9) == ()
    ahead = replace_engine(world.app.open_uow, later)
    async with ahead() as uow:
        [claimed] = await publishing.claim(uow, worker="two", ahead=AHEAD, limit=9)
        assert uow.now > utc_now() + timedelta(hours=1)
    assert claimed.due_at_s < monotonic_s()
    await later.dispose()


def replace_engine(factory: UnitOfWorkFactory, engine: Any) -> UnitOfWorkFactory:
    return UnitOfWorkFactory(
        engine=engine,
        instance=factory.instance,
        service="test",
        version=factory.version,
        seals=factory.seals,
    )


class _beside:  # noqa: N801 - used as a function
    """A write that another process commits while ours has read but not written yet."""

    def __init__(self, world: World, uow: Any) -> None:
        self._session = uow.session

    async def __aenter__(self) -> Any:
        return SimpleNamespace(execute=self._execute)

    async def _execute(self, statement: Any) -> None:
        # The same transaction, behind the back of the loaded row: what a faster writer leaves on PostgreSQL.
        await self._session.connection()
        raw = await self._session.connection()
        await raw.execute(statement)

    async def __aexit__(self, *_: object) -> None:
        return None


async def _deliver_all(world: World, kit: Kit) -> None:
    async with world.app.open_uow() as uow:
        found = await publishing.claim(uow, worker="one", ahead=AHEAD, limit=9)
    for claimed in found:
        await Courier(world.app.open_uow, kit, asyncio.Event()).deliver(claimed)


async def _intent(world: World) -> Intent:
    """A committed intent of a real post, by the engine's own steps, and nothing sent yet."""
    await world.scheduled()
    async with world.app.open_uow() as uow:
        [claimed] = await publishing.claim(uow, worker="one", ahead=AHEAD, limit=9)
    courier = Courier(world.app.open_uow, world.app.kit, asyncio.Event())
    ready = await courier._make_ready(claimed)
    assert ready is not None
    work: Work = ready[0]
    async with world.app.open_uow() as uow:
        [intent] = await publishing.intend(uow, world.app.kit, [(work, ready[1])])
    assert isinstance(intent, Intent)
    return intent


async def _only(world: World) -> Delivery:
    async with world.app.open_uow.read() as uow:
        return (await uow.session.scalars(select(Delivery))).one()
