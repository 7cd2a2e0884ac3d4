"""From the previous schema to this one with posts queued and a worker killed in the middle: nothing lost, nothing twice."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, column, select, table

from scheduler.db import migrate
from scheduler.db.tables import AuditHead
from scheduler.practice.admin import Turn
from scheduler.practice.model import Platform
from scheduler.services import media
from tests.integration.fault_fixtures import Yard, practice, yard_fixture  # noqa: F401 - fixtures
from tests.support.pictures import picture
from tests.support.processes import environment

pytestmark = pytest.mark.timeout(180)
ALEMBIC = Path(migrate.__file__).parents[2] / "alembic"
#: What is queued, in columns that both schemas have.
QUEUED = {
    "post": "id state revision digest due_at",
    "delivery": "id post_id account_id state due_at wake_at payload fence attempts next_part",
    "approval": "id post_id digest person_id",
    "attempt": "id delivery_id number part idempotency_key request_sha256 outcome",
    "sealed_token": "id account_id kind generation",
}


async def test_an_upgrade_with_posts_queued_loses_none_and_sends_none_twice(yard: Yard) -> None:
    await _queue(yard)
    before = await _read(yard)
    assert {"ready", "sending"} <= set(await yard.states())
    previous, newest = _revisions()
    await _within(yard, lambda connection: command.downgrade(_config(connection), previous))
    assert await _read(yard) == before, "the way back to the previous schema is not lossless"

    assert _chancery(yard, "worker").stderr.rstrip().endswith("[database_outdated]")
    done = _chancery(yard, "db", "upgrade", "--json")
    said = {"before": previous, "after": newest, "reconnect": []}
    assert json.loads(done.stdout) == said, done.stderr
    assert await _read(yard) == before
    assert not yard.practice.published().keys() - {_lost_answer(yard)}

    began_again = await _begin_record(yard)
    yard.practice.clear_knobs()
    with yard.worker() as worker:
        await yard.until_done(count=len(await yard.deliveries()), worker=worker)
        assert worker.end() == 0
    public = yard.practice.published()
    assert len(public) == len(before["delivery"]) == 11
    assert set(public.values()) == {1}
    await yard.assert_intents_first()
    if not began_again:
        await yard.assert_record_is_whole()


async def _queue(yard: Yard) -> None:
    """Ten deliveries wait, due now or soon, with a thread and a picture; one was being sent when its worker died."""
    lanes = await yard.open_lanes(2)
    app, officer = yard.world.app, await yard.world.actor("hocevar")
    stored = await media.upload(
        app.open_uow, app.kit, officer, "krv.hq", picture("PNG"), "image/png"
    )
    yard.practice.turn(Platform.MASTODON, Turn(account="hq", latency_ms=20_000, when="after"))
    with yard.worker(patience=(12, 2, 2)) as worker:
        flying = await yard.schedule("Its answer was lost", "hq.mastodon")
        await yard.until_state(flying, "sending")
        await yard.until_public("Its answer was lost")
        worker.kill()
    await yard.schedule("Good morning from Lipovec!", *lanes)
    await yard.schedule("And a moment later", *lanes, in_s=20)
    segments = [
        {"text": "A thread from Lipovec", "media": [{"sha256": stored.sha256, "alt": "The garden"}]}
    ]
    await yard.world.scheduled(texts={"en": segments}, targets=lanes[:2])


async def _begin_record(yard: Yard) -> bool:
    """The way back past the schema that brought the log (0003) takes the log along: then it begins again."""
    async with yard.world.app.open_uow() as uow:
        if await uow.session.get(AuditHead, 1) is not None:
            return False
        uow.session.add(AuditHead(size=0, frontier=[], epoch=0, lease_until=uow.now))
        return True


def _revisions() -> tuple[str, str]:
    """The revision before the newest one, and the newest."""
    scripts = ScriptDirectory.from_config(_config(None))
    head = scripts.get_current_head()
    assert head is not None
    previous = scripts.get_revision(head).down_revision
    assert isinstance(previous, str)
    return previous, head


def _config(connection: Connection | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(ALEMBIC))
    config.attributes["connection"] = connection
    return config


async def _within(yard: Yard, act: Any) -> None:
    async with yard.world.app.open_uow.engine.begin() as connection:
        await connection.run_sync(act)


async def _read(yard: Yard) -> dict[str, list[Any]]:
    found = {}
    async with yard.world.app.open_uow.engine.connect() as connection:
        for name, columns in QUEUED.items():
            query = select(*map(column, columns.split())).select_from(table(name))
            rows = await connection.execute(query.order_by(column("id")))
            found[name] = [tuple(row) for row in rows]
    return found


def _chancery(yard: Yard, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *words],
        env=environment(yard.settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _lost_answer(yard: Yard) -> tuple[str, str, str]:
    [found] = [each for each in yard.practice.published() if each[2] == "Its answer was lost"]
    return found
