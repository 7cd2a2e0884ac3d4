"""Rows of the previous release mean the same after an upgrade."""

import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

from scheduler.db import rules
from scheduler.db.seals import RowSeals
from scheduler.db.tables import Post, Posture
from tests.integration.test_schema import _run, _within, open_empty_fixture  # noqa: F401 - a fixture goes by name

STOPS_OF_THE_PREVIOUS_RELEASE = (
    """INSERT INTO person (id, code, name, languages, active, created_at)
    VALUES ('PERSON', 'zorc', 'Petra Zorc', '[]', true, 'MOMENT')""",
    """INSERT INTO posture (id, kind, reason, started_by, started_at, ended_by, ended_at)
    VALUES ('PAST', 'stop', 'past', 'PERSON', 'MOMENT', 'PERSON', 'MOMENT')""",
    """INSERT INTO posture (id, kind, reason, started_by, started_at)
    VALUES ('STILL', 'stop', 'still', 'PERSON', 'MOMENT')""",
)


@pytest.mark.asyncio(loop_scope="session")
async def test_a_stop_of_the_previous_release_stays_in_force_and_one_that_was_lifted_stays_lifted(
    open_empty: Callable[[str], AsyncEngine],
) -> None:
    """One person was allowed to set and lift a stop then: the row of that time survives, too."""
    engine, moment = open_empty("database"), "2026-11-01 08:00:00+00"
    if engine.dialect.name == "sqlite":
        moment = "2026-11-01T08:00:00.000000Z"
    await _within(engine, _run, "0003")
    rows = {"person": "0" * 31 + "1", "past": "0" * 31 + "2", "still": "0" * 31 + "3"}
    async with engine.begin() as connection:
        for statement in STOPS_OF_THE_PREVIOUS_RELEASE:
            told = statement.replace("MOMENT", moment)
            for name, row in rows.items():
                told = told.replace(name.upper(), row)
            await connection.execute(text(told))
    await _within(engine, _run, "head")
    async with AsyncSession(engine) as session:
        found = await session.scalars(select(Posture).order_by(Posture.reason))
        lifted, still = found.all()
    stop = rules.restriction_of(still, None)
    assert (stop.reason, stop.stops_everything) == ("still", True)
    assert stop.is_in_force(datetime(2000, 1, 1, tzinfo=UTC))
    assert lifted.ended_by == lifted.started_by
    await engine.dispose()


KEY = b"k" * 32
MOMENT = "2026-11-01T08:00:00.000000Z"
PERSON, MISSION, BEFORE, STOP, FORUM = (UUID(int=number) for number in range(1, 6))
#: As the release of 0008 wrote and sealed them: every column that there was.
MINISTRY: dict[str, dict[str, Any]] = {
    "person": {
        "id": PERSON,
        "code": "zorc",
        "name": "Petra Zorc",
        "languages": [],
        "active": True,
        "created_at": MOMENT,
    },
    "mission": {
        "id": MISSION,
        "code": "krv.hq",
        "name": "Ministry of Foreign Affairs of Karvenia",
        "kind": "headquarters",
        "path": f"/{MISSION.hex}/",
        "city": "Lipovec",
        "country": "",
        "zone": "Europe/Ljubljana",
        "languages": [],
        "created_at": MOMENT,
    },
}
POST: dict[str, Any] = {
    "id": BEFORE,
    "mission_id": MISSION,
    "author_id": PERSON,
    "title": "Before there were campaigns",
    "post_class": "routine",
    "revision": 1,
    "local_time": None,
    "zone": "Europe/Ljubljana",
    "choice": None,
    "due_at": None,
    "late_minutes": 15,
    "not_after": None,
    "schedule_on_approval": True,
    "link_card": None,
    "policy": None,
    "digest": None,
    "created_at": MOMENT,
}
POSTURE: dict[str, Any] = {
    "id": STOP,
    "kind": "freeze",
    "reason": "the vote on Sunday",
    "mission_id": None,
    "account_id": None,
    "language": "uk",
    "allowed_classes": [],
    "starts_at": None,
    "ends_at": None,
    "set_from_id": MISSION,
    "started_by": PERSON,
    "started_at": MOMENT,
    "end_proposed_by": None,
    "end_proposed_at": None,
    "ended_by": None,
    "ended_at": None,
}


