"""What is measured: the small Karvenia on either database; practice network and worker are processes of their own."""

import asyncio
import os
import platform
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adapters.registry import build
from scheduler.app import application
from scheduler.db import deliveries
from scheduler.db.engine import build_engine
from scheduler.db.migrate import upgrade
from scheduler.settings import Settings
from scheduler.vault.keyfile import KeyRing
from tests.support.postgres import TestPostgres
from tests.support.processes import PracticeProcess, WorkerProcess
from tests.support.redis import TestRedis
from tests.support.world import World, found_world

DATABASES: Final = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    world: World
    practice: PracticeProcess
    settings: Settings
    folder: Path

    def worker(self) -> WorkerProcess:
        """The worker as it is shipped, nothing shortened."""
        return WorkerProcess(
            self.settings, self.folder / "worker.log", module="worker", patience=()
        )


@asynccontextmanager
async def stage(database: str) -> AsyncIterator[Stage]:
    """An installation with its own Redis, ready to publish; all gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="chancery-bench-") as name, _address(database) as url:
        folder = Path(name)
        with (
            PracticeProcess(folder / "practice") as practice,
            TestRedis(folder / "data" / "redis"),
        ):
            settings = await _install(folder, url, practice)
            async with application(settings, service="bench", platforms=build) as app:
                world = await found_world(app, practice)  # type: ignore[arg-type]
                yield Stage(world=world, practice=practice, settings=settings, folder=folder)


async def _install(folder: Path, url: str | None, practice: PracticeProcess) -> Settings:
    KeyRing.create(folder / "keys" / "keys.json", origin="audit.karvenia.example/bench")
    settings = Settings(
        database_url=url,
        data_dir=folder / "data",
        key_file=folder / "keys" / "keys.json",
        egress_allow=frozenset(
            each.split("//")[1] for each in (practice.mastodon_url, practice.bluesky_url)
        ),
    )
    engine = build_engine(settings.sqlalchemy_url)
    await upgrade(engine)
    await engine.dispose()
    return settings


@contextmanager
def _address(database: str) -> Iterator[str | None]:
    if database == "sqlite":
        yield None
        return
    with TestPostgres(durable=True) as server:
        yield server.create_database()


def describe_machine() -> str:
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return (
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {sys.version.split()[0]}, load {load}"
    )


async def until_verified(world: World, count: int, *, within_s: float) -> None:
    """Wait until so many deliveries are verified.

    Raises:
        TimeoutError: they are not in time.
    """
    async with asyncio.timeout(within_s):
        while await count_verified(world) < count:
            await asyncio.sleep(0.5)


async def count_verified(world: World) -> int:
    async with world.app.open_uow.read() as uow:
        return (await deliveries.count_by_state(uow)).get("verified", 0)
