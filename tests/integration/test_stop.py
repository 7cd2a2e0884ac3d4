"""Stop means stop: real workers under load, counted in the database and in the platforms' own log."""

import asyncio
import time
from contextlib import ExitStack
from datetime import datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import func
from sqlmodel import col, select

from scheduler.clock import utc_now
from scheduler.db.tables import Account, Attempt, Delivery, Post
from scheduler.domain.posture import caught_by
from scheduler.practice.admin import Turn
from scheduler.practice.model import Kind, Platform
from scheduler.services import campaigns, postures, releasing
from scheduler.services.postures import EVERYTHING, NewPosture, StopReceipt
from tests.integration.fault_fixtures import Yard, practice, until, yard_fixture  # noqa: F401 - fixtures
from tests.support.processes import WorkerProcess, stopped

_LANES = 3
_POSTS = 6
_MOVING = {"claimed", "preparing", "sending", "unknown"}
_ALERTS_PASS = NewPosture(kind="mourning", allowed_classes=("consular_alert",))


@pytest.mark.timeout(240)
async def test_after_a_stop_no_intent_is_committed_and_only_what_was_in_flight_arrives(
    yard: Yard,
) -> None:
    await _stop_under_load(yard, rounds=1)


@pytest.mark.long
@pytest.mark.timeout(1500)
async def test_ten_stops_under_load_let_nothing_through(yard: Yard) -> None:
    await _stop_under_load(yard, rounds=10)


@pytest.mark.timeout(240)
async def test_in_mourning_only_the_allowed_class_goes_on(yard: Yard) -> None:
    lanes = await _open_lanes(yard)
    for number in range(_POSTS):
        for post_class in ("routine", "consular_alert"):
            await yard.schedule(f"{post_class} {number}", *lanes, post_class=post_class)
    with _workers(yard) as stack:
        await until(lambda: _have_started(yard, len(lanes)), "work has begun")
        receipt, _ = await _stop(yard, _ALERTS_PASS)
        await _until_still(yard)
        assert stack is not None
    held, gone = set(), set()
    for delivery_id, (post_class, state) in (await _classes(yard)).items():
        (held if state == "held" else gone).add(post_class)
        in_flight = delivery_id in {each.delivery_id for each in receipt.in_flight}
        assert not (state == "held" and in_flight)
    assert held == {"routine"}
    assert "consular_alert" in gone
    assert {each.title for each in receipt.caught} == {""}
    late = await _attempts_since(yard, receipt.posture.started_at)
    assert {(await _classes(yard))[each][0] for each in late} == {"consular_alert"}


@pytest.mark.timeout(240)
async def test_of_a_stopped_campaign_no_intent_is_committed_and_all_else_goes_on(
    yard: Yard,
) -> None:
    async with yard.world.as_("hocevar") as (uow, actor):
        await campaigns.add(uow, actor, code="forum", title="The forum", mission_code="krv.hq")
    lanes = await _open_lanes(yard)
    theirs = set()
    for number in range(_POSTS):
        for campaign in ("forum", None):
            post = await yard.schedule(f"{campaign} {number}", *lanes, campaign=campaign)
            if campaign is not None:
                theirs |= {each.id for each in await yard.world.deliveries(post)}
    with _workers(yard):
        await until(lambda: _have_started(yard, len(lanes)), "work has begun")
        receipt, returned_ns = await _stop(yard, NewPosture(campaign="forum"))
        await _until_still(yard)
    caught = {each.delivery_id for each in receipt.caught}
    in_flight = {each.delivery_id for each in receipt.in_flight}
    assert caught, "the stop came too late to show anything"
    assert caught | in_flight <= theirs
    states = {each.id: each.state for each in await yard.deliveries()}
    assert {key for key, state in states.items() if state == "held"} == caught - in_flight
    assert all(state in {"sent", "verified", "held"} for state in states.values())
    late = await _attempts_since(yard, receipt.posture.started_at)
    assert late, "nothing else went on"
    assert not theirs & set(late)
    assert theirs & await _arrived_since(yard, returned_ns) <= in_flight


