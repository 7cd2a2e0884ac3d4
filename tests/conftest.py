"""Fixtures of every test: an installation on both databases, and the practice network."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog

from adapters.registry import build
from scheduler.app import App, application
from scheduler.db.engine import build_engine
from scheduler.db.migrate import upgrade
from scheduler.practice.network import PracticeNetwork
from scheduler.settings import Settings
from scheduler.vault.keyfile import KeyRing
from tests.support.postgres import TestPostgres
from tests.support.profile import register_profiles
from tests.support.world import World, found_world

register_profiles()


@pytest.fixture(autouse=True)
def plain_logs() -> Iterator[None]:
    """structlog's default draws every local variable of a traceback: a minute for one that has seen pytest's frames."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ]
    )
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres() -> Iterator[TestPostgres]:
    server = TestPostgres()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def empty_postgres(postgres: TestPostgres) -> str:
    """A migrated PostgreSQL database, to be copied."""
    url = postgres.create_database()
    with ThreadPoolExecutor() as pool:
        pool.submit(asyncio.run, _migrate(url)).result()
    return url


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("template") / "chancery.db"
    with ThreadPoolExecutor() as pool:  # the test's own loop may be running here
        pool.submit(asyncio.run, _migrate(f"sqlite+aiosqlite:///{path}")).result()
    return path


async def _migrate(url: str) -> None:
    engine = build_engine(url)
    await upgrade(engine)
    await engine.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def settings(
    database: str, tmp_path: Path, request: pytest.FixtureRequest, practice: PracticeNetwork
) -> AsyncIterator[Settings]:
    data = tmp_path / "data"
    data.mkdir()
    url = None
    if database == "sqlite":
        shutil.copy(request.getfixturevalue("empty_sqlite"), data / "chancery.db")
    else:
        server = request.getfixturevalue("postgres")
        url = server.create_database(template=request.getfixturevalue("empty_postgres"))
    KeyRing.create(tmp_path / "keys" / "keys.json", origin="audit.karvenia.example/log1")
    yield Settings(
        database_url=url,
        data_dir=data,
        key_file=tmp_path / "keys" / "keys.json",
        egress_allow=frozenset(
            address.split("//")[1] for address in (practice.mastodon_url, practice.bluesky_url)
        ),
    )
    if database == "postgresql":
        server: TestPostgres = request.getfixturevalue("postgres")
        server.drop_database(url)
        assert not (told := server.read_deadlocks()), told


@pytest.fixture
async def practice(tmp_path: Path) -> AsyncIterator[PracticeNetwork]:
    async with PracticeNetwork(tmp_path / "practice", limits=False) as network:
        yield network


@pytest.fixture
async def app(settings: Settings) -> AsyncIterator[App]:
    async with application(settings, service="test", platforms=build, ringing=False) as app:
        yield app


@pytest.fixture
async def world(app: App, practice: PracticeNetwork) -> World:
    """Karvenia in small: headquarters, two embassies, their people, and accounts on the practice network."""
    return await found_world(app, practice)
