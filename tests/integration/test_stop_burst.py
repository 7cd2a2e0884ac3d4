"""A stop in the middle of ten thousand due deliveries and four workers: from its return on, no intent."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func
from sqlmodel import col, select

from adapters.registry import build
from bench import seed
from bench.seed import Order
from bench.yard import Yard, sleep_until, yard
from scheduler.app import App, application
from scheduler.clock import utc_now
from scheduler.db import persons
from scheduler.db.tables import Attempt, Delivery
from scheduler.services import postures

_DUE = 10_000
_WORKERS = 4


@pytest.mark.long
@pytest.mark.timeout(1500)
async def test_a_stop_in_a_burst_of_ten_thousand_lets_no_intent_through(tmp_path: Path) -> None:
    async with yard() as place:
        due = round(time.time() + 150.0)
        await seed.seed(place.settings, Order(count=_DUE, due=due, rate=0, url=place.url))
        place.stub.take_arrivals()
        async with application(
            place.settings, service="test", platforms=build, ringing=False
        ) as app:
            with _workers(place):
                await sleep_until(due + 4)
                began = time.perf_counter()
                receipt = await _stop(app)
                took_s, returned_at = time.perf_counter() - began, time.time()
                before = await _count(app)
                await asyncio.sleep(20)
            after = await _count(app)
            late = await _intents_since(app, receipt)
            states = await _states(app)
        arrivals = place.stub.take_arrivals()
    figures = {
        "took_ms": round(took_s * 1000),
        "intents": after,
        "in_flight": len(receipt.in_flight),
        "caught": len(receipt.caught),
        "arrived_after": sum(at > returned_at for at in arrivals.values()),
        "states": states,
    }
    (tmp_path / "figures.json").write_text(json.dumps(figures))
    assert 0 < before < _DUE, "the stop came in the middle"
    assert (after - before, late) == (0, 0)
    assert figures["arrived_after"] <= len(receipt.in_flight)
    assert len(receipt.caught) + after == _DUE
    assert "unknown" not in states


@contextmanager
def _workers(place: Yard) -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(_WORKERS):
            stack.enter_context(place.chancery())
        yield


async def _stop(app: App) -> postures.StopReceipt:
    async with app.open_uow() as uow:
        actor = await persons.load_actor(uow, await persons.get_by_code(uow, "zorc"), via="test")
        return await postures.stop(uow, actor, reason=f"stopped at {utc_now()}")


async def _count(app: App) -> int:
    async with app.open_uow.read() as uow:
        query = select(func.count()).select_from(Attempt)
        return int((await uow.session.execute(query)).scalar_one())


async def _intents_since(app: App, receipt: postures.StopReceipt) -> int:
    async with app.open_uow.read() as uow:
        query = select(func.count()).where(col(Attempt.started_at) > receipt.posture.started_at)
        return int((await uow.session.execute(query)).scalar_one())


async def _states(app: App) -> dict[str, int]:
    async with app.open_uow.read() as uow:
        query = select(col(Delivery.state), func.count()).group_by(col(Delivery.state))
        return dict((await uow.session.execute(query)).all())