@pytest.mark.parametrize(
    "database", ["postgresql"]
)  # on SQLite it may sleep on the one lock of all
@pytest.mark.timeout(120)
async def test_a_worker_that_slept_while_the_stop_came_sends_nothing(yard: Yard) -> None:
    """Claimed and prepared before, frozen past its time: what it wakes up with is not enough to send."""
    with yard.worker(patience=(2, 2, 30)) as worker:
        for number in range(8):  # a slow machine may freeze it too late
            said = f"Overtaken by events, {number}"
            post = await yard.schedule(said, "hq.mastodon", "hq.bluesky", in_s=5)
            await until(lambda p=post: _have_left_ready(yard, p), "claimed")
            with stopped(worker):
                before = await yard.world.deliveries(post)
                receipt, _ = await _stop(yard)
                due = max(each.due_at for each in before if each.due_at is not None)
                await until(lambda d=due: _is_past(d + timedelta(seconds=0.5)), "their time")
            if receipt.in_flight or len(receipt.caught) < len(before):
                await _until_still(yard)
                await _lift_and_release(yard, receipt)
                await _until_still(yard)
                continue
            await until(lambda p=post: _are_held(yard, p), "both held")
            assert worker.end() == 0
            assert said not in {text for *_, text in yard.practice.published()}
            assert {each.attempts for each in await yard.world.deliveries(post)} == {0}
            return
    pytest.fail("this machine is too slow to freeze a worker in time")


@pytest.mark.timeout(120)
async def test_while_a_stop_is_being_committed_nothing_leaves(yard: Yard) -> None:
    """The worker's instant comes in the middle of the stop's transaction: it waits, and then it sees the stop."""
    await yard.schedule("At the same moment", "hq.mastodon", "hq.bluesky", in_s=6)
    with yard.worker(patience=(2, 2, 30)) as worker:
        async with yard.world.as_("zorc") as (uow, actor):
            receipt = await postures.stop(uow, actor, reason="wrong")
            late = max(each.due_at for each in receipt.caught if each.due_at is not None)
            while uow.now < late + timedelta(seconds=1) or not await _is_at_the_gate(yard):
                await asyncio.sleep(0.1)
                await uow.tick()
            assert not yard.practice.published()
        await until(lambda: _are_all(yard, "held"), "both held")
        assert worker.end() == 0
    await _assert_nothing_left(yard)


async def _is_at_the_gate(yard: Yard) -> bool:
    """Prepared, so that only the intent is missing; on SQLite a worker cannot even claim meanwhile."""
    gone = bool(yard.practice.published())
    return yard.settings.is_sqlite or gone or await _are_all(yard, "preparing")


async def _stop_under_load(yard: Yard, *, rounds: int) -> None:
    """Stop in the middle of the work, look, lift, release everything at once, and go on, some rounds."""
    lanes = await _open_lanes(yard)
    for number in range(_POSTS * rounds):
        await yard.schedule(f"Announcement {number} from Lipovec", *lanes)
    with _workers(yard):
        for number in range(1, rounds + 1):
            await until(lambda n=number: _have_started(yard, n * len(lanes)), "work has begun")
            receipt, returned_ns = await _stop(yard)
            intents = await _count_attempts(yard)
            await _until_still(yard)
            await _assert_stopped(yard, receipt, returned_ns, intents)
            await _lift_and_release(yard, receipt)
        await yard.until_done(count=_POSTS * rounds * len(lanes))
    await yard.assert_once()


async def _assert_stopped(yard: Yard, receipt: StopReceipt, returned_ns: int, intents: int) -> None:
    """The receipt says the truth: what was caught is held, and nothing else arrives than what was in flight."""
    caught = {each.delivery_id for each in receipt.caught}
    in_flight = {each.delivery_id for each in receipt.in_flight}
    assert caught, "the stop came too late to show anything"
    assert await _count_attempts(yard) == intents
    assert await _attempts_since(yard, receipt.posture.started_at) == []
    mark = caught_by(receipt.posture.id)
    states = {each.id: (each.state, each.reason) for each in await yard.deliveries()}
    held = {key for key, (state, _) in states.items() if state == "held"}
    assert held == caught - in_flight
    assert all(states[key][1].startswith(mark) for key in held)
    assert all(states[key][0] in {"sent", "verified"} for key in in_flight)
    assert await _arrived_since(yard, returned_ns) <= in_flight


