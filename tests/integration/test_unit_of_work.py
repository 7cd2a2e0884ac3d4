"""One step, one transaction, one `now`: all of it and its records, or nothing; and what a failing database looks like."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError, ProgrammingError

from scheduler.audit.actions import Action
from scheduler.audit.record import parse_record
from scheduler.audit.transactions import check_transaction
from scheduler.db import persons
from scheduler.db.engine import build_engine
from scheduler.db.tables import AuditOutbox, Person
from scheduler.db.uow import DatabaseUnavailableError, UnitOfWork, UnitOfWorkFactory
from scheduler.ids import new_id
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
    recording,
    shared_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class ChangedMindError(Exception):
    """What a step may break off with."""


def _person(uow: UnitOfWork, code: str = "") -> Person:
    person = Person(
        code=code or f"n-{new_id().hex}", name="Nova Oseba", languages=[], created_at=uow.now
    )
    uow.session.add(person)
    uow.record(Action.PERSON_ADD, {"t": "person", "id": str(person.id)})
    return person


async def _counts(world: World) -> tuple[int, int]:
    async with world.app.open_uow.read() as uow:
        people = await uow.session.execute(select(func.count()).select_from(Person))
        records = await uow.session.execute(select(func.count()).select_from(AuditOutbox))
        return people.scalar_one(), records.scalar_one()


def _copy(factory: UnitOfWorkFactory, url: str) -> UnitOfWorkFactory:
    """As another process has it: with an engine and a gate of its own."""
    return UnitOfWorkFactory(
        engine=build_engine(url),
        instance=factory.instance,
        service="other",
        version=factory.version,
        seals=factory.seals,
    )


async def test_a_step_commits_its_rows_and_their_records_together(shared: World) -> None:
    people, records = await _counts(shared)
    async with shared.app.open_uow() as uow:
        _person(uow)
        _person(uow)
    assert await _counts(shared) == (people + 2, records + 2)


async def test_a_broken_step_leaves_neither_row_nor_record(shared: World) -> None:
    before = await _counts(shared)
    with pytest.raises(ChangedMindError):
        async with shared.app.open_uow() as uow:
            _person(uow)
            await uow.session.flush()
            raise ChangedMindError
    assert await _counts(shared) == before


async def test_a_step_that_fails_while_it_commits_leaves_neither_row_nor_record(
    shared: World,
) -> None:
    before = await _counts(shared)
    with pytest.raises(IntegrityError):
        async with shared.app.open_uow() as uow:
            _person(uow)
            _person(uow, code="hocevar")
    assert await _counts(shared) == before


async def test_a_step_without_records_signs_nothing(shared: World) -> None:
    async with recording(shared) as actions, shared.app.open_uow() as uow:
        await persons.get_by_code(uow, "hocevar")
    assert actions == []


async def test_the_records_of_a_step_are_one_signed_transaction(shared: World) -> None:
    async with shared.app.open_uow.read() as uow:
        query = select(func.max(AuditOutbox.id))
        newest = (await uow.session.execute(query)).scalar_one()
    async with shared.as_("zorc") as (uow, actor):
        uow.record(Action.POST_DRAFT, {"t": "post", "id": "1"}, actor=actor)
        signed_in = replace(actor, token_id=UUID(int=7), via="api")
        uow.record(Action.POST_EDIT, {"t": "post", "id": "1"}, actor=signed_in, refused=True)
        uow.record(Action.POST_CLOSE, {"t": "post", "id": "1"})
        at = uow.now
    async with shared.app.open_uow.read() as uow:
        rows = await uow.session.scalars(
            select(AuditOutbox).where(AuditOutbox.id > newest).order_by(AuditOutbox.id)  # type: ignore[arg-type, operator]
        )
        bodies = [row.body for row in rows]
    check_transaction(bodies, [shared.app.trust.instances[0]])
    parsed = [parse_record(body) for body in bodies]
    assert [each.action for each in parsed] == ["post.draft", "post.edit", "post.close"]
    assert [each.result for each in parsed] == ["ok", "denied", "ok"]
    person = str(actor.person_id)
    assert [each.by for each in parsed] == [
        {"p": person, "via": "test"},
        {"p": person, "via": "api", "tok": str(UUID(int=7))},
        {"via": "test"},
    ]
    assert {each.at for each in parsed} == {at}


async def test_a_reading_step_writes_nothing(shared: World) -> None:
    before = await _counts(shared)
    async with shared.app.open_uow.read() as uow:
        _person(uow)
        await uow.session.flush()
        query = select(func.count()).select_from(Person)
        assert (await uow.session.execute(query)).scalar_one() == before[0] + 1
    assert await _counts(shared) == before


async def test_what_was_read_stays_readable_after_the_end(shared: World) -> None:
    async with shared.app.open_uow.read() as uow:
        person = await persons.get_by_code(uow, "hocevar")
    assert person.name == "Tina Hočevar"


async def test_a_reader_sees_one_moment_while_others_write(shared: World) -> None:
    async with shared.app.open_uow.read() as uow:
        count = select(func.count()).select_from(Person)
        first = (await uow.session.execute(count)).scalar_one()
        async with shared.app.open_uow() as writer:
            _person(writer)
        assert (await uow.session.execute(count)).scalar_one() == first


async def test_a_step_has_one_time_and_takes_a_new_one_on_demand(shared: World) -> None:
    async with shared.app.open_uow() as uow:
        began, counted = uow.now, uow.read_at_s
        assert began.tzinfo is UTC
        assert await uow.tick() > began
        assert uow.read_at_s > counted


async def test_the_databases_clock_decides_and_may_be_another(own: World, tmp_path: Path) -> None:
    """On SQLite the clock is a function of the engine's, so that a simulation can set it."""
    if own.app.open_uow.engine.dialect.name == "postgresql":
        async with own.app.open_uow() as uow:
            told = await uow.session.execute(text("SELECT clock_timestamp()"))
            assert abs(told.scalar_one() - uow.now) < timedelta(seconds=5)
        return
    engine = build_engine(f"sqlite+aiosqlite:///{tmp_path / 'x.db'}", clock=lambda: NOON)
    factory = UnitOfWorkFactory(
        engine=engine,
        instance=own.app.instance,
        service="test",
        version="1",
        seals=own.app.open_uow.seals,
    )
    async with factory() as uow:
        assert uow.now == NOON
    await engine.dispose()


