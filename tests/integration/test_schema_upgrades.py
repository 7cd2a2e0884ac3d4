"""Rows of the previous release mean the same after an upgrade."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from scheduler.db import rules
from scheduler.db.tables import Posture
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
