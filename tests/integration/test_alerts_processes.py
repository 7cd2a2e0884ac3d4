"""Alerts with real processes: a sender killed between sending and writing, and a worker that dies while web looks on."""

import signal
from datetime import timedelta
from pathlib import Path

from sqlmodel import select

from scheduler.audit.actions import Action
from scheduler.db.tables import SignOfLife
from scheduler.db.uow import UnitOfWork
from scheduler.domain.alerts import SILENT_AFTER
from scheduler.settings import Settings
from tests.integration.alert_fixtures import events, hurry, sends
from tests.integration.fault_fixtures import (
    Yard,
    practice,  # noqa: F401 - fixtures go by name
    until,
    yard_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.processes import WebProcess, stopped
from tests.support.receivers import SECRET, STALL, Receiver
from tests.support.world import World


def _environment(settings: Settings, receiver: Receiver) -> dict[str, str]:
    return {
        "CHANCERY_ALERT_WEBHOOK_URL": receiver.url,
        "CHANCERY_ALERT_WEBHOOK_SECRET": SECRET,
        "CHANCERY_EGRESS_ALLOW": ",".join([*settings.egress_allow, receiver.pair]),
    }


async def _raise(world: World) -> None:
    account = {"t": "account", "id": str(world.accounts["hq.mastodon"])}
    async with world.app.open_uow() as uow:
        uow.record(Action.ACCOUNT_PAUSE, account, detail={"reason": "test"})


async def test_a_sender_killed_between_sending_and_writing_is_followed_by_the_same_alert(
    yard: Yard,
) -> None:
    async with Receiver([STALL]) as receiver:
        environment = _environment(yard.settings, receiver)
        await _raise(yard.world)
        with yard.worker(**environment) as worker:
            await until(lambda: _came(receiver, 1), "the first alert")
            worker.kill()  # it has arrived, and nobody has written that
        [send] = await sends(yard.world)
        assert (send.state, send.attempts) == ("pending", 1)
        receiver.release()
        await hurry(yard.world)  # its claim is over
        with yard.worker(**environment):
            await until(lambda: _sent(yard.world), "the alert written as sent")
    [event] = await events(yard.world)
    assert receiver.ids == [str(event.id)] * 2
    assert len({body for _, body in receiver.seen}) == 1
    assert len(receiver.bodies) == 2  # both signed


async def test_the_web_process_tells_of_a_worker_that_died(yard: Yard, tmp_path: Path) -> None:
    async with Receiver() as receiver:
        environment = _environment(yard.settings, receiver)
        with yard.worker() as worker:
            await until(lambda: _signed(yard.world), "a sign of life")
            worker.send(signal.SIGKILL)
        await _age_signs(yard.world)
        with WebProcess(yard.settings, tmp_path / "web.log", **environment) as web:
            await until(lambda: _came(receiver, 1), "the alert")
            assert web.end() == 0
    [body] = receiver.bodies
    assert body["data"]["kind"] == "worker_silent"
    assert "no other is alive" in body["data"]["what"]


async def test_a_frozen_worker_is_told_by_another_and_one_that_ends_in_order_by_nobody(
    yard: Yard, database: str
) -> None:
    if database == "sqlite":
        return  # one worker is all that SQLite carries
    async with Receiver() as receiver:
        environment = _environment(yard.settings, receiver)
        with yard.worker() as frozen:
            await until(lambda: _signed(yard.world), "a sign of life")
            with stopped(frozen):
                await _age_signs(yard.world)
                with yard.worker(**environment) as other:
                    await until(lambda: _came(receiver, 1), "the alert")
                    assert other.end() == 0
                    async with yard.world.app.open_uow.read() as uow:
                        left = await _signs(uow)
    assert len(left) == 1  # the frozen one's; the other has taken its leave
    assert [each["data"]["kind"] for each in receiver.bodies] == ["worker_silent"]


async def _came(receiver: Receiver, count: int) -> bool:
    return len(receiver.seen) >= count


async def _sent(world: World) -> bool:
    return [each.state for each in await sends(world)] == ["sent"]


async def _signed(world: World) -> bool:
    async with world.app.open_uow.read() as uow:
        return bool(await _signs(uow))


async def _signs(uow: UnitOfWork) -> list[SignOfLife]:
    return list(await uow.session.scalars(select(SignOfLife)))


async def _age_signs(world: World) -> None:
    async with world.app.open_uow() as uow:
        for sign in await _signs(uow):
            sign.seen_at -= SILENT_AFTER + timedelta(seconds=30)