async def test_lanes_are_rung_after_the_commit_for_the_earliest_wake(own: World) -> None:
    rung: list[tuple[UUID, datetime]] = []

    async def ring(account_id: UUID, due_at: datetime) -> None:
        people.append((await _counts(own))[0])
        rung.append((account_id, due_at))

    people: list[int] = []
    own.app.open_uow.ring = ring
    before, _ = await _counts(own)
    account, other = new_id(), new_id()
    async with own.app.open_uow() as uow:
        _person(uow)
        for minutes in (5, 1, 9):
            uow.wake(account, NOON + timedelta(minutes=minutes))
        uow.wake(other, NOON)
    assert rung == [(account, NOON + timedelta(minutes=1)), (other, NOON)]
    assert people == [before + 1, before + 1]
    rung.clear()
    with pytest.raises(ChangedMindError):
        async with own.app.open_uow() as uow:
            uow.wake(account, NOON)
            raise ChangedMindError
    assert rung == []


async def test_writers_of_one_process_all_get_their_turn(shared: World) -> None:
    before = await _counts(shared)

    async def write() -> None:
        async with shared.app.open_uow() as uow:
            await uow.session.execute(select(func.count()).select_from(Person))
            await asyncio.sleep(0)
            _person(uow)

    await asyncio.gather(*(write() for _ in range(12)))
    assert await _counts(shared) == (before[0] + 12, before[1] + 12)


async def test_writers_of_two_processes_take_turns(own: World) -> None:
    """A second process waits for the first's transaction instead of failing at its own first write."""
    url = own.app.open_uow.engine.url.render_as_string(hide_password=False)
    other = _copy(own.app.open_uow, url)
    before = await _counts(own)
    order: list[str] = []
    is_inside = asyncio.Event()

    async def first() -> None:
        async with own.app.open_uow() as uow:
            _person(uow)
            await uow.session.flush()
            is_inside.set()
            await asyncio.sleep(0.1)
            order.append("first")

    async def second() -> None:
        await is_inside.wait()
        async with other() as uow:
            _person(uow)
            await uow.session.flush()
            order.append("second")

    await asyncio.gather(first(), second())
    assert sorted(order) == ["first", "second"]
    if own.app.open_uow.engine.dialect.name == "sqlite":
        assert order == ["first", "second"]
    assert await _counts(own) == (before[0] + 2, before[1] + 2)
    await other.engine.dispose()


