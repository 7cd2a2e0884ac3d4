"""What becomes an alert: records in their own transaction, and what only a look at the clock finds."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlmodel import col, select

from scheduler.audit.actions import Action
from scheduler.clock import monotonic_s
from scheduler.db import alerts as rows
from scheduler.db.tables import Account, Delivery, OutboundEvent, SignOfLife
from scheduler.domain.alerts import SILENT_AFTER
from scheduler.practice.admin import Turn
from scheduler.practice.model import Platform
from scheduler.publishing.engine import Engine
from scheduler.publishing.pulse import Pulse
from scheduler.services import accounts, alerts, posts, postures
from tests.integration.alert_fixtures import (
    age,
    dispatching,
    events,
    give_sign,
    kinds,
    mail_through,
    pause_and_resume,
    renew_sign,
    send_once,
    webhook_to,
)
from tests.integration.fault_fixtures import local_in, until
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.receivers import MailServer, Receiver
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")
MINUTE = timedelta(minutes=1)


class ChangedMindError(Exception):
    """What a step may break off with."""


async def _find(world: World) -> None:
    await alerts.find_situations(world.app.open_uow)


async def _move_time(world: World, by: timedelta, *, state: str = "ready") -> None:
    """As if every delivery had been due so much earlier."""
    async with world.app.open_uow() as uow:
        at = uow.now - by
        await uow.session.execute(update(Delivery).values(due_at=at, wake_at=at, state=state))


async def test_an_alert_stands_in_the_transaction_that_made_it_true(own: World) -> None:
    with pytest.raises(ChangedMindError):
        async with own.as_("zorc") as (uow, actor):
            await postures.stop(uow, actor, reason="drill")
            raise ChangedMindError
    assert await kinds(own) == []
    async with own.as_("zorc") as (uow, actor):
        await postures.stop(uow, actor, reason="drill")
        at = uow.now
    [event] = await events(own)
    assert (event.kind, event.subject, event.created_at) == ("stopped", "posture", at)
    assert event.detail == {"reason": "drill", "caught": 0, "in_flight": 0}


async def test_a_refused_attempt_is_no_alert(own: World) -> None:
    async with own.app.open_uow() as uow:
        account = {"t": "account", "id": str(own.accounts["hq.mastodon"])}
        uow.record(Action.ACCOUNT_PAUSE, account, refused=True)
    assert await events(own) == []


async def test_what_goes_well_alarms_nobody(own: World) -> None:
    post = await own.scheduled(targets=("hq.mastodon", "hq.bluesky"))
    async with own.working():
        await own.settle(post, lambda each: each.state == "verified")
    await _find(own)
    assert await events(own) == []


async def test_a_paused_account_is_told_with_the_reason(own: World) -> None:
    async with own.as_("bizjak") as (uow, actor):
        await accounts.pause(
            uow, actor, own.accounts["hq.mastodon"], reason="moved to a new server"
        )
    [event] = await events(own)
    assert (event.kind, event.subject_id) == ("account_paused", own.accounts["hq.mastodon"])
    async with Receiver() as receiver, webhook_to(own, receiver) as webhook:
        await send_once(own, webhook)
    data = receiver.bodies[0]["data"]
    assert (data["account"], data["mission"]) == ("hq.mastodon", "krv.hq")
    assert data["command"] == "chancery account check hq.mastodon"
    assert data["what"].endswith("(moved to a new server)")


async def test_an_unclear_end_is_told_at_once_as_not_known(own: World) -> None:
    own.practice.turn(Platform.MASTODON, Turn(lose_answer=True, count=1))
    post = await own.scheduled(title="Road closed near Lipovec")
    async with (
        Receiver() as receiver,
        webhook_to(own, receiver) as webhook,
        dispatching(own, (webhook,)),
        own.working(),
    ):
        await own.settle(post, lambda each: each.state == "unknown")
        await until(lambda: _arrived(receiver), "the alert")
    data = receiver.bodies[0]["data"]
    assert (data["kind"], data["public"], data["title"]) == (
        "unknown",
        "not known",
        "Road closed near Lipovec",
    )


async def _arrived(receiver: Receiver) -> bool:
    return bool(receiver.seen)


async def test_a_post_due_within_the_hour_and_not_approved_is_told_once_for_each_submission(
    own: World,
) -> None:
    soon, later = local_in(50 * 60), local_in(70 * 60)
    await own.submit(await own.draft(when=later))
    await own.draft(when=soon)
    await own.approve(await own.submit(await own.draft(when=soon)))
    await _find(own)
    assert await events(own) == []
    waiting = await own.submit(await own.draft(when=soon))
    for _ in range(3):
        await _find(own)
    [event] = await events(own)
    assert (event.kind, event.subject_id, event.post_id) == ("approval_due", waiting.id, waiting.id)
    async with own.as_("hocevar") as (uow, actor):
        withdrawn = await posts.withdraw(uow, actor, waiting.id)
    await _find(own)
    assert len(await events(own)) == 1
    await own.submit(withdrawn)
    await _find(own)
    assert await kinds(own) == ["approval_due", "approval_due"]


async def test_a_delivery_that_is_due_and_does_not_move_is_told_once_for_each_time(
    own: World,
) -> None:
    post = await own.scheduled()
    await _move_time(own, MINUTE / 2)
    await _find(own)
    assert await events(own) == []
    await _move_time(own, 2 * MINUTE)
    for _ in range(3):
        await _find(own)
    [event] = await events(own)
    [delivery] = await own.deliveries(post)
    assert (event.kind, event.subject_id, event.post_id) == ("overdue", delivery.id, post.id)
    await age(own, 10 * MINUTE)
    await _move_time(own, 2 * MINUTE)  # released, and again it does not leave
    await _find(own)
    assert await kinds(own) == ["overdue", "overdue"]


async def test_what_a_dead_worker_has_in_hand_is_overdue_and_what_waits_for_a_retry_is_not(
    own: World,
) -> None:
    await own.scheduled()
    async with own.app.open_uow() as uow:
        past, ahead = uow.now - 2 * MINUTE, uow.now + MINUTE
        await uow.session.execute(update(Delivery).values(due_at=past, wake_at=ahead))
    await _find(own)
    assert await events(own) == []
    async with own.app.open_uow() as uow:
        await uow.session.execute(update(Delivery).values(state="claimed", lease_until=past))
    await _find(own)
    assert await kinds(own) == ["overdue"]


async def test_what_waits_for_its_turn_on_a_busy_account_is_not_overdue(own: World) -> None:
    first, _ = await own.scheduled(), await own.scheduled()
    await _move_time(own, 2 * MINUTE)
    async with own.app.open_uow() as uow:
        busy = update(Delivery).where(col(Delivery.post_id) == first.id)
        await uow.session.execute(busy.values(state="claimed", lease_until=uow.now + MINUTE))
    await _find(own)
    assert await events(own) == []
    async with own.app.open_uow() as uow:
        values = {"state": "sent", "remote_id": "1", "sent_at": uow.now, "lease_until": None}
        await uow.session.execute(busy.values(**values))
    await _find(own)
    assert await events(own) == []
    async with own.app.open_uow() as uow:
        await uow.session.execute(busy.values(sent_at=uow.now - 2 * MINUTE))
    await _find(own)
    assert await kinds(own) == ["overdue"]


async def test_an_alert_never_breaks_the_change_that_it_tells_of(own: World) -> None:
    async with own.app.open_uow() as uow:
        uow.record(Action.POSTURE_STOP, {"t": "posture", "id": "by hand", "post": "none"})
    [event] = await events(own)
    assert (event.kind, event.post_id) == ("stopped", None)


async def test_what_a_newer_release_tells_does_not_silence_an_older_one(own: World) -> None:
    await pause_and_resume(own, 2)
    async with own.app.open_uow() as uow:
        query = update(OutboundEvent).where(col(OutboundEvent.id) == (await events(own))[0].id)
        await uow.session.execute(query.values(kind="of_tomorrow"))
    async with Receiver() as receiver, webhook_to(own, receiver) as webhook:
        assert await send_once(own, webhook) == 1


async def test_an_overdue_delivery_says_that_its_account_is_paused(own: World) -> None:
    await own.scheduled()
    await _move_time(own, 2 * MINUTE)
    async with own.app.open_uow() as uow:
        query = update(Account).where(col(Account.code) == "hq.mastodon")
        await uow.session.execute(query.values(state="paused", state_reason="token refused"))
    await _find(own)
    [event] = await events(own)
    assert event.detail == {"why": "the account is paused: token refused"}


async def test_a_worker_that_falls_silent_is_told_once_for_each_silence(own: World) -> None:
    await give_sign(own, "near:2")
    sign_id = await give_sign(own, "far:1", ago=SILENT_AFTER - timedelta(seconds=10))
    await _find(own)
    assert await events(own) == []
    await renew_sign(own, sign_id, ago=SILENT_AFTER + timedelta(seconds=10))
    for _ in range(3):
        await _find(own)
    [event] = await events(own)
    assert (event.kind, event.subject, event.subject_id) == ("worker_silent", "worker", sign_id)
    assert event.detail["why"].startswith("far:1 since ")
    assert event.detail["why"].endswith("; 1 other(s) alive")
    await age(own, 60 * MINUTE)
    await renew_sign(own, sign_id, ago=10 * MINUTE)  # it came back, and is gone again
    await _find(own)
    assert await kinds(own) == ["worker_silent", "worker_silent"]


async def test_the_last_worker_that_falls_silent_is_told_as_the_last(own: World) -> None:
    await give_sign(own, "far:1", ago=2 * SILENT_AFTER)
    await _find(own)
    [event] = await events(own)
    assert event.detail["why"].endswith("no other is alive: nothing leaves")


async def test_two_who_look_at_once_tell_it_once(own: World) -> None:
    await give_sign(own, "far:1", ago=2 * SILENT_AFTER)
    async with own.app.open_uow.read() as uow:
        seen = await alerts._look(uow)
    await _find(own)
    async with own.app.open_uow() as uow:
        await rows.insert_new(uow, seen)
    assert await kinds(own) == ["worker_silent"]


async def _signs(world: World) -> list[SignOfLife]:
    async with world.app.open_uow.read() as uow:
        return list(await uow.session.scalars(select(SignOfLife)))


def _pulse(world: World, *, swept_s_ago: float) -> Pulse:
    engine = Engine(world.app.open_uow, world.app.kit, worker="host:1")
    engine.last_sweep_s = monotonic_s() - swept_s_ago
    return Pulse(world.app.open_uow, engine)


async def test_a_worker_gives_signs_while_it_sweeps_and_takes_leave(own: World) -> None:
    await give_sign(own, "long ago", ago=timedelta(days=8))
    stopping = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(_pulse(own, swept_s_ago=1).run(stopping))
        await until(lambda: _is_known(own, "host:1"), "a sign of life")
        assert [each.worker for each in await _signs(own)] == ["host:1"]
        stopping.set()
    assert await _signs(own) == []


async def test_a_sign_is_renewed_in_its_own_row(own: World) -> None:
    alive = _pulse(own, swept_s_ago=1)
    assert await alive.beat() == 10
    [first] = await _signs(own)
    await alive.beat()
    [second] = await _signs(own)
    assert (second.id, second.started_at) == (first.id, first.started_at)
    assert second.seen_at > first.seen_at


async def _is_known(world: World, worker: str) -> bool:
    return worker in {each.worker for each in await _signs(world)}


async def test_a_worker_whose_engine_hangs_gives_no_sign(own: World) -> None:
    assert await _pulse(own, swept_s_ago=60).beat() < 10
    assert await _signs(own) == []


async def test_the_dispatcher_looks_by_itself(own: World) -> None:
    await give_sign(own, "far:1", ago=2 * SILENT_AFTER)
    async with (
        Receiver() as receiver,
        webhook_to(own, receiver) as webhook,
        dispatching(own, (webhook,)),
    ):
        await until(lambda: _arrived(receiver), "the alert")
    assert receiver.bodies[0]["data"]["kind"] == "worker_silent"
    assert receiver.bodies[0]["data"]["public"] == "not known"


async def test_without_news_nothing_is_written(own: World) -> None:
    """On SQLite a second writer would wait here for the first, for good."""
    async with (
        Receiver([410]) as receiver,
        webhook_to(own, receiver) as webhook,
        MailServer() as server,
    ):
        mail = mail_through(own, server)
        await pause_and_resume(own, 1)
        assert await send_once(own, webhook, mail) == 2
        await pause_and_resume(own, 1)  # for a receiver that is gone, and a mail that gathers
        async with own.app.open_uow() as writer:
            await writer.tick()
            async with asyncio.timeout(5):
                assert await send_once(own, webhook, mail) == 0
                await _find(own)


async def test_what_a_platform_refuses_is_told_with_its_reason(own: World) -> None:
    own.practice.turn(Platform.MASTODON, Turn(status=422, when="before", count=1))
    post = await own.scheduled(title="Lipovec")
    async with own.working():
        await own.settle(post, lambda each: each.state == "rejected")
    assert await kinds(own) == ["failed"]
    async with Receiver() as receiver, webhook_to(own, receiver) as webhook:
        await send_once(own, webhook)
    [delivery] = await own.deliveries(post)
    data = receiver.bodies[0]["data"]
    assert data["what"].endswith(f"({delivery.reason})")
    assert data["public"] == "no"
