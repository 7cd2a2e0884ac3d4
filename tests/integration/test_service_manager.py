"""Web and worker under systemd's eyes: ready when they are, fed while they are well, and no longer when they are not."""

import asyncio
import os
import shutil
import signal
import socket
import sqlite3
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from scheduler.db.engine import build_engine
from scheduler.db.migrate import upgrade
from scheduler.notify import Notifier
from scheduler.settings import ServiceManager, Settings
from scheduler.vault.keyfile import KeyFilePermissionsError, KeyRing
from tests.integration.cli_fixtures import free_port
from tests.integration.fault_fixtures import Yard, practice, yard_fixture  # noqa: F401 - fixtures
from tests.support.manager import Manager
from tests.support.postgres import TestPostgres
from tests.support.processes import WebProcess, WorkerProcess, stopped

pytestmark = pytest.mark.timeout(120)
on_sqlite = pytest.mark.parametrize("database", ["sqlite"])
on_postgresql = pytest.mark.parametrize("database", ["postgresql"])
_WATCHDOG_S = 2.0


@pytest.fixture
def postgres() -> Iterator[TestPostgres]:
    """A server of the test's own, to be frozen."""
    with TestPostgres() as server:
        if not server.is_ours:
            pytest.skip("another's server is not ours to freeze")
        yield server


@pytest.fixture
def empty_postgres(postgres: TestPostgres) -> str:
    url = postgres.create_database()
    with ThreadPoolExecutor() as pool:
        pool.submit(asyncio.run, _migrate(url)).result()
    return url


async def _migrate(url: str) -> None:
    engine = build_engine(url)
    await upgrade(engine)
    await engine.dispose()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    with Manager(tmp_path if request.param == "path" else None) as found:
        yield found


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Manager]:
    with Manager(tmp_path) as found:
        yield found


def _worker(yard: Yard, manager: Manager, *, module: str = "worker") -> WorkerProcess:
    return yard.worker(module=module, **manager.environment(watchdog_s=_WATCHDOG_S))


@on_sqlite
async def test_a_worker_is_ready_after_its_first_sweep_feeds_the_watchdog_and_says_that_it_stops(
    yard: Yard, manager: Manager
) -> None:
    with _worker(yard, manager) as worker:
        before = manager.wait_for("READY=1")
        assert "WATCHDOG=1" not in before
        for _ in range(3):
            manager.wait_for("WATCHDOG=1", within_s=2 * _WATCHDOG_S)
        worker.send(signal.SIGTERM)
        after = manager.wait_for("STOPPING=1")
        assert worker.end() == 0
    assert "READY=1" not in after
    assert "WATCHDOG=1" not in manager.heard(0.1)


@on_sqlite
async def test_a_worker_whose_database_is_locked_is_not_ready_before_it_answers(
    yard: Yard, listening: Manager
) -> None:
    with ExitStack() as stack:
        with _locked(yard.settings):
            stack.enter_context(_worker(yard, listening))
            listening.wait_for("STATUS=starting: waiting for the first sweep")
            assert "READY=1" not in listening.heard(3)
        listening.wait_for("READY=1")


@on_sqlite
async def test_a_worker_whose_loop_is_blocked_feeds_no_longer(
    yard: Yard, listening: Manager
) -> None:
    with _worker(yard, listening, module="tests.support.stuck_worker") as worker:
        listening.wait_for("WATCHDOG=1")
        worker.send(signal.SIGUSR1)
        listening.heard(_WATCHDOG_S / 4)
        assert listening.heard(2 * _WATCHDOG_S) == []
        assert worker.lives


@on_sqlite
async def test_a_worker_that_is_stopped_feeds_no_longer_and_again_when_it_goes_on(
    yard: Yard, listening: Manager
) -> None:
    with _worker(yard, listening) as worker:
        listening.wait_for("WATCHDOG=1")
        with stopped(worker):
            listening.fall_silent()
            assert listening.heard(2 * _WATCHDOG_S) == []
        listening.wait_for("WATCHDOG=1")


@on_sqlite
async def test_a_worker_whose_sweep_waits_for_the_database_feeds_no_longer_and_says_why(
    yard: Yard, listening: Manager
) -> None:
    """The loop runs all the time: it is the sweep that is missing."""
    with _worker(yard, listening):
        listening.wait_for("WATCHDOG=1")
        with _locked(yard.settings):
            listening.wait_for("STATUS=no healthy sweep for 1 s")
            assert "WATCHDOG=1" not in listening.heard(_WATCHDOG_S)
        listening.wait_for("WATCHDOG=1")


