"""The database gone, or its disk full: nothing leaves without its committed intent, nothing is lost or doubled."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from scheduler.clock import utc_now
from scheduler.db.engine import build_engine
from scheduler.db.migrate import upgrade
from scheduler.practice.admin import Turn
from scheduler.practice.model import Platform
from scheduler.services import media
from tests.integration.fault_fixtures import Yard, practice, until, yard_fixture  # noqa: F401 - fixtures
from tests.support.pictures import picture
from tests.support.postgres import TestPostgres
from tests.support.processes import WorkerProcess


@pytest.fixture
def postgres() -> Iterator[TestPostgres]:
    """A durable server of the test's own, to be killed."""
    with TestPostgres(durable=True) as server:
        if not server.is_ours:
            pytest.skip("another's server is not ours to kill")
        yield server


@pytest.fixture
def empty_postgres(postgres: TestPostgres) -> str:
    """A migrated database on that server, made in a thread because the test's own loop runs here."""
    url = postgres.create_database()
    with ThreadPoolExecutor() as pool:
        pool.submit(asyncio.run, _migrate(url)).result()
    return url


async def _migrate(url: str) -> None:
    engine = build_engine(url)
    await upgrade(engine)
    await engine.dispose()


@pytest.mark.parametrize("database", ["postgresql"])
@pytest.mark.timeout(120)
async def test_an_answer_that_arrives_while_postgresql_is_away_is_recorded_when_it_is_back(
    yard: Yard, postgres: TestPostgres
) -> None:
    yard.practice.turn(Platform.MASTODON, Turn(latency_ms=1500, when="after"))
    await yard.schedule("Due meanwhile", "kyi.mastodon", "kyi.bluesky", in_s=5)
    with yard.worker(patience=(4, 2, 20)) as worker:
        flying = await yard.schedule("In flight", "hq.mastodon")
        await yard.until_public("In flight")
        postgres.kill()
        await yard.until_logged(worker, "record.postponed")
        postgres.start()
        await until(lambda: _recorded(yard, "In flight"), "the answer recorded")
        [attempt] = await yard.attempts(flying)
        assert attempt.outcome == "sent"
        await yard.until_done(count=3, worker=worker)
        assert worker.end() == 0
        assert not {"step.failed", "prepare.failed", "look.failed", "sequencer.failed"} & set(
            worker.events()
        )
    await yard.assert_once()


@pytest.mark.parametrize("database", ["postgresql"])
@pytest.mark.timeout(120)
async def test_what_was_in_flight_when_postgresql_stayed_away_beyond_the_lease_is_looked_up(
    yard: Yard, postgres: TestPostgres
) -> None:
    yard.practice.turn(Platform.MASTODON, Turn(latency_ms=500, when="after", account="hq"))
    with yard.worker(patience=(2, 1, 2)) as worker:
        await yard.schedule("Due meanwhile", "kyi.mastodon", "kyi.bluesky", in_s=4)
        flying = await yard.schedule("In flight", "hq.mastodon")
        await yard.until_public("In flight")
        postgres.kill()
        away = worker.events()["record.postponed"]
        await yard.until_logged(worker, "record.postponed", away + 5)
        postgres.start()
        await yard.until_done(count=3, worker=worker)
        assert (await yard.attempts(flying))[-1].outcome in {"sent", "found"}
        assert worker.end() == 0
        assert not {"step.failed", "prepare.failed", "look.failed", "sequencer.failed"} & set(
            worker.events()
        )
    await yard.assert_once()


@pytest.mark.parametrize("database", ["postgresql"])
@pytest.mark.timeout(120)
async def test_a_worker_cut_off_from_the_database_after_its_claim_sends_nothing(
    yard: Yard, postgres: TestPostgres
) -> None:
    """It cannot see whether publishing is stopped, so it does not publish, however fresh its claim is."""
    await yard.schedule("Due while cut off", "hq.mastodon", "hq.bluesky", in_s=5)
    with yard.worker(patience=(10, 2, 30)) as worker:
        await until(lambda: _are_prepared(yard, 2), "both prepared")
        due = max(each.due_at for each in await yard.deliveries() if each.due_at is not None)
        postgres.kill()
        await until(lambda: _is_past(due + timedelta(seconds=2)), "their time")
        away = worker.events()["database.unavailable"]
        await yard.until_logged(worker, "database.unavailable", away + 2)
        assert worker.lives
        assert not yard.practice.published()
    postgres.start()
    assert await yard.states() == ["preparing", "preparing"]
    assert {each.attempts for each in await yard.deliveries()} == {0}


@pytest.mark.parametrize("database", ["sqlite"])
@pytest.mark.timeout(120)
async def test_a_full_disk_at_the_record_of_the_intent_keeps_every_post_at_home_until_there_is_space(
    yard: Yard,
) -> None:
    """Full as RLIMIT_FSIZE makes it: each write of the worker to a file fails, as on a disk without space."""
    lanes = await yard.open_lanes(3)
    await yard.schedule("Due on a full disk", *lanes, in_s=4)
    with yard.worker() as worker:
        await until(lambda: _are_prepared(yard, len(lanes)), "all prepared")
        worker.limit_files(0)
        await yard.until_logged(worker, "database.unavailable", 6)
        assert not yard.practice.published()
        worker.limit_files(None)
        await yard.until_done(count=len(lanes), worker=worker)
        assert worker.end() == 0
    await yard.assert_once()


@pytest.mark.parametrize("database", ["sqlite"])
@pytest.mark.timeout(120)
async def test_a_full_disk_at_the_record_of_the_answer_neither_loses_nor_doubles_the_post(
    yard: Yard,
) -> None:
    yard.practice.turn(Platform.MASTODON, Turn(latency_ms=800, when="after"))
    with yard.worker(patience=(4, 2, 20)) as worker:
        post = await yard.schedule("In flight", "hq.mastodon")
        await yard.until_public("In flight")
        worker.limit_files(0)
        await yard.until_logged(worker, "record.postponed")
        assert (await yard.the(post)).state == "sending"
        worker.limit_files(None)
        await yard.until_done(count=1, worker=worker)
        assert worker.end() == 0
    [attempt] = await yard.attempts(post)
    assert attempt.outcome == "sent"
    await yard.assert_once()


@pytest.mark.parametrize("database", ["sqlite"])
@pytest.mark.timeout(120)
async def test_a_picture_that_is_gone_from_the_disk_holds_its_post_at_once(yard: Yard) -> None:
    app, officer = yard.world.app, await yard.world.actor("hocevar")
    kept = await media.upload(app.open_uow, app.kit, officer, "krv.hq", picture("PNG"), "image/png")
    [path] = (yard.settings.data_dir / "media").rglob(kept.sha256)
    segment = {"text": "Our garden", "media": [{"sha256": kept.sha256, "alt": "The garden"}]}
    post = await yard.world.scheduled(texts={"en": [segment]})
    path.unlink()
    with yard.worker() as worker:
        await until(lambda: _failed_or_held(yard, worker), "looked for the picture")
        assert (await yard.the(post)).state == "held"
    assert not yard.practice.published()


async def _failed_or_held(yard: Yard, worker: WorkerProcess) -> bool:
    return "held" in await yard.states() or bool(worker.events()["prepare.failed"])


async def _recorded(yard: Yard, said: str) -> bool:
    found = {yard.expected[each.post_id]: each.state for each in await yard.deliveries()}
    return found[said] in {"sent", "verified"}


async def _is_past(moment: datetime) -> bool:
    return utc_now() > moment


async def _are_prepared(yard: Yard, count: int) -> bool:
    return (await yard.states()).count("preparing") == count