@pytest.mark.asyncio(loop_scope="session")
async def test_what_was_sealed_before_there_were_campaigns_holds_and_means_the_same(
    open_empty: Callable[[str], AsyncEngine],
) -> None:
    """Else an upgrade would turn a stop of one language into a stop of everything, and doubt every post."""
    engine = open_empty("database")
    await _fill_before_campaigns(engine)
    await _within(engine, _run, "head")
    async with AsyncSession(engine) as session:
        stop = (await session.scalars(select(Posture))).one()
        post = (await session.scalars(select(Post))).one()
    seals = RowSeals(KEY)
    assert seals.holds(stop)
    assert seals.digest(post) == _digest("post", POST)
    assert (stop.campaign_id, post.campaign_id, post.title) == (None, None, POST["title"])
    restriction = rules.restriction_of(stop, None)
    assert (restriction.language, restriction.stops_everything) == ("uk", False)
    stop.campaign_id = post.campaign_id = FORUM
    assert not seals.holds(stop)
    assert seals.digest(post) != _digest("post", POST)
    await engine.dispose()


@pytest.mark.asyncio(loop_scope="session")
async def test_a_post_names_a_campaign_that_is_there_and_the_way_back_keeps_the_post(
    open_empty: Callable[[str], AsyncEngine],
) -> None:
    engine = open_empty("database")
    await _fill_before_campaigns(engine)
    await _within(engine, _run, "head")
    join = text(f"UPDATE post SET campaign_id = '{FORUM.hex}'")  # noqa: S608 - our own id
    with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
        async with engine.begin() as connection:
            await connection.execute(join)
    forum = {"id": FORUM, "code": "forum", "title": "The forum", "mission_id": MISSION}
    async with engine.begin() as connection:
        await _insert(connection, "campaign", forum | {"created_by": PERSON, "created_at": MOMENT})
        await connection.execute(join)
    await _within(engine, _run, "0008")
    async with engine.connect() as connection:
        titles = (await connection.execute(text("SELECT title FROM post"))).scalars().all()
    assert titles == [POST["title"]]
    await _within(engine, _run, "head")
    async with AsyncSession(engine) as session:
        assert (await session.scalars(select(Post.campaign_id))).one() is None
    await engine.dispose()


async def _fill_before_campaigns(engine: AsyncEngine) -> None:
    await _within(engine, _run, "0008")
    async with engine.begin() as connection:
        for name, values in MINISTRY.items():
            await _insert(connection, name, values)
        await _insert(connection, "post", {**POST, "state": "draft", "updated_at": MOMENT})
        await _insert(connection, "posture", {**POSTURE, "seal": _digest("posture", POSTURE)})


def _digest(table: str, values: Mapping[str, Any]) -> str:
    """The seal as the release of 0008 computed it."""
    told = orjson.dumps([table, values], option=orjson.OPT_SORT_KEYS)
    return hmac.digest(KEY, b"chancery/row/v1\0" + told, "sha256").hex()[:32]


async def _insert(connection: AsyncConnection, table: str, values: Mapping[str, Any]) -> None:
    names, literals = ", ".join(values), ", ".join(map(_literal, values.values()))
    statement = f"INSERT INTO {table} ({names}) VALUES ({literals})"  # noqa: S608 - our own words
    await connection.execute(text(statement))


def _literal(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case UUID():
            return f"'{value.hex}'"
        case list():
            return f"'{json.dumps(value)}'"
        case str():
            return f"'{value}'"
        case _:
            return str(value).lower()