@on_postgresql
async def test_web_and_worker_feed_no_longer_while_postgresql_hangs(
    yard: Yard, postgres: TestPostgres, tmp_path: Path
) -> None:
    """Frozen, not gone: connections stand and nothing answers."""
    (tmp_path / "web").mkdir()
    with Manager(tmp_path) as works, Manager(tmp_path / "web") as serves:
        web = WebProcess(
            yard.settings, tmp_path / "web.log", **serves.environment(watchdog_s=_WATCHDOG_S)
        )
        with _worker(yard, works), web:
            works.wait_for("WATCHDOG=1")
            serves.wait_for("WATCHDOG=1")
            with postgres.frozen():
                works.fall_silent()  # a slow machine may have missed a sweep before
                works.wait_for("STATUS=no healthy sweep for 1 s")
                serves.wait_for("STATUS=the database does not answer in time")
                assert "WATCHDOG=1" not in works.heard(_WATCHDOG_S)
                assert "WATCHDOG=1" not in serves.heard(_WATCHDOG_S)
            works.wait_for("WATCHDOG=1")
            serves.wait_for("WATCHDOG=1")


@on_sqlite
async def test_the_web_process_is_ready_when_it_listens_and_says_that_it_stops(
    yard: Yard, manager: Manager, tmp_path: Path
) -> None:
    environment = manager.environment(watchdog_s=_WATCHDOG_S)
    with WebProcess(yard.settings, tmp_path / "web.log", **environment) as web:
        manager.wait_for("READY=1")
        with urllib.request.urlopen(f"{web.url}/healthz", timeout=5) as answer:
            assert answer.status == 200
        manager.wait_for("WATCHDOG=1", within_s=2 * _WATCHDOG_S)
        assert web.end() == 0
        manager.wait_for("STOPPING=1")


@on_sqlite
async def test_web_and_worker_run_with_a_key_in_a_folder_in_which_nothing_can_be_written(
    yard: Yard, tmp_path: Path
) -> None:
    """As systemd's folder of credentials is."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    shutil.copy(yard.settings.key_file, credentials / "keys.json")
    (credentials / "keys.json").chmod(0o400)
    credentials.chmod(0o500)
    before = credentials.stat().st_mtime_ns
    settings = yard.settings.model_copy(update={"key_file": credentials / "keys.json"})
    with (
        WorkerProcess(settings, yard.log) as worker,
        WebProcess(settings, tmp_path / "web.log") as web,
    ):
        await yard.schedule("Good morning from Lipovec!", "hq.mastodon", "hq.bluesky")
        await yard.until_done(count=2, worker=worker)
        assert web.end() == worker.end() == 0
    assert [each.name for each in credentials.iterdir()] == ["keys.json"]
    assert credentials.stat().st_mtime_ns == before  # root could have written
    credentials.chmod(0o700)
    await yard.assert_once()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can leave a file as systemd does")
def test_a_credential_is_read_though_its_access_list_shows_as_the_groups_bits(
    tmp_path: Path,
) -> None:
    """systemd gives root's file, mode 0400, to the service's user by an access list: `ls` shows 0440 then."""
    path = tmp_path / "keys" / "keys.json"
    ring = KeyRing.create(path, origin="audit.karvenia.example/log1")
    os.chown(path, 0, 0)
    path.chmod(0o440)
    assert KeyRing(path).instance_seed == ring.instance_seed
    for uid, gid, mode in ((0, 1, 0o440), (0, 0, 0o640), (0, 0, 0o444), (0, 0, 0o460)):
        os.chown(path, uid, gid)
        path.chmod(mode)
        with pytest.raises(KeyFilePermissionsError):
            KeyRing(path)


@on_sqlite
async def test_a_worker_shows_its_own_figures_only_where_it_is_told_to(yard: Yard) -> None:
    address = f"127.0.0.1:{free_port()}"
    with yard.worker(module="worker", CHANCERY_METRICS_LISTEN=address) as worker:
        await yard.until_logged(worker, "service.ready")
        text = _read(f"http://{address}/metrics")
        values = dict(line.split() for line in text.splitlines() if not line.startswith("#"))
        assert float(values["chancery_worker_sweep_age_seconds"]) < 15
        assert values["chancery_worker_well"] == "1.0"
        assert float(values["process_resident_memory_bytes"]) > 0


@on_sqlite
async def test_a_worker_whose_address_for_figures_is_taken_publishes_all_the_same(
    yard: Yard,
) -> None:
    with closing(_take_port()) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with yard.worker(CHANCERY_METRICS_LISTEN=address) as worker:
            await yard.schedule("Good morning from Lipovec!")
            await yard.until_done(count=1, worker=worker)
            assert worker.events()["metrics.unavailable"] == 1


def test_without_a_service_manager_nothing_is_sent_and_one_that_is_gone_disturbs_nobody(
    tmp_path: Path,
) -> None:
    for address in ("", str(tmp_path / "gone")):
        Notifier(ServiceManager(address=address, watchdog_s=1)).ready("at work")


@pytest.mark.parametrize(
    ("environment", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdogs_time_counts_when_it_is_meant_for_this_process(
    environment: dict[str, str], watchdog_s: float | None
) -> None:
    assert ServiceManager.find(environment).watchdog_s == watchdog_s


@contextmanager
def _locked(settings: Settings) -> Iterator[None]:
    """Another process writes, and does not end."""
    with closing(sqlite3.connect(settings.data_dir / "chancery.db", timeout=30)) as other:
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def _take_port() -> socket.socket:
    taken = socket.create_server(("127.0.0.1", 0))
    taken.listen()
    return taken


def _read(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return str(answer.read().decode())
