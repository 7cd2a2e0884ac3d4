"""What Prometheus is told is what the database says, and every alert asks for something that is told."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import text, update

from scheduler import doorbell
from scheduler.app import App
from scheduler.clock import iso
from scheduler.db.tables import Account, AuditOutbox
from scheduler.publishing.engine import Engine
from scheduler.publishing.vitals import Vitals
from scheduler.services import postures
from scheduler.services.writing import When
from scheduler.web.metrics import Metrics
from tests.integration.fault_fixtures import until
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.redis import TestRedis
from tests.support.tables import ROOT
from tests.support.world import World

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[TestRedis]:
    with TestRedis(tmp_path / "redis") as server:
        yield server


async def _read(app: App) -> dict[str, float]:
    body = (await Metrics().render(app)).decode()
    lines = [line.rpartition(" ") for line in body.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


async def test_the_oldest_due_delivery_stands_first(own: World) -> None:
    body = (await Metrics().render(own.app)).decode()
    [first, *_] = [line for line in body.splitlines() if not line.startswith("#")]
    assert first == "chancery_oldest_due_seconds 0.0"


async def test_what_is_due_and_has_not_left_is_counted_with_its_age(own: World) -> None:
    await own.scheduled(targets=("hq.mastodon", "hq.bluesky"))
    await own.scheduled(when=When(local="2090-06-01T09:00"))
    async with own.app.open_uow() as uow:
        await uow.session.execute(
            text("UPDATE delivery SET due_at = :at WHERE due_at < :now"),
            {"at": _stored(uow, timedelta(minutes=7)), "now": _stored(uow, timedelta(0))},
        )
    told = await _read(own.app)
    assert 420 <= told["chancery_oldest_due_seconds"] < 480
    assert told["chancery_due_deliveries"] == 2
    assert told['chancery_deliveries{state="ready"}'] == 3


async def test_what_left_is_told_by_lateness_and_outcome(own: World) -> None:
    async with own.working():
        posts = [await own.scheduled(targets=("hq.mastodon", "hq.bluesky")) for _ in range(2)]
        for post in posts:
            await own.settle(post, lambda each: each.state == "verified")
    told = await _read(own.app)
    assert told["chancery_intent_lateness_last_hour_seconds_count"] == 4
    assert told['chancery_intent_lateness_last_hour_seconds_bucket{le="900.0"}'] == 4
    assert 0 < told["chancery_intent_lateness_last_hour_seconds_sum"] < 120
    for platform in ("mastodon", "bluesky"):
        name = f'chancery_attempts_last_hour{{code="",outcome="sent",platform="{platform}"}}'
        assert told[name] == 2
    assert told["chancery_audit_lag_seconds"] < 30


async def test_what_left_more_than_an_hour_ago_is_told_no_longer(own: World) -> None:
    async with own.working():
        post = await own.scheduled()
        await own.settle(post, lambda each: each.state == "verified")
    async with own.app.open_uow() as uow:
        query = text("SELECT id FROM attempt")
        [found] = list(await uow.session.scalars(query))
        old = "0" * 8 + str(found).replace("-", "")[8:]
        await uow.session.execute(text("UPDATE attempt SET id = :old"), {"old": _like(found, old)})
    assert (await _read(own.app))["chancery_intent_lateness_last_hour_seconds_count"] == 0


async def test_a_stop_and_a_paused_account_are_told(own: World) -> None:
    before = await _read(own.app)
    assert before['chancery_postures{kind="stop"}'] == 0
    assert before['chancery_accounts{platform="mastodon",state="paused"}'] == 0
    async with own.as_("bizjak") as (uow, actor):
        await postures.stop(uow, actor, reason="an earthquake")
        await uow.session.execute(
            update(Account).where(Account.code == "hq.mastodon").values(state="paused")
        )
    after = await _read(own.app)
    assert after['chancery_postures{kind="stop"}'] == 1
    assert after['chancery_accounts{platform="mastodon",state="paused"}'] == 1
    assert after['chancery_accounts{platform="mastodon",state="active"}'] == 1


async def test_a_record_that_waits_or_cannot_be_read_is_told(own: World) -> None:
    async with own.app.open_uow() as uow:
        [oldest, *_] = list(
            await uow.session.scalars(text("SELECT body FROM audit_outbox ORDER BY id"))
        )
        at = re.search(rb'"t":"([^"]{27})"', bytes(oldest))
        assert at is not None
        await uow.session.execute(
            update(AuditOutbox)
            .where(AuditOutbox.body == bytes(oldest))
            .values(body=bytes(oldest).replace(at[1], iso(uow.now - timedelta(minutes=2)).encode()))
        )
    told = await _read(own.app)
    assert 120 <= told["chancery_audit_lag_seconds"] < 180
    assert told["chancery_audit_unsealed_records"] > 10
    async with own.app.open_uow() as uow:
        await uow.session.execute(update(AuditOutbox).values(body=b"{}"))
    assert (await _read(own.app))["chancery_audit_lag_seconds"] == float("inf")


async def test_redis_and_the_workers_sign_in_it_are_told_and_nothing_when_it_is_away(
    own: World, redis: TestRedis, ringing: App
) -> None:
    told = await _read(ringing)
    assert (told["chancery_redis_up"], told["chancery_worker_alive"]) == (1, 0)
    stopping = asyncio.Event()
    engine = Engine(own.app.open_uow, own.app.kit, worker="test")
    bell = doorbell.connect(redis.url, own.app.kit.ring.derive("jobs"))
    working = asyncio.ensure_future(doorbell.answer(bell, engine.nudge, stopping))

    async def heard() -> bool:
        return (await _read(ringing))["chancery_worker_alive"] == 1

    await until(heard, "the worker's sign")
    stopping.set()
    await working
    await bell.aclose(close_connection_pool=True)
    redis.stop()
    told = await _read(ringing)
    assert told["chancery_redis_up"] == 0
    assert "chancery_worker_alive" not in told
    assert told["chancery_database_up"] == 1


async def test_every_figure_that_an_alert_asks_for_is_told(
    own: World, redis: TestRedis, ringing: App
) -> None:
    async with own.working():
        post = await own.scheduled()
        await own.settle(post, lambda each: each.state == "verified")
    metrics = Metrics()
    metrics.count(route="/api/v1/posts", status=200, seconds=0.1)
    vitals = Vitals(own.app, Engine(own.app.open_uow, own.app.kit, worker="test"))
    body = (await metrics.render(ringing) + vitals.render()).decode()
    told = set(re.findall(r"^(chancery_\w+)", body, re.MULTILINE))
    alerts = (ROOT / "deploy/prometheus/alerts.yml").read_text()
    asked = set(re.findall(r"\b(chancery_\w+)", "\n".join(re.findall(r"expr: (.*)", alerts))))
    assert asked
    assert asked - told == set()
    pages = "".join(path.read_text() for path in (ROOT / "docs").rglob("*.md"))
    assert set(re.findall(r"`(chancery_\w+)`", pages)) - told == set()


@pytest_asyncio.fixture(loop_scope="session")
async def ringing(own: World, redis: TestRedis) -> AsyncIterator[App]:
    """The installation as a process has it that rings."""
    bell = doorbell.connect(redis.url, own.app.kit.ring.derive("jobs"))
    own.app.open_uow.ring = doorbell.Doorbell(bell)
    yield own.app
    await bell.aclose(close_connection_pool=True)


def _stored(uow: object, before: timedelta) -> object:
    """The moment so long ago, as the database's driver takes it."""
    moment = uow.now - before  # type: ignore[attr-defined]
    is_sqlite = uow.session.get_bind().dialect.name == "sqlite"  # type: ignore[attr-defined]
    return iso(moment) if is_sqlite else moment


def _like(found: object, digits: str) -> object:
    """The digits in the form in which the database gave the id."""
    return digits if isinstance(found, str) and "-" not in found else type(found)(digits)  # type: ignore[call-arg]
