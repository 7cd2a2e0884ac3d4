"""The doctor says in words why nothing moves: every finding is made true for real, and then found."""

import asyncio
import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text, update

from adapters.registry import build
from scheduler import doorbell
from scheduler.app import redis_url
from scheduler.clock import iso
from scheduler.commands.advice import FINDINGS, Check
from scheduler.commands.checks import run_checks
from scheduler.db.tables import AuditOutbox
from scheduler.domain.delivery_flow import DeliveryState
from scheduler.practice.admin import Turn
from scheduler.practice.model import Platform
from scheduler.publishing.engine import Engine
from scheduler.services import accounts, postures
from scheduler.services.writing import When
from scheduler.settings import Settings
from tests.integration.cli_fixtures import (
    Machine,
    free_port,
    installation,
    installed,
    machine,
)
from tests.integration.fault_fixtures import (  # noqa: F401 - fixtures go by name
    Yard,
    practice,
    until,
    yard_fixture,
)
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.postgres import TestPostgres
from tests.support.processes import stopped
from tests.support.redis import TestRedis
from tests.support.world import World

__all__ = ["installation", "installed", "machine"]
pytestmark = pytest.mark.timeout(120)
in_the_session = pytest.mark.asyncio(loop_scope="session")
#: What no test can make true: with such a Python it would not run.
UNTRIED = {"python_old"}
TRIED_IN = ("test_doctor.py", "test_preflight.py", "test_cli_alerts.py")


async def _examine(settings: Settings) -> dict[str, Check]:
    """What is not well, by code."""
    return {each.code: each for each in await run_checks(settings, build) if each.code}


async def _fine(settings: Settings) -> dict[str, str]:
    return {each.name: each.message for each in await run_checks(settings, build) if not each.code}


def test_every_finding_is_made_true_by_a_test_and_says_what_to_do() -> None:
    tests = "".join(Path(__file__).with_name(name).read_text() for name in TRIED_IN)
    tried = {each.code for each in FINDINGS if f'"{each.code}"' in tests} - UNTRIED
    assert tried == {each.code for each in FINDINGS} - UNTRIED
    assert [each.code for each in FINDINGS if not each.do] == []
    assert len({each.code for each in FINDINGS}) == len(FINDINGS)


# The machine: folders, keys, disk, database.


async def test_a_data_folder_that_is_missing_or_open_is_found(installed: Machine) -> None:
    installed.data.chmod(0o750)
    found = await _examine(installed.settings())
    assert found["data_folder_open"].do == f"chmod 700 {installed.data}"
    shutil.rmtree(installed.data)
    assert {"data_folder_missing", "installation_missing"} <= set(
        await _examine(installed.settings())
    )


async def test_keys_that_are_gone_open_unreadable_or_misplaced_are_found(
    installed: Machine,
) -> None:
    settings, keys = installed.settings(), installed.key_file
    keys.chmod(0o644)
    assert "key_file_permissions" in await _examine(settings)
    keys.chmod(0o600)
    inside = settings.model_copy(update={"key_file": installed.data / "keys.json"})
    shutil.copy2(keys, inside.key_file)
    assert "key_file_inside_data" in await _examine(inside)
    keys.write_text("{}")
    assert "key_file_invalid" in await _examine(settings)
    keys.unlink()
    assert "key_file_missing" in await _examine(settings)


@pytest.mark.skipif(
    sys.platform != "linux" or subprocess.run(["unshare", "-rm", "true"], check=False).returncode,
    reason="this machine lets nobody mount a small disk of their own",
)
def test_a_disk_that_is_nearly_full_is_found(installed: Machine) -> None:
    """A real disk of eight megabytes, which only this process sees."""
    aside = installed.data.rename(installed.folder / "aside")
    installed.data.mkdir(mode=0o700)
    script = 'mount -t tmpfs -o size=8m,mode=700 tmpfs "$1" && cp -r "$2"/. "$1" && exec "$3" -m cli doctor --json'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "-", installed.data, aside, sys.executable],
        env=installed.environment,
        cwd=installed.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    [disk] = [each for each in json.loads(done.stdout) if each["code"] == "disk_low"]
    assert int(disk["message"].split()[0]) < 8
    assert disk["do"].startswith("make room")


async def test_a_database_of_another_revision_is_found(installed: Machine) -> None:
    with closing(sqlite3.connect(installed.data / "chancery.db")) as database, database:
        database.execute("UPDATE alembic_version SET version_num = '0001'")
    assert "chancery db upgrade" in (await _examine(installed.settings()))["database_outdated"].do


