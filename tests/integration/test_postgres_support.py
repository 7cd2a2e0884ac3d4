"""The tests' own server: it must be trustworthy before a test on it is."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from tests.support.postgres import TestPostgres

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[TestPostgres]:
    with TestPostgres() as server:
        yield server


async def ask(url: str, *statements: str) -> object:
    """Run the statements in one transaction; return the first value of the last."""
    engine = create_async_engine(url)
    try:
        async with engine.begin() as connection:
            for statement in statements:
                result = await connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None
    finally:
        await engine.dispose()


async def test_each_database_is_empty_and_apart(server: TestPostgres) -> None:
    one, other = server.create_database(), server.create_database()
    await ask(one, "CREATE TABLE mission (code text)")
    assert await ask(one, "SELECT to_regclass('mission')::text") == "mission"
    assert await ask(other, "SELECT to_regclass('mission')::text") is None
    server.drop_database(one)
    server.drop_database(other)


async def test_a_database_is_copied_with_what_it_holds(server: TestPostgres) -> None:
    source = server.create_database()
    await ask(source, "CREATE TABLE mission AS SELECT 'hq' AS code")
    copy = server.create_database(template=source)
    assert await ask(copy, "SELECT code FROM mission") == "hq"
    server.drop_database(copy)
    server.drop_database(source)


async def test_a_dropped_database_is_gone_though_somebody_is_connected(
    server: TestPostgres,
) -> None:
    url = server.create_database()
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        await connection.execute(text("SELECT 1"))
        server.drop_database(url)
        with pytest.raises(SQLAlchemyError):
            await connection.execute(text("SELECT 1"))
    await engine.dispose()
    with pytest.raises(SQLAlchemyError, match="does not exist"):
        await ask(url, "SELECT 1")


async def test_committed_rows_survive_a_kill_of_a_durable_server() -> None:
    with TestPostgres(durable=True) as server:
        if not server.is_ours:
            pytest.skip("a given server is not killed")
        url = server.create_database()
        assert await ask(url, "SHOW fsync") == "on"
        await ask(url, "CREATE TABLE mission (code text)", "INSERT INTO mission VALUES ('hq')")
        server.kill()
        with pytest.raises(OSError):
            await ask(url, "SELECT 1")
        server.start()
        assert await ask(url, "SELECT code FROM mission") == "hq"
        server.halt()
        server.start()
        assert await ask(url, "SELECT code FROM mission") == "hq"
        folder = Path(str(make_url(url).query["host"]))
        assert folder.is_dir()
    assert not folder.exists()


def test_a_server_named_in_the_environment_is_used_and_left_running(server: TestPostgres) -> None:
    given = server.create_database()
    code = (
        "from tests.support.postgres import TestPostgres\n"
        "with TestPostgres() as other:\n"
        "    url = other.create_database()\n"
        "    print(other.is_ours, url)\n"
        "    other.drop_database(url)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"CHANCERY_TEST_DATABASE_URL": given, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    is_ours, url = done.stdout.split()
    assert is_ours == "False"
    assert make_url(url).query == make_url(given).query
    assert make_url(url).database != make_url(given).database
    server.drop_database(given)


async def test_a_failing_statement_is_told(server: TestPostgres) -> None:
    with pytest.raises(RuntimeError, match="does not exist"):
        server.create_database(template="nowhere")
