"""What a courier does when a step breaks: nothing leaves twice, and a person sees what happened."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col, select

from adapters.base import Adapter, Published, ReadBack
from adapters.errors import UnavailableError
from scheduler.clock import monotonic_s
from scheduler.db import accounts
from scheduler.db.engine import build_engine
from scheduler.db.posts import StaleStateError
from scheduler.db.tables import Attempt, Delivery
from scheduler.db.uow import DatabaseUnavailableError, UnitOfWorkFactory
from scheduler.publishing.background import guarded
from scheduler.publishing.delivering import Courier
from scheduler.publishing.engine import Engine
from scheduler.publishing.looking import Looker
from scheduler.publishing.sequencer import Sequencer
from scheduler.services import publishing
from scheduler.services.holds import Claimed
from scheduler.services.kit import Kit
from tests.support.world import World

AHEAD = timedelta(seconds=3)


@dataclass
class Altered:
    """The real adapter with one of its methods replaced."""

    real: Adapter
    method: str
    behave: Callable[..., Any]

    def __getattr__(self, name: str) -> Any:
        return self.behave if name == self.method else getattr(self.real, name)


def _kit(world: World, method: str, behave: Callable[..., Any]) -> Kit:
    platforms = {
        name: Altered(real, method, behave) for name, real in world.app.kit.platforms.items()
    }
    return replace(world.app.kit, platforms=platforms)


def _raising(error: Exception) -> Callable[..., Any]:
    async def behave(*_: object) -> None:
        raise error

    return behave


async def _claimed(world: World) -> Claimed:
    async with world.app.open_uow() as uow:
        [claimed] = await publishing.claim(uow, worker="one", ahead=AHEAD, limit=9)
    return claimed


async def _deliver(world: World, kit: Kit, claimed: Claimed) -> Delivery:
    await Courier(world.app.open_uow, kit, asyncio.Event()).deliver(claimed)
    return await _the(world, claimed)


async def _the(world: World, claimed: Claimed) -> Delivery:
    async with world.app.open_uow.read() as uow:
        return await uow.session.get_one(Delivery, claimed.delivery_id)


async def test_a_fault_of_ours_before_the_intent_brings_the_delivery_to_a_person(
    world: World,
) -> None:
    await world.scheduled()

    def broken(*_: object) -> bool:
        raise RuntimeError("broken")

    delivery = await _deliver(world, _kit(world, "needs_refresh", broken), await _claimed(world))
    assert (delivery.state, delivery.reason) == ("held", "internal_error: broke off: RuntimeError")
    assert world.practice.posts() == []


async def test_a_sign_in_that_is_away_puts_the_delivery_off(world: World) -> None:
    await world.scheduled()
    kit = _kit(world, "refresh", _raising(UnavailableError("away", code="unreachable")))
    claimed = await _claimed(world)
    async with world.app.open_uow() as uow:
        await uow.session.execute(update(Delivery).values(progress={"refresh": True}))
    delivery = await _deliver(world, kit, claimed)
    assert delivery.state == "ready"
    assert delivery.reason.startswith("unreachable")


@pytest.mark.parametrize(
    "error", [RuntimeError("broken"), TimeoutError()], ids=["fault", "timeout"]
)
async def test_whatever_breaks_after_the_intent_is_in_doubt(world: World, error: Exception) -> None:
    await world.scheduled()
    delivery = await _deliver(world, _kit(world, "publish", _raising(error)), await _claimed(world))
    assert delivery.state == "unknown"


async def test_a_stop_of_the_process_gives_back_what_waits_for_its_instant(world: World) -> None:
    await world.scheduled()
    claimed = replace(await _claimed(world), due_at_s=monotonic_s() + 60)
    stopping = asyncio.Event()
    stopping.set()
    await Courier(world.app.open_uow, world.app.kit, stopping).deliver(claimed)
    assert (await _the(world, claimed)).state == "ready"


async def test_an_account_that_is_being_published_on_makes_the_next_delivery_wait(
    world: World,
) -> None:
    await world.scheduled()
    await world.scheduled(texts={"en": [{"text": "Another", "media": []}]})
    claimed = await _claimed(world)
    async with world.app.open_uow() as uow:
        other = select(col(Delivery.id)).where(col(Delivery.id) != claimed.delivery_id)
        [other_id] = await uow.session.scalars(other)
        await uow.session.execute(
            update(Delivery)
            .where(col(Delivery.id) == other_id)
            .values(state="sending", lease_until=uow.now + timedelta(minutes=1))
        )
    assert (await _deliver(world, world.app.kit, claimed)).state == "ready"
    assert world.practice.posts() == []


async def test_an_answer_after_the_claim_passed_on_is_kept_as_evidence(world: World) -> None:
    await world.scheduled()

    async def publish(*_: object) -> Published:
        async with world.app.open_uow() as uow:
            await uow.session.execute(update(Delivery).values(fence=Delivery.fence + 1))
        return Published(remote_id="77", url="https://social.karvenia.example/77", ref="77")

    with pytest.raises(StaleStateError):
        await _deliver(world, _kit(world, "publish", publish), await _claimed(world))
    async with world.app.open_uow.read() as uow:
        attempt = (await uow.session.scalars(select(Attempt))).one()
    assert attempt.evidence["late_answer"] == "77"


@pytest.mark.parametrize(
    "error",
    [UnavailableError("away", code="unreachable"), RuntimeError("broken")],
    ids=["away", "fault"],
)
async def test_a_look_that_cannot_tell_is_repeated_and_then_brought_to_a_person(
    world: World, error: Exception
) -> None:
    await world.scheduled()
    broken = _kit(world, "publish", _raising(RuntimeError("lost")))
    claimed = await _claimed(world)
    await _deliver(world, broken, claimed)
    kit = _kit(world, "find", _raising(error))
    states = []
    for _ in range(8):
        async with world.app.open_uow() as uow:
            await uow.session.execute(update(Delivery).values(wake_at=uow.now))
        await Looker(world.app.open_uow, kit).look_at(claimed.delivery_id)
        states.append((await _the(world, claimed)).state)
    assert states == ["unknown"] * 7 + ["held"]
    code = {"UnavailableError": "unreachable", "RuntimeError": "internal_error"}
    async with world.app.open_uow.read() as uow:
        attempt = (await uow.session.scalars(select(Attempt))).one()
    seen = [(each["saw"], each["code"]) for each in attempt.evidence["looks"]]
    assert seen == [("no_answer", code[type(error).__name__])] * 8


async def test_what_a_read_back_shows_to_be_different_is_kept_for_people(world: World) -> None:
    await world.scheduled()
    claimed = await _claimed(world)
    assert (await _deliver(world, world.app.kit, claimed)).state == "sent"
    seen = ReadBack(found=True, differences=("text", "media"), evidence_sha256="0" * 64)

    async def read_back(*_: object) -> ReadBack:
        return seen

    kit = _kit(world, "read_back", read_back)
    async with world.app.open_uow() as uow:
        await uow.session.execute(update(Delivery).values(wake_at=uow.now))
    await Looker(world.app.open_uow, kit).look_at(claimed.delivery_id)
    assert (await _the(world, claimed)).state == "drifted"
    async with world.app.open_uow.read() as uow:
        attempt = (await uow.session.scalars(select(Attempt))).one()
    [kept] = attempt.evidence["looks"]
    assert (kept["saw"], kept["message"]) == ("drift", "0:text, 0:media")


async def test_a_look_seals_the_session_that_it_had_to_renew(world: World) -> None:
    await world.scheduled(targets=("hq.bluesky",))
    claimed = await _claimed(world)
    await _deliver(world, _kit(world, "publish", _raising(RuntimeError("lost"))), claimed)
    kit = _kit(world, "needs_refresh", lambda *_: True)
    async with world.app.open_uow() as uow:
        await uow.session.execute(update(Delivery).values(wake_at=uow.now))
    await Looker(world.app.open_uow, kit).look_at(claimed.delivery_id)
    assert (await _the(world, claimed)).state == "ready"  # proven absent
    async with world.app.open_uow.read() as uow:
        sealed = await accounts.lock_sealed(uow, claimed.account_id, "session")
    assert sealed is not None
    assert sealed[0].generation == 2


async def test_the_engine_takes_back_and_ends_what_nobody_has_in_hand(world: World) -> None:
    lapsed = await world.scheduled()
    over = await world.scheduled(targets=("hq.bluesky",))
    await world.app.open_uow.engine.dispose()
    async with world.app.open_uow() as uow:
        await publishing.claim(uow, worker="dead", ahead=AHEAD, limit=9)
        past = uow.now - timedelta(hours=30)
        await uow.session.execute(update(Delivery).values(lease_until=past))
        await uow.session.execute(
            update(Delivery)
            .where(col(Delivery.post_id) == over.id)
            .values(state="ready", lease_until=None, late_at=past, expires_at=past)
        )
    engine = Engine(world.app.open_uow, world.app.kit, worker="heir")
    await engine._recover()
    assert [each.state for each in await world.deliveries(lapsed)] == ["ready"]
    assert [each.state for each in await world.deliveries(over)] == ["expired"]


@dataclass
class Faltering:
    """Units of work of a database that is away for the next `times`."""

    real: UnitOfWorkFactory
    times: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    def __call__(self) -> Any:
        if self.times:
            self.times -= 1
            raise DatabaseUnavailableError("away")
        return self.real()


async def test_an_outcome_is_recorded_when_the_database_is_back(world: World) -> None:
    await world.scheduled()
    claimed = await _claimed(world)
    courier = Courier(world.app.open_uow, world.app.kit, asyncio.Event())
    intent = await courier._reach_intent(claimed)
    assert intent is not None
    outcome = await courier._send(intent)
    faltering: Any = Faltering(world.app.open_uow, 2)
    assert not await Courier(faltering, world.app.kit, asyncio.Event())._record(intent, outcome)
    assert (await _the(world, claimed)).state == "sent"
    too_late = replace(intent, record_before_s=monotonic_s())
    with pytest.raises(DatabaseUnavailableError):
        faltering.times = 1
        await Courier(faltering, world.app.kit, asyncio.Event())._record(too_late, outcome)


async def test_neither_engine_nor_sequencer_ends_when_a_step_fails(world: World) -> None:
    away: Any = UnitOfWorkFactory(
        engine=build_engine("postgresql+asyncpg://nobody@/none?host=/nowhere"),
        instance=world.app.instance,
        service="test",
        version="0",
        seals=world.app.open_uow.seals,
    )
    await Sequencer(away, world.app.log_keys, "one")._seal_guarded()
    await Sequencer(None, world.app.log_keys, "one")._seal_guarded()  # type: ignore[arg-type]
    engine = Engine(away, world.app.kit, worker="one")
    await guarded(engine._recover)
    await guarded(_raising(RuntimeError("broken")))
    await guarded(_raising(StaleStateError("overtaken")))
    await engine.nudge()
    assert engine._nudge.is_set()
    await away.engine.dispose()
