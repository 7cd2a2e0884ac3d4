"""`chancery alert`: tests that say what came back, and a list on the terminal."""

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from adapters.registry import build
from scheduler.app import application
from scheduler.audit.actions import Action
from scheduler.ids import new_id
from tests.integration.cli_fixtures import Machine, installation, installed, machine
from tests.support.receivers import SECRET, MailServer, Receiver

__all__ = ["installation", "installed", "machine"]
pytestmark = pytest.mark.timeout(180)


@contextmanager
def _outside(receiver: Receiver, server: MailServer) -> Iterator[None]:
    """Both servers in a thread, because a command blocks the test."""
    ready: Future[asyncio.AbstractEventLoop] = Future()
    stopping = asyncio.Event()

    async def serve() -> None:
        async with receiver, server:
            ready.set_result(asyncio.get_running_loop())
            await stopping.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    loop = ready.result(20)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(20)


def _told(machine: Machine, receiver: Receiver, server: MailServer) -> Machine:
    return machine.having(
        CHANCERY_SMTP_URL=f"smtp://127.0.0.1:{server.port}",
        CHANCERY_ALERT_FROM="chancery@karvenia.example",
        CHANCERY_ALERT_TO="duty@karvenia.example",
        CHANCERY_ALERT_WEBHOOK_URL=receiver.url,
        CHANCERY_ALERT_WEBHOOK_SECRET=SECRET,
        CHANCERY_EGRESS_ALLOW=receiver.pair,
    )


def _check(machine: Machine) -> dict[str, str]:
    """What the doctor says about the alerts."""
    found = json.loads(machine.run("doctor", "--json").stdout)
    [check] = [each for each in found if each["name"] == "alerts"]
    return dict(check)


def test_a_test_alert_goes_every_way_at_once_and_says_what_came_back(installed: Machine) -> None:
    receiver, server = Receiver([204, 503]), MailServer()
    with _outside(receiver, server):
        there = _told(installed, receiver, server)
        assert there.ask("alert", "test") == [
            {"target": "email", "state": "sent", "answer": "accepted"},
            {"target": "webhook", "state": "sent", "answer": "accepted"},
        ]
        done = there.run("alert", "test")
        assert done.returncode == 1
        assert done.stdout.splitlines() == [
            "email    sent   accepted",
            "webhook  failed answered 503",
        ]
        assert done.stderr.strip().endswith("[alert_test_failed]")
        assert [each["Subject"] for each in server.messages] == ["[Chancery] Test"] * 2
        assert [each["type"] for each in receiver.bodies] == ["alert.test"] * 2
        check = _check(there)
        assert check["code"] == "alerts_lost"
        assert "1 by webhook" in check["message"]


def test_without_a_way_there_is_nothing_to_test_and_the_doctor_says_so(installed: Machine) -> None:
    assert installed.refusal("alert", "test") == "alerts_not_configured"
    assert _check(installed)["code"] == "alerts_untold"
    half = installed.having(CHANCERY_ALERT_TO="duty@karvenia.example")
    assert _check(half)["code"] == "settings_invalid"


@pytest.mark.parametrize("command", [("alert", "test"), ("web",), ("worker",)])
def test_half_a_configuration_is_refused_by_name(
    installed: Machine, command: tuple[str, ...]
) -> None:
    half = installed.having(CHANCERY_ALERT_TO="duty@karvenia.example")
    assert half.refusal(*command) == "settings_invalid"


def test_the_list_says_what_happened_and_who_was_told(installed: Machine) -> None:
    codes = installed.ask("init", "--new-codes")
    code = codes["enrolments"][0]["code"]
    asyncio.run(_stop(installed))
    with installed.up():
        done = installed.run("login", "--url", installed.url, stdin=f"{code}\n")
        assert done.returncode == 0, done.stderr
        head, line = installed.run("alert", "list").stdout.splitlines()
        assert head.startswith("AT\tALERT\tPUBLIC")
        assert line.split("\t")[1:3] == ["Publishing is stopped", "no"]
        assert line.split("\t")[-2:] == ["nobody", "chancery posture"]
        [found] = installed.ask("alert", "list", "--kind", "stopped")
        assert found["sends"] == []


async def _stop(machine: Machine) -> None:
    async with (
        application(machine.settings(), service="test", platforms=build, ringing=False) as app,
        app.open_uow() as uow,
    ):
        uow.record(
            Action.POSTURE_STOP,
            {"t": "posture", "id": str(new_id())},
            detail={"reason": "drill"},
        )