async def test_a_database_that_is_not_there_is_unavailable(own: World, tmp_path: Path) -> None:
    is_sqlite = own.app.open_uow.engine.dialect.name == "sqlite"
    (tmp_path / "folder.db").mkdir()
    url = (
        f"sqlite+aiosqlite:///{tmp_path / 'folder.db'}"
        if is_sqlite
        else f"postgresql+asyncpg://chancery@/chancery?host={tmp_path}"
    )
    away = _copy(own.app.open_uow, url)
    for open_uow in (away, away.read):
        with pytest.raises(DatabaseUnavailableError) as caught:
            async with open_uow():
                pytest.fail("nobody is there")
        assert (caught.value.code, caught.value.status) == ("database_unavailable", 503)
    await away.engine.dispose()


async def test_a_database_that_goes_away_in_the_middle_is_unavailable_and_keeps_nothing(
    own: World,
) -> None:
    before = await _counts(own)
    is_sqlite = own.app.open_uow.engine.dialect.name == "sqlite"
    with pytest.raises(DatabaseUnavailableError):
        async with own.app.open_uow() as uow:
            _person(uow)
            await uow.session.flush()
            if is_sqlite:  # what a failing disk looks like to the driver
                await uow.session.execute(text("SELECT * FROM pragma_table_info('x'), missing"))
            await uow.session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    assert await _counts(own) == before


async def test_a_full_disk_keeps_nothing_and_is_told_as_unavailable(own: World) -> None:
    if own.app.open_uow.engine.dialect.name == "postgresql":
        pytest.skip("PostgreSQL's disk cannot be filled for one test; SQLite's can")
    before = await _counts(own)
    with pytest.raises(DatabaseUnavailableError, match="full"):
        async with own.app.open_uow() as uow:
            pages = (await uow.session.execute(text("PRAGMA page_count"))).scalar_one()
            await uow.session.execute(text(f"PRAGMA max_page_count = {pages}"))
            for _ in range(20):
                _person(uow)
            await uow.session.flush()
            uow.session.add(AuditOutbox(body=bytes(100_000)))
    async with own.app.open_uow() as uow:
        await uow.session.execute(text("PRAGMA max_page_count = 1000000"))
    assert await _counts(own) == before


async def test_a_broken_rule_or_statement_is_not_taken_for_an_absent_database(
    shared: World,
) -> None:
    with pytest.raises(IntegrityError):
        async with shared.app.open_uow() as uow:
            _person(uow, code="zorc")
            await uow.session.flush()
    if shared.app.open_uow.engine.dialect.name == "postgresql":
        with pytest.raises(ProgrammingError):
            async with shared.app.open_uow() as uow:
                await uow.session.execute(text("SELEC 1"))


async def test_a_pool_without_a_free_connection_is_told_as_busy(own: World) -> None:
    engine = own.app.open_uow.engine
    held = []
    engine.sync_engine.pool._timeout = 0.05  # type: ignore[attr-defined] - no wait of 30 s here
    try:
        while len(held) < 20:
            held.append(await engine.connect())
        with pytest.raises(DatabaseUnavailableError, match="too busy"):
            async with own.app.open_uow.read():
                pytest.fail("there is a connection")
    finally:
        for connection in held:
            await connection.close()


async def test_times_without_a_zone_never_reach_the_database(shared: World) -> None:
    with pytest.raises(Exception, match=r"naive datetime|needs a zone"):
        async with shared.app.open_uow() as uow:
            person = _person(uow)
            person.created_at = NOON.replace(tzinfo=None)
            await uow.session.flush()


async def test_times_come_back_in_utc_to_the_microsecond(shared: World) -> None:
    moment = datetime(2026, 11, 23, 12, 0, 0, 1, tzinfo=UTC)
    async with shared.app.open_uow() as uow:
        person = _person(uow)
        person.created_at = moment.astimezone(tz=datetime.strptime("+0900", "%z").tzinfo)
    async with shared.app.open_uow.read() as uow:
        found = await uow.session.get_one(Person, person.id)
    assert found.created_at == moment
    assert found.created_at.tzinfo is UTC
