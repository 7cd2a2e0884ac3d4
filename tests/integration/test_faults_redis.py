"""Redis flushed, away, silent or hostile: it is a doorbell, so nothing is lost, doubled or executed because of it."""

import asyncio
import json
import os
import pickle
import signal
from pathlib import Path

import pytest
from redis import Redis

from adapters.registry import build
from scheduler.app import application
from scheduler.doorbell import SignedJson
from scheduler.ids import new_id
from scheduler.practice.admin import Turn
from scheduler.practice.model import Platform
from tests.integration.fault_fixtures import Yard, practice, until, yard_fixture  # noqa: F401 - fixtures
from tests.support.processes import WorkerProcess
from tests.support.redis import TestRedis

_QUEUE = "arq:queue"


@pytest.fixture
def redis(yard: Yard) -> TestRedis:
    """The installation's private Redis, not yet started."""
    return TestRedis(yard.settings.data_dir / "redis")


@pytest.mark.timeout(180)
async def test_a_redis_flushed_and_stopped_during_forty_deliveries_loses_and_doubles_nothing(
    yard: Yard, redis: TestRedis
) -> None:
    lanes = await yard.open_lanes(5)
    for platform in Platform:
        yard.practice.turn(platform, Turn(latency_ms=300, when="after"))
    for number in range(4):
        await yard.schedule(f"Announcement {number} from Lipovec", *lanes)
    with redis, yard.worker() as worker:
        await _until_public(yard, 8)
        redis.flush()
        await _until_public(yard, 14)
        redis.kill()
        await yard.until_logged(worker, "doorbell.silent")
        await _until_public(yard, 24)
        redis.start()
        await yard.until_done(count=40, worker=worker)
        await until(lambda: _listens(redis), "the worker at the new Redis")
    await yard.assert_once()


@pytest.mark.parametrize("database", ["sqlite"])
async def test_without_any_redis_everything_leaves_all_the_same(yard: Yard) -> None:
    lanes = await yard.open_lanes(3)
    await yard.schedule("Good morning from Lipovec", *lanes)
    with yard.worker() as worker:
        await yard.until_done(count=6, worker=worker)
        assert worker.end() == 0
    await yard.assert_once()


@pytest.mark.parametrize("database", ["sqlite"])
@pytest.mark.timeout(120)
async def test_a_redis_that_hangs_delays_neither_a_post_nor_the_end(
    yard: Yard, redis: TestRedis
) -> None:
    lanes = await yard.open_lanes(2)
    with redis, yard.worker() as worker:
        await until(lambda: _listens(redis), "the worker at its Redis")
        with Redis.from_url(redis.url) as client:
            server = client.info("server")["process_id"]
        os.kill(server, signal.SIGSTOP)
        try:
            await yard.schedule("Good morning from Lipovec", *lanes)
            await yard.until_done(count=4, worker=worker)
            assert worker.end() == 0
        finally:
            os.kill(server, signal.SIGCONT)
    await yard.assert_once()


class _Opener:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self._path), "w")


@pytest.mark.parametrize("database", ["sqlite"])
@pytest.mark.timeout(120)
async def test_forged_jobs_in_redis_are_never_executed_and_the_worker_goes_on(
    yard: Yard, redis: TestRedis, tmp_path: Path
) -> None:
    struck = tmp_path / "struck"
    job = {"t": None, "f": "wake_lane", "a": [str(new_id())], "k": {}, "et": 0}
    signed = SignedJson(yard.world.app.kit.ring.derive("jobs"))
    bad = {
        "pickled": pickle.dumps({**job, "f": _Opener(struck), "a": _Opener(struck)}),
        "pickled-behind-zeros": bytes(32) + pickle.dumps(_Opener(struck)),
        "unsigned": SignedJson(b"").dump(job)[32:],
        "signed-by-another": SignedJson(b"another key").dump(job),
        "empty": b"\0",
        "random-account": signed.dump(job),
        "unknown-function": signed.dump({**job, "f": "os.system", "a": ["touch struck"]}),
        "signed-nonsense": signed.dump({"f": 1}),
    }
    with redis, yard.worker() as worker, Redis.from_url(redis.url) as client:
        await until(lambda: _listens(redis), "the worker at its Redis")
        for name, data in bad.items():
            client.set(f"arq:job:{name}", data)
            client.zadd(_QUEUE, {name: 1})
        await yard.schedule("Good morning from Lipovec", "hq.mastodon", "hq.bluesky")
        await yard.until_done(count=2, worker=worker)
        await until(lambda: _is_empty(client), "the forged jobs gone")
        assert worker.end() == 0
    assert not struck.exists()
    await yard.assert_once()


