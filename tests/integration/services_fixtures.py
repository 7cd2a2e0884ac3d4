"""The small Karvenia, made once for each database and copied: a test of a service need not wait for its set-up."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import mkdtemp

import pytest
import pytest_asyncio
from sqlalchemy import select
from sqlmodel import col

from adapters.registry import build
from scheduler.app import application
from scheduler.audit.record import parse_record
from scheduler.db import persons
from scheduler.db.engine import build_engine
from scheduler.db.migrate import upgrade
from scheduler.db.tables import AuditOutbox
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor
from scheduler.errors import ChanceryError
from scheduler.practice.network import PracticeNetwork
from scheduler.services import holds, publishing
from scheduler.services.release import Obstacle
from scheduler.settings import Settings
from scheduler.vault.keyfile import KeyRing
from tests.support.postgres import TestPostgres
from tests.support.world import World, found_world

ORIGIN = "audit.karvenia.example/log1"
DATABASES = ("sqlite", "postgresql")


@dataclass(frozen=True, slots=True)
class Template:
    """A founded ministry at rest, to be copied."""

    folder: Path
    url: str | None  #: of the PostgreSQL database
    accounts: dict[str, object]


@dataclass(frozen=True, slots=True)
class Founder:
    """Founds each ministry once, and opens copies of it."""

    folder: Path
    practice: PracticeNetwork
    find_postgres: Callable[[], TestPostgres]
    templates: dict[str, Template]

    @asynccontextmanager
    async def copy(self, database: str) -> AsyncIterator[World]:
        """A ministry of its own, gone at the end of the block."""
        if database not in self.templates:
            self.templates[database] = await self._found(database)
        template = self.templates[database]
        folder = _make_folder(self.folder)
        shutil.copytree(template.folder, folder, dirs_exist_ok=True)
        postgres = None if template.url is None else self.find_postgres()
        url = None
        if postgres is not None and template.url is not None:
            url = await asyncio.to_thread(postgres.create_database, template=template.url)
        async with AsyncExitStack() as stack:
            settings = self._settings(folder, url)
            app = await stack.enter_async_context(
                application(settings, service="test", platforms=build, ringing=False)
            )
            yield World(app, self.practice, dict(template.accounts))  # type: ignore[arg-type]
        if postgres is not None and url is not None:
            await asyncio.to_thread(postgres.drop_database, url)
        shutil.rmtree(folder)

    async def _found(self, database: str) -> Template:
        folder = _make_folder(self.folder)
        url = None
        if database == "postgresql":
            url = await asyncio.to_thread(self.find_postgres().create_database)
        settings = self._settings(folder, url)
        KeyRing.create(settings.key_file, origin=ORIGIN)
        engine = build_engine(settings.sqlalchemy_url)
        await upgrade(engine)
        await engine.dispose()
        async with application(settings, service="test", platforms=build, ringing=False) as app:
            world = await found_world(app, self.practice)
        return Template(folder, url, dict(world.accounts))

    def _settings(self, folder: Path, url: str | None) -> Settings:
        addresses = (self.practice.mastodon_url, self.practice.bluesky_url)
        return Settings(
            database_url=url,  # type: ignore[arg-type]
            data_dir=folder / "data",
            key_file=folder / "keys" / "keys.json",
            egress_allow=frozenset(address.split("//")[1] for address in addresses),
        )


def _make_folder(parent: Path) -> Path:
    return Path(mkdtemp(prefix="ministry-", dir=parent))


@pytest_asyncio.fixture(name="founder", scope="session", loop_scope="session")
async def founder_fixture(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> AsyncIterator[Founder]:
    folder = tmp_path_factory.mktemp("ministries")
    async with PracticeNetwork(tmp_path_factory.mktemp("practice"), limits=False) as practice:
        yield Founder(folder, practice, lambda: request.getfixturevalue("postgres"), {})


@pytest_asyncio.fixture(name="shared", scope="module", loop_scope="session", params=DATABASES)
async def shared_fixture(founder: Founder, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """One ministry for a whole module: its tests make posts and people of their own."""
    async with founder.copy(request.param) as world:
        yield world


@pytest_asyncio.fixture(name="own", loop_scope="session", params=DATABASES)
async def own_fixture(founder: Founder, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A ministry of the test's own, to be stopped, tampered with or re-keyed."""
    async with founder.copy(request.param) as world:
        yield world


@asynccontextmanager
async def later(
    world: World, code: str, delay: timedelta
) -> AsyncIterator[tuple[UnitOfWork, Actor]]:
    """As `World.as_`, when some time has passed."""
    async with world.app.open_uow() as uow:
        uow.now += delay
        person = await persons.get_by_code(uow, code)
        yield uow, await persons.load_actor(uow, person, via="test")


@asynccontextmanager
async def recording(world: World) -> AsyncIterator[list[str]]:
    """The actions of the records that the block has written, in their order."""
    actions: list[str] = []
    before = await _newest(world)
    try:
        yield actions
    finally:
        async with world.app.open_uow.read() as uow:
            query = select(AuditOutbox).where(col(AuditOutbox.id) > before)
            rows = await uow.session.scalars(query.order_by(col(AuditOutbox.id)))
            actions += [parse_record(row.body).action for row in rows]


@asynccontextmanager
async def refused(world: World, code: str) -> AsyncIterator[pytest.ExceptionInfo[ChanceryError]]:
    """The block is refused with this code, and leaves no record."""
    async with recording(world) as actions:
        with pytest.raises(ChanceryError) as caught:
            yield caught  # type: ignore[misc] - filled when the block has ended
        assert caught.value.code == code, str(caught.value)
    assert actions == [], "a refusal left records"


async def come_due(world: World) -> None:
    """Whatever is due is prepared, and held for what stands against it."""
    kit = world.app.kit
    while True:
        async with world.app.open_uow() as uow:
            claims = await publishing.claim(uow, worker="test", ahead=timedelta(0), limit=50)
        if not claims:
            return
        for claimed in claims:
            async with world.app.open_uow() as uow:
                [why] = await publishing.prepare(uow, kit, [claimed])
                assert isinstance(why, Obstacle)
                await holds.turn_away(uow, claimed, why)


async def _newest(world: World) -> int:
    async with world.app.open_uow.read() as uow:
        query = select(col(AuditOutbox.id)).order_by(col(AuditOutbox.id).desc()).limit(1)
        return (await uow.session.scalars(query)).one_or_none() or 0