async def _arrived_since(yard: Yard, returned_ns: int) -> set[UUID]:
    """The deliveries of what became public afterwards, by the platforms' own log."""
    owners = await _find_owners(yard)
    return {
        owners[effect.platform.value, effect.account.partition(".")[0], effect.text]
        for effect in yard.practice.log()
        if effect.kind is Kind.POST and effect.at_ns > returned_ns
    }


async def _stop(yard: Yard, new: NewPosture = EVERYTHING) -> tuple[StopReceipt, int]:
    """The receipt, and when the stop had returned, by the clock that the platforms' log is kept by."""
    async with yard.world.as_("zorc") as (uow, actor):
        receipt = await postures.stop(uow, actor, reason="the wrong statement", new=new)
    return receipt, time.time_ns()


async def _lift_and_release(yard: Yard, receipt: StopReceipt) -> None:
    async with yard.world.as_("vidmar") as (uow, actor):
        await postures.resume(uow, actor, reason="put right")
        done = await releasing.release_caught(
            uow, actor, receipt.posture.id, reason="put right", spread=timedelta(0)
        )
    assert done.skipped == ()
    assert len(done.released) == len(receipt.caught)


async def _open_lanes(yard: Yard) -> tuple[str, ...]:
    """Accounts on slow platforms, so that some requests are on their way at any moment."""
    for platform in Platform:
        yard.practice.turn(platform, Turn(latency_ms=150, when="before"))
    return await yard.open_lanes(_LANES)


def _workers(yard: Yard) -> ExitStack:
    """Two on PostgreSQL; SQLite has one."""
    stack = ExitStack()
    for _ in range(1 if yard.settings.is_sqlite else 2):
        worker: WorkerProcess = yard.worker(patience=(10, 2, 20))
        stack.enter_context(worker)
    return stack


async def _until_still(yard: Yard) -> None:
    async def is_still() -> bool:
        now = utc_now()
        found = await yard.deliveries()
        return not any(
            each.state in _MOVING or (each.state == "ready" and each.wake_at <= now)
            for each in found
        )

    await until(is_still, "nothing moves", describe=yard.states)


async def _have_started(yard: Yard, count: int) -> bool:
    return len(yard.practice.published()) >= count


async def _are_all(yard: Yard, state: str) -> bool:
    return set(await yard.states()) == {state}


async def _have_left_ready(yard: Yard, post: Post) -> bool:
    return not {"ready", "planned"} & {each.state for each in await yard.world.deliveries(post)}


async def _are_held(yard: Yard, post: Post) -> bool:
    return {each.state for each in await yard.world.deliveries(post)} == {"held"}


async def _is_past(moment: datetime) -> bool:
    return utc_now() > moment


async def _assert_nothing_left(yard: Yard) -> None:
    assert not yard.practice.published()
    assert await _count_attempts(yard) == 0
    await yard.assert_record_is_whole()


async def _count_attempts(yard: Yard) -> int:
    async with yard.world.app.open_uow.read() as uow:
        return (await uow.session.execute(select(func.count(Attempt.id)))).scalar_one()  # type: ignore[arg-type]


async def _attempts_since(yard: Yard, moment: datetime) -> list[UUID]:
    """The deliveries of the intents that were committed at this instant or later."""
    async with yard.world.app.open_uow.read() as uow:
        query = select(col(Attempt.delivery_id)).where(col(Attempt.started_at) >= moment)
        return list(await uow.session.scalars(query))


async def _find_owners(yard: Yard) -> dict[tuple[str, str, str], UUID]:
    """Which delivery a public text on an account belongs to."""
    async with yard.world.app.open_uow.read() as uow:
        rows = await uow.session.execute(
            select(Delivery, Account).join(Account, col(Account.id) == col(Delivery.account_id))
        )
        return {
            (account.platform, account.code.partition(".")[0], yard.expected[delivery.post_id]): (
                delivery.id
            )
            for delivery, account in rows
        }


async def _classes(yard: Yard) -> dict[UUID, tuple[str, str]]:
    """Class and state of each delivery."""
    async with yard.world.app.open_uow.read() as uow:
        rows = await uow.session.execute(
            select(Delivery, col(Post.post_class)).join(Post, col(Post.id) == col(Delivery.post_id))
        )
        return {delivery.id: (post_class, delivery.state) for delivery, post_class in rows}