@pytest.mark.parametrize("database", ["sqlite"])
async def test_every_line_of_the_log_is_json_also_when_a_job_was_forged(
    yard: Yard, redis: TestRedis
) -> None:
    with redis, yard.worker() as worker, Redis.from_url(redis.url) as client:
        await until(lambda: _listens(redis), "the worker at its Redis")
        client.set("arq:job:forged", b"{}")
        client.zadd(_QUEUE, {"forged": 1})
        await until(lambda: _is_empty(client), "the forged job gone")
        assert worker.end() == 0
        worker.kill()
    for line in worker.lines():
        assert isinstance(json.loads(line), dict)


@pytest.mark.parametrize("database", ["sqlite"])
@pytest.mark.timeout(120)
async def test_five_thousand_junk_entries_in_the_queue_do_not_keep_a_post_waiting(
    yard: Yard, redis: TestRedis
) -> None:
    with redis, yard.worker() as worker, Redis.from_url(redis.url) as client:
        await until(lambda: _listens(redis), "the worker at its Redis")
        before = worker.memory_bytes()
        with client.pipeline() as pipe:
            for number in range(5_000):
                pipe.zadd(_QUEUE, {f"junk{number}": 1})
                if number % 2:
                    pipe.set(f"arq:job:junk{number}", os.urandom(200))
            pipe.execute()
        await yard.schedule("Good morning from Lipovec", "hq.mastodon", "hq.bluesky")
        await yard.until_done(count=2, worker=worker)
        assert client.zcard(_QUEUE), "the junk was gone before the post"
        assert worker.memory_bytes() - before < 50 * 1024 * 1024
        assert worker.end() == 0
    await yard.assert_once()


@pytest.mark.parametrize("database", ["sqlite"])
async def test_jobs_with_impossible_names_do_not_end_the_worker(
    yard: Yard, redis: TestRedis
) -> None:
    with redis, yard.worker() as worker, Redis.from_url(redis.url) as client:
        await until(lambda: _listens(redis), "the worker at its Redis")
        for name in (b"", b"line\nbreak", b"x" * 100_000, b"\xff\xfe"):
            client.zadd(_QUEUE, {name: 1})
        await yard.schedule("Good morning from Lipovec")
        await yard.until_done(count=1, worker=worker)
        assert worker.end() == 0
    await yard.assert_once()


@pytest.mark.parametrize("database", ["sqlite"])
async def test_a_queue_of_another_type_does_not_end_the_worker(
    yard: Yard, redis: TestRedis
) -> None:
    with redis, yard.worker() as worker, Redis.from_url(redis.url) as client:
        await until(lambda: _listens(redis), "the worker at its Redis")
        client.set(_QUEUE, "not a sorted set")
        await yard.until_logged(worker, "doorbell.silent")
        await yard.schedule("Good morning from Lipovec")
        await yard.until_done(count=1, worker=worker)
        assert worker.end() == 0
    await yard.assert_once()


async def test_a_publish_now_is_woken_by_redis_and_not_by_the_sweep(
    yard: Yard, redis: TestRedis
) -> None:
    """The drowsy worker sweeps every 30 s: within ten, only a ring can have woken it."""
    with redis:
        async with application(yard.settings, service="test", platforms=build) as ringing:
            with WorkerProcess(
                yard.settings, yard.log, module="tests.support.drowsy_worker", patience=()
            ):
                await until(lambda: _listens(redis), "the worker at its Redis")
                yard.world.app.open_uow.ring = ringing.open_uow.ring
                post = await yard.schedule("At once from Lipovec")
                async with asyncio.timeout(10):
                    await yard.until_state(post, "sent", "verified")


async def _until_public(yard: Yard, count: int) -> None:
    async def enough() -> bool:
        return yard.practice.published().total() >= count

    await until(enough, f"{count} public")


async def _listens(redis: TestRedis) -> bool:
    """Whether arq's worker has written its sign of life since the last flush or start."""
    with Redis.from_url(redis.url) as client:
        return bool(client.exists(f"{_QUEUE}:health-check"))


async def _is_empty(client: "Redis") -> bool:
    return not client.zcard(_QUEUE)
