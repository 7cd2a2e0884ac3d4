"""The schema: migrations build what the tables say, and the database itself refuses what must never be."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, Connection, UniqueConstraint, inspect, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from scheduler.audit.actions import Action
from scheduler.db import migrate
from scheduler.db.engine import build_engine
from scheduler.db.tables import Base
from scheduler.domain.alerts import Target
from scheduler.ids import new_id
from scheduler.services import alerts, campaigns, postures, publishing, sequencing
from scheduler.services.postures import NewPosture
from scheduler.services.publishing import Intent, Work
from scheduler.services.writing import When
from tests.integration.broken_rows import BROKEN
from tests.integration.services_fixtures import (
    DATABASES,
    founder_fixture,  # noqa: F401 - fixtures go by name
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.postgres import TestPostgres
from tests.support.world import World

in_the_session = pytest.mark.asyncio(loop_scope="session")
ALEMBIC = Path(migrate.__file__).parents[2] / "alembic"
Schema = dict[str, Any]


def _run(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(ALEMBIC))
    config.attributes["connection"] = connection
    current = MigrationContext.configure(connection).get_current_revision() or "base"
    behind = ScriptDirectory.from_config(config).iterate_revisions(current, "base")
    if revision in {"base", *(each.revision for each in behind)}:
        command.downgrade(config, revision)
    else:
        command.upgrade(config, revision)


def _leave_out_the_version(schema: Schema) -> Schema:
    return {name: table for name, table in schema.items() if name != "alembic_version"}


def _read_schema(connection: Connection) -> Schema:
    """All that an inspector tells of every table, in one order."""
    seen, where = inspect(connection), f"{connection.dialect.name}_where"
    return _leave_out_the_version(
        {
            name: {
                "columns": sorted(
                    (each["name"], str(each["type"]), each["nullable"])
                    for each in seen.get_columns(name)
                ),
                "key": seen.get_pk_constraint(name),
                "checks": sorted(each["sqltext"] for each in seen.get_check_constraints(name)),
                "references": sorted(_read_references(connection, name)),
                "unique": sorted(map(str, seen.get_unique_constraints(name))),
                "indexes": sorted(
                    (
                        str(each["name"]),
                        str(each["column_names"]),
                        str(each["unique"]),
                        str(each.get("dialect_options", {}).get(where)),
                    )
                    for each in seen.get_indexes(name)
                ),
            }
            for name in seen.get_table_names()
        }
    )


def _read_references(connection: Connection, table: str) -> list[str]:
    """On SQLite without names: of a reference that came with its column they are not read."""
    found = inspect(connection).get_foreign_keys(table)
    if connection.dialect.name == "sqlite":
        return [str({**each, "name": None}) for each in found]
    return list(map(str, found))


def _read_triggers(connection: Connection) -> list[str]:
    query = (
        "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
        if connection.dialect.name == "postgresql"
        else "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    )
    return sorted(connection.execute(text(query)).scalars())


@pytest.fixture(name="open_empty", params=DATABASES)
def open_empty_fixture(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Callable[[str], AsyncEngine]:
    """Makes an empty database."""

    def open_(name: str) -> AsyncEngine:
        if request.param == "sqlite":
            return build_engine(f"sqlite+aiosqlite:///{tmp_path / name}.db")
        server: TestPostgres = request.getfixturevalue("postgres")
        url = server.create_database()
        request.addfinalizer(lambda: server.drop_database(url))
        return build_engine(url)

    return open_


async def _within(engine: AsyncEngine, act: Callable[..., Any], *arguments: Any) -> Any:
    async with engine.begin() as connection:
        return await connection.run_sync(act, *arguments)


@in_the_session
async def test_migrations_build_exactly_what_the_tables_say(
    open_empty: Callable[[str], AsyncEngine],
) -> None:
    migrated, created = open_empty("migrated"), open_empty("created")
    await _within(migrated, _run, "head")
    await _within(created, Base.metadata.create_all)
    built, said = await _within(migrated, _read_schema), await _within(created, _read_schema)
    assert built.keys() == said.keys() == {table.name for table in Base.metadata.sorted_tables}
    for name in said:
        assert built[name] == said[name]
    await migrated.dispose()
    await created.dispose()


@in_the_session
async def test_migrations_go_up_down_and_up_again(
    open_empty: Callable[[str], AsyncEngine],
) -> None:
    engine = open_empty("database")
    await _within(engine, _run, "head")
    first = await _within(engine, _read_schema)
    triggers = await _within(engine, _read_triggers)
    assert triggers
    await _within(engine, _run, "base")
    assert await _within(engine, _read_schema) == {}
    assert await _within(engine, _read_triggers) == []
    await _within(engine, _run, "head")
    assert await _within(engine, _read_schema) == first
    assert await _within(engine, _read_triggers) == triggers
    await engine.dispose()


@in_the_session
async def test_each_migration_stands_by_itself_and_upgrading_twice_changes_nothing(
    open_empty: Callable[[str], AsyncEngine],
) -> None:
    engine = open_empty("database")
    assert (await migrate.find_revisions(engine))[0] is None
    for revision in ("0001", "0002", "0003", "0005"):
        await _within(engine, _run, revision)
        assert (await migrate.find_revisions(engine))[0] == revision
    await migrate.upgrade(engine)
    current, newest = await migrate.find_revisions(engine)
    assert current == newest
    await engine.dispose()


@in_the_session
async def test_autogenerate_finds_nothing_to_migrate(shared: World) -> None:
    def compare(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, Base.metadata))

    async with shared.app.open_uow.engine.connect() as connection:
        assert await connection.run_sync(compare) == []


def test_every_rule_of_the_schema_has_a_name() -> None:
    for table in Base.metadata.sorted_tables:
        for constraint in table.constraints:
            assert constraint.name, (table.name, constraint)


@pytest.fixture(scope="module")
def busy() -> set[int]:
    """The worlds that have been filled."""
    return set()


async def _fill(world: World, busy: set[int]) -> None:
    """One post in a worker's hands on two accounts, a campaign's draft, an announced posture, two alerts, a sealed log."""
    if id(world) in busy:
        return
    busy.add(id(world))
    app = world.app
    await world.scheduled(targets=("hq.mastodon", "hq.bluesky"))
    async with world.as_("hocevar") as (uow, actor):
        await campaigns.add(uow, actor, code="forum", title="The forum", mission_code="krv.hq")
    await world.draft(when=When(local="2090-06-01T09:00"), campaign="forum")
    async with app.open_uow() as uow:
        claims = await publishing.claim(uow, worker="test", ahead=sequencing.LEASE * 0, limit=1)
        [work] = await publishing.prepare(uow, app.kit, claims[:1])
        assert isinstance(work, Work)
        [intent] = await publishing.intend(uow, app.kit, [(work, b"{}")])
        assert isinstance(intent, Intent)
    async with world.as_("zorc") as (uow, actor):
        later = NewPosture(starts_at=datetime(2090, 6, 1, tzinfo=UTC))
        await postures.stop(uow, actor, reason="announced", new=later)
    async with app.open_uow() as uow:
        uow.record(Action.POSTURE_STOP, {"t": "posture", "id": str(new_id())})
        uow.record(Action.POSTURE_RESUME, {"t": "posture", "id": str(new_id())})
    way = alerts.Way(target=Target.WEBHOOK, receiver="test", base_url="")
    assert await alerts.take(app.open_uow, way, limit=9)
    async with app.open_uow() as uow:
        assert await sequencing.seal(uow, app.log_keys, owner="test")


async def _execute(world: World, statement: str) -> None:
    """Run it and undo it."""
    async with world.app.open_uow.engine.connect() as connection:
        statement = statement.replace(
            "(SELECT min_id FROM one_person)", "(SELECT id FROM person ORDER BY code LIMIT 1)"
        )
        await connection.execute(text(statement))
        await connection.rollback()


def _columns_of(name: str) -> str:
    """How SQLite tells a broken unique rule: by its columns instead of its name."""
    for table in Base.metadata.sorted_tables:
        for rule in (*table.constraints, *table.indexes):
            if rule.name == name:
                return ", ".join(f"{table.name}.{column.name}" for column in rule.columns)
    raise LookupError(name)


def _names_it(error: IntegrityError, name: str, dialect: str) -> bool:
    if dialect == "sqlite" and name.startswith("uq_"):
        return str(error.orig) == f"UNIQUE constraint failed: {_columns_of(name)}"
    return name in str(error.orig)


@in_the_session
@pytest.mark.parametrize("name", BROKEN)
async def test_the_database_itself_refuses_a_bad_row(
    shared: World, busy: set[int], name: str
) -> None:
    await _fill(shared, busy)
    with pytest.raises(IntegrityError) as caught:
        await _execute(shared, BROKEN[name])
    assert _names_it(caught.value, name, shared.app.open_uow.engine.dialect.name), caught.value


def test_every_rule_of_the_schema_is_broken_once() -> None:
    named = set()
    for table in Base.metadata.sorted_tables:
        for rule in table.constraints:
            if isinstance(rule, CheckConstraint | UniqueConstraint):
                named.add(str(rule.name))
        named |= {str(index.name) for index in table.indexes if index.unique}
    assert named == set(BROKEN) - {"approval_by_editor", "posture_lifted_by_its_setter"}


@in_the_session
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_leaf SET subject = 'x' WHERE seq = 0",
        "UPDATE audit_leaf SET line = hash",
        "DELETE FROM audit_leaf WHERE seq = 0",
        "DELETE FROM audit_leaf",
    ],
)
async def test_a_sealed_record_is_neither_changed_nor_deleted(
    shared: World, busy: set[int], statement: str
) -> None:
    await _fill(shared, busy)
    with pytest.raises(IntegrityError, match="audit_leaf_append_only"):
        await _execute(shared, statement)


@in_the_session
async def test_the_sealed_records_are_not_emptied_at_a_stroke(
    shared: World, busy: set[int]
) -> None:
    await _fill(shared, busy)
    if shared.app.open_uow.engine.dialect.name == "postgresql":  # SQLite knows no TRUNCATE
        with pytest.raises(IntegrityError, match="audit_leaf_append_only"):
            await _execute(shared, "TRUNCATE audit_leaf")
    async with shared.app.open_uow.engine.connect() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM audit_leaf"))).scalar_one()


@in_the_session
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM mission WHERE code = 'krv.hq'",
        "DELETE FROM post WHERE state = 'scheduled'",
        "DELETE FROM delivery WHERE state = 'sending'",
        "DELETE FROM account WHERE code = 'hq.mastodon'",
        "DELETE FROM person WHERE code = 'zorc'",
        "DELETE FROM campaign WHERE code = 'forum'",
        "DELETE FROM data_key",
    ],
)
async def test_what_others_refer_to_is_not_deleted(
    shared: World, busy: set[int], statement: str
) -> None:
    await _fill(shared, busy)
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        await _execute(shared, statement)


@in_the_session
async def test_rules_of_other_states_stand_aside(shared: World, busy: set[int]) -> None:
    """What the partial rules allow: a removed twin, a closed stop, a waiting delivery without a lease."""
    await _fill(shared, busy)
    for statement in (
        "UPDATE account SET platform = 'x', base_url = 'x', external_id = 'x', state = 'removed'",
        (
            "INSERT INTO posture (id, kind, reason, started_at, ended_at) "
            "SELECT id, 'stop', '', created_at, created_at FROM mission"
        ),
        "UPDATE delivery SET state = 'held', lease_until = NULL, wake_at = NULL",
        "UPDATE post SET state = 'draft', digest = NULL",
        "UPDATE attempt SET outcome = NULL, ended_at = NULL",
    ):
        await _execute(shared, statement)


def test_a_page_of_the_settings_is_enough_to_run_migrations_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `alembic upgrade head` does, which hands over no connection."""
    monkeypatch.setenv("CHANCERY_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("CHANCERY_DATABASE_URL", raising=False)
    config = Config()
    config.set_main_option("script_location", str(ALEMBIC))
    command.upgrade(config, "head")
    engine = build_engine(f"sqlite+aiosqlite:///{tmp_path / 'chancery.db'}")

    async def read() -> str | None:
        current, newest = await migrate.find_revisions(engine)
        await engine.dispose()
        assert current == newest
        return current

    assert asyncio.run(read())