async def test_a_database_that_does_not_answer_is_found(installed: Machine) -> None:
    away = SecretStr(f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    settings = installed.settings().model_copy(update={"database_url": away})
    assert "database_unavailable" in await _examine(settings)


async def test_a_disk_on_which_sqlite_cannot_keep_its_log_is_found(
    installed: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite's own locking for network folders shares no memory, so the log (WAL) cannot be kept."""
    file = installed.data / "chancery.db"
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA journal_mode=DELETE")
    monkeypatch.chdir(installed.folder)
    url = SecretStr(f"sqlite:///file:{file}?vfs=unix-dotfile&uri=true")
    found = await _examine(installed.settings().model_copy(update={"database_url": url}))
    assert found["durability_weak"].message == "journal delete, synchronous 2"


@pytest.mark.parametrize(("ahead", "direction"), [("1 hour", "ahead"), ("-1 hour", "behind")])
@pytest.mark.parametrize("database", ["postgresql"])
async def test_a_database_whose_clock_is_off_is_found(
    world: World, postgres: TestPostgres, ahead: str, direction: str
) -> None:
    """The server's clock cannot be set, so the database is given one of its own, under the same name."""
    skewed = f"SELECT pg_catalog.clock_timestamp() + interval '{ahead}'"
    async with world.app.open_uow() as uow:
        name = (await uow.session.execute(text("SELECT current_database()"))).scalar_one()
        for statement in (
            "CREATE SCHEMA skewed",
            "CREATE FUNCTION skewed.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS '{}'",
            f'ALTER DATABASE "{name}" SET search_path = skewed, pg_catalog, public',
        ):
            quoted = skewed.replace("'", "''")
            await uow.session.execute(text(statement.format(quoted)))
    found = (await _examine(world.app.settings))["clock_off"]
    seconds = re.fullmatch(
        rf"the database's clock is ([0-9.]+) s {direction} of this machine's", found.message
    )
    assert seconds
    assert 3590 < float(seconds[1]) < 3610
    assert found.result == "fail"


# Redis, worker and record.


async def test_without_redis_the_doctor_says_which_redis_and_that_no_worker_can_be_seen(
    installed: Machine,
) -> None:
    own = await _examine(installed.settings())
    assert own["redis_not_started"].result == "warn"
    assert own["worker_unseen"].result == "warn"
    assert own["accounts_missing"].result == "warn"
    url = SecretStr(f"redis://127.0.0.1:{free_port()}/0")
    given = await _examine(installed.settings().model_copy(update={"redis_url": url}))
    assert "redis_away" in given
    assert "redis_not_started" not in given


@in_the_session
async def test_a_missing_worker_is_found_and_a_working_one_is_not(own: World) -> None:
    await own.scheduled()
    await _age(own)
    settings = own.app.settings
    with TestRedis(settings.data_dir / "redis"):
        found = await _examine(settings)
        assert found["worker_missing"].result == "fail"
        assert "1 due, the oldest since" in found["due_without_worker"].message
        async with own.working() as engine, _answering(own, engine):

            async def alive() -> bool:
                return (await _fine(settings)).get("worker") == "alive"

            await until(alive, "the worker's sign")
            assert not {"worker_missing", "due_without_worker"} & set(await _examine(settings))


@in_the_session
async def test_records_that_are_not_sealed_or_cannot_be_are_found(own: World) -> None:
    async def behind() -> bool:
        return "record_unsealed" in await _examine(own.app.settings)

    await until(behind, "the sequencer behind", within_s=30)
    async with own.app.open_uow() as uow:
        await uow.session.execute(update(AuditOutbox).values(body=b"{}"))
    assert (await _examine(own.app.settings))["record_unreadable"].result == "fail"


# Why nothing moves.


@in_the_session
async def test_nothing_scheduled_and_nothing_due_are_said_as_they_are(own: World) -> None:
    assert (await _fine(own.app.settings))["publishing"] == "nothing is scheduled"
    await own.scheduled(when=When(local="2090-06-01T09:00", zone="UTC"))
    assert (await _fine(own.app.settings))["publishing"] == (
        "nothing is due; 1 scheduled, the next for 2090-06-01 09:00:00 UTC"
    )
    await own.scheduled()
    assert (await _fine(own.app.settings))["publishing"] == "1 due and on their way"


@in_the_session
async def test_a_stop_is_told_with_who_when_and_why_and_what_it_holds(own: World) -> None:
    async with own.as_("bizjak") as (uow, actor):
        posture = await postures.stop(uow, actor, reason="an earthquake near Lipovec")
    found = (await _examine(own.app.settings))["stopped"]
    since = posture.posture.started_at.strftime("%Y-%m-%d %H:%M:%S UTC")
    assert found.message == f"stop by Rok Bizjak since {since}: an earthquake near Lipovec"
    assert found.result == "warn"
    async with own.working():
        post = await own.scheduled()
        await own.settle(post, lambda each: each.state == DeliveryState.HELD)
    waiting = (await _examine(own.app.settings))["waiting_for_people"]
    assert waiting.message == "1 held and 0 unknown wait for a person"


@in_the_session
async def test_a_policy_changed_by_hand_is_told(own: World) -> None:
    async with own.app.open_uow() as uow:
        await uow.session.execute(text("UPDATE policy_version SET version = 'laxer'"))
    assert (await _examine(own.app.settings))["policy_changed"].result == "fail"


@in_the_session
async def test_paused_accounts_are_told_and_what_is_due_on_them(own: World) -> None:
    await own.scheduled()
    await _age(own)
    await _pause(own, "hq.mastodon")
    found = await _examine(own.app.settings)
    assert found["accounts_paused"].message == "paused: hq.mastodon (the password has leaked)"
    assert found["accounts_paused"].result == "warn"
    assert found["due_on_paused"].message.endswith(
        "these accounts of theirs are paused: hq.mastodon"
    )
    for code in set(own.accounts) - {"hq.mastodon"}:
        await _pause(own, code)
    assert (await _examine(own.app.settings))["accounts_all_paused"].result == "fail"


@in_the_session
async def test_what_is_due_and_taken_by_nobody_is_told(own: World) -> None:
    await own.scheduled()
    await _age(own)
    found = await _examine(own.app.settings)
    assert found["due_not_taken"].result == "fail"
    assert found["due_not_taken"].message.startswith("1 due, the oldest since ")


async def test_what_a_dead_worker_had_in_hand_is_told_with_the_time_of_its_lease(
    yard: Yard,
) -> None:
    yard.practice.turn(Platform.MASTODON, Turn(latency_ms=3000, when="before"))
    with yard.worker(patience=(20, 2, 20)) as worker:
        post = await yard.schedule("Good morning from Lipovec!")
        await yard.until_state(post, "sending")
        with stopped(worker):
            claimed = await yard.the(post)
            await until(lambda: _finds(yard, "due_in_hand"), "in hand", within_s=40)
            found = (await _examine(yard.settings))["due_in_hand"]
            assert claimed.lease_until is not None
            until_text = claimed.lease_until.strftime("%Y-%m-%d %H:%M:%S UTC")
            assert found.message == (
                f"1 due in the hands of worker {claimed.worker} until {until_text}"
            )
            worker.send(signal.SIGKILL)
        worker.kill()
        found = (await _examine(yard.settings))["due_in_dead_hands"]
    assert found.message == (
        f"1 due in the hands of worker {claimed.worker}, which is gone, until {until_text}"
    )


async def test_what_a_platform_has_put_off_is_told_with_its_next_try(yard: Yard) -> None:
    yard.practice.turn(Platform.MASTODON, Turn(status=429, when="before"))
    with yard.worker() as worker:
        await yard.schedule("Good morning from Lipovec!")
        await until(lambda: _finds(yard, "due_put_off"), "put off", within_s=60)
        assert worker.lives


def test_the_doctors_words_stand_below_each_other_with_what_to_do(installed: Machine) -> None:
    installed.data.chmod(0o755)
    done = installed.run("doctor")
    lines = done.stdout.splitlines()
    [at] = [number for number, line in enumerate(lines) if "[data_folder_open]" in line]
    assert lines[at].startswith("FAIL  data folder ")
    assert lines[at + 1].strip() == f"-> chmod 700 {installed.data}"


async def _finds(yard: Yard, code: str) -> bool:
    return code in await _examine(yard.settings)


async def _pause(world: World, code: str) -> None:
    async with world.as_("bizjak") as (uow, actor):
        await accounts.pause(uow, actor, world.accounts[code], reason="the password has leaked")


async def _age(world: World) -> None:
    """The deliveries have been due for seven minutes."""
    async with world.app.open_uow() as uow:
        moment = uow.now - timedelta(minutes=7)
        is_sqlite = world.app.settings.is_sqlite
        await uow.session.execute(
            text("UPDATE delivery SET due_at = :at"),
            {"at": iso(moment) if is_sqlite else moment},
        )


@asynccontextmanager
async def _answering(world: World, engine: Engine) -> AsyncIterator[None]:
    """arq's part of the worker, which leaves the sign of life."""
    stopping = asyncio.Event()
    bell = doorbell.connect(redis_url(world.app.settings), world.app.kit.ring.derive("jobs"))
    running = asyncio.ensure_future(doorbell.answer(bell, engine.nudge, stopping))
    try:
        yield
    finally:
        stopping.set()
        await running
        await bell.aclose(close_connection_pool=True)
