"""`kill -9` of the worker, again and again: nothing is public twice, nothing is lost, the record stays whole."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import func
from sqlmodel import col, select

from scheduler.audit.export import ExportRequest
from scheduler.clock import utc_now
from scheduler.db.tables import Delivery
from scheduler.practice.admin import Turn
from scheduler.practice.model import Platform
from scheduler.services import evidence
from scheduler.services.writing import When
from scheduler.settings import Settings
from tests.support.world import World, connect

_LANES = 10
_ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(240)
async def test_a_worker_killed_in_a_loop_doubles_and_loses_nothing(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    await _kill_through(world, settings, tmp_path, posts=4, kills=5)


@pytest.mark.long
@pytest.mark.timeout(3600)
async def test_five_thousand_deliveries_survive_a_worker_killed_250_times(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    """On either database, so that it is killed 500 times in all; few accounts, so that there is work for every kill."""
    await _kill_through(world, settings, tmp_path, posts=834, kills=250, lanes=3)


async def _kill_through(
    world: World, settings: Settings, folder: Path, *, posts: int, kills: int, lanes: int = _LANES
) -> None:
    codes = []
    for lane in range(lanes):
        codes += await connect(world, f"lane{lane}", "krv.hq", "en")
    for platform in Platform:
        world.practice.turn(platform, Turn(latency_ms=400, when="after"))
    for number in range(posts):
        texts = {"en": [{"text": f"Announcement {number} from Lipovec", "media": []}]}
        when = When(local=None, late_minutes=600)
        await world.scheduled(texts=texts, targets=tuple(codes), when=when)
    total = posts * len(codes)
    chance = random.Random(17)  # noqa: S311 - moments of death
    struck = Counter[str]()
    for _ in range(kills):
        with _worker(settings, folder) as process:
            await _wait_until_busy(world, total)
            await asyncio.sleep(chance.uniform(0, 1.5))
            process.send_signal(signal.SIGKILL)
            process.wait()
        struck += await _in_hand(world)
    with _worker(settings, folder) as process:
        async with asyncio.timeout(200 + total / 4):
            while await _count(world, "verified") < total:
                assert process.poll() is None, "the worker ended by itself"
                await asyncio.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    said = Counter((each["account"], each["text"]) for each in world.practice.posts())
    (folder / "struck.json").write_text(json.dumps(struck))  # what the kills have hit
    assert len(said) == total
    assert set(said.values()) == {1}
    assert struck["sending"] + struck["preparing"] + struck["claimed"] >= 1
    if kills >= 250:  # the long run is long enough to promise it
        assert struck["sending"] >= 100
    async with world.app.open_uow.read() as uow:
        request = ExportRequest(requested_by="mlakar", reason="test", at=utc_now())
        verdict = await evidence.verify(uow, trust=world.app.trust, request=request)
    assert verdict.ok, verdict


class _worker:  # noqa: N801 - used as a function
    """A real worker process on the installation, with short patience."""

    def __init__(self, settings: Settings, folder: Path) -> None:
        url = settings.database_url
        self._log = (folder / "worker.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.quick_worker", "2", "2", "2"],
            cwd=_ROOT,
            stderr=self._log,
            env={
                **{
                    key: value
                    for key, value in os.environ.items()
                    if not key.startswith("CHANCERY_")
                },
                **({} if url is None else {"CHANCERY_DATABASE_URL": url.get_secret_value()}),
                "CHANCERY_DATA_DIR": str(settings.data_dir),
                "CHANCERY_KEY_FILE": str(settings.key_file),
                "CHANCERY_EGRESS_ALLOW": ",".join(settings.egress_allow),
            },
        )

    def __enter__(self) -> subprocess.Popen[bytes]:
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._log.close()


async def _wait_until_busy(world: World, total: int) -> None:
    """Until the worker has something in hand; it may need some seconds to start, or all may be done."""
    with suppress(TimeoutError):
        async with asyncio.timeout(30):
            while not await _count(world, "sending"):
                if await _count(world, "verified") + await _count(world, "sent") == total:
                    return
                await asyncio.sleep(0.02)


async def _count(world: World, state: str) -> int:
    async with world.app.open_uow.read() as uow:
        query = select(func.count()).where(col(Delivery.state) == state)
        return (await uow.session.execute(query)).scalar_one()


async def _in_hand(world: World) -> Counter[str]:
    """The states that the killed worker left, and of those sending, how many are public already."""
    async with world.app.open_uow.read() as uow:
        query = select(col(Delivery.state), func.count().label("amount")).group_by(
            col(Delivery.state)
        )
        rows = (await uow.session.execute(query)).all()
    hit = ("claimed", "preparing", "sending", "sent")
    return Counter({row.state: row.amount for row in rows if row.state in hit})
