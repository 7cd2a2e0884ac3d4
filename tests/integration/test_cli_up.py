"""`chancery up`: one start at a time, what dies is started again, and nothing outlives it."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.integration.cli_fixtures import Machine, installation, installed, machine, wait_for

__all__ = ["installation", "installed", "machine"]
pytestmark = pytest.mark.timeout(180)


def test_up_makes_a_first_installation_once_and_ends_everything_on_sigterm(
    machine: Machine,
) -> None:
    with machine.up("--init-if-empty") as process:
        assert _named(machine, "-m cli web")
        wait_for(lambda: _named(machine, "-m worker"))
        log = machine.folder / "up.log"
        wait_for(lambda: "Chancery is at" in log.read_text())
    assert process.returncode == 0
    assert machine.processes() == {}
    assert "admin-one" in log.read_text()

    log.unlink()
    with machine.up("--init-if-empty"):
        pass
    assert "admin-one" not in log.read_text()


def test_a_second_start_on_the_same_folder_is_refused(installed: Machine) -> None:
    with installed.up():
        assert installed.refusal("up") == "already_running"
        wait_for(installed.is_ready)  # still, or again: a busy machine answers late


def test_a_sqlite_database_has_one_worker(installed: Machine) -> None:
    with installed.up():
        wait_for(lambda: _named(installed, "-m worker"))
        assert installed.refusal("worker") == "worker_running"


def test_the_worker_after_a_killed_one_starts(installed: Machine) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM):
        with _worker(installed) as process:
            assert installed.refusal("worker") == "worker_running"
            process.send_signal(number)
    assert installed.processes() == {}


@contextmanager
def _worker(machine: Machine) -> Iterator[subprocess.Popen[bytes]]:
    """`chancery worker`, once it works."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "worker"], env=machine.environment, cwd=machine.folder
    )
    try:
        wait_for(lambda: process.pid in _named(machine, "-m worker"))
        yield process
        process.wait(45)
    finally:
        process.kill()
        process.wait()


def test_nothing_outlives_a_killed_up_and_the_next_one_starts(installed: Machine) -> None:
    with installed.up() as process:
        wait_for(lambda: _named(installed, "-m worker"))
        process.kill()
        process.wait()
        wait_for(lambda: installed.processes() == {})
    with installed.up():
        assert installed.is_ready()


def test_a_restart_right_after_a_kill_waits_for_what_the_first_one_left(installed: Machine) -> None:
    with installed.up() as first:
        first.kill()
        with installed.up():
            [web] = _named(installed, "-m cli web")
            assert web
        first.wait()


def test_what_dies_is_started_again(installed: Machine) -> None:
    with installed.up():
        [web] = _named(installed, "-m cli web")
        os.kill(web, signal.SIGKILL)
        wait_for(lambda: (found := _named(installed, "-m cli web")) and found != [web])
        wait_for(installed.is_ready)


def test_an_address_in_use_ends_up_with_a_clear_refusal(installed: Machine) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", int(installed.url.rpartition(":")[2])))
        other.listen()
        done = installed.run("up")

    assert done.returncode == 1
    assert "[address_taken]" in done.stderr
    assert done.stderr.splitlines()[-1].endswith("[process_refused]")
    assert installed.processes() == {}


def test_the_doctor_finds_a_running_installation_well(installed: Machine) -> None:
    with installed.up():
        done = _doctor_when_alive(installed)

    assert done.returncode == 0, done.stdout
    assert "FAIL" not in done.stdout


def _doctor_when_alive(installed: Machine) -> subprocess.CompletedProcess[str]:
    """A worker shows that it lives a moment after its start."""
    done = installed.run("doctor")
    for _ in range(10):
        if done.returncode == 0:
            break
        done = installed.run("doctor")
    return done


def _named(machine: Machine, words: str) -> list[int]:
    return [number for number, line in machine.processes().items() if words in line]
