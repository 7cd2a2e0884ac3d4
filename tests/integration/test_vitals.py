"""A worker's signs of life, looked at from beside it in the same event loop."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientSession

from scheduler.clock import monotonic_s
from scheduler.notify import Notifier, Watchdog
from scheduler.publishing.engine import Engine
from scheduler.publishing.vitals import Vitals
from scheduler.settings import ServiceManager
from tests.integration.cli_fixtures import free_port
from tests.integration.services_fixtures import (
    founder_fixture,  # noqa: F401 - fixtures go by name
    own_fixture,  # noqa: F401 - fixtures go by name
)
from tests.support.manager import Manager
from tests.support.world import World

pytestmark = pytest.mark.asyncio(loop_scope="session")


def _vitals(world: World, engine: Engine, listen: str = "") -> Vitals:
    settings = world.app.settings.model_copy(update={"metrics_listen": listen})
    return Vitals(replace(world.app, settings=settings), engine)


@asynccontextmanager
async def _running(vitals: Vitals) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    task = asyncio.ensure_future(vitals.run(stopping))
    try:
        yield
    finally:
        stopping.set()
        await task


async def _well(vitals: Vitals) -> None:
    async with asyncio.timeout(20):
        while vitals.watchdog.trouble:
            await asyncio.sleep(0.02)


async def test_a_worker_is_well_while_it_sweeps_and_tells_so(own: World) -> None:
    address = f"127.0.0.1:{free_port()}"
    async with own.working() as engine:
        vitals = _vitals(own, engine, address)
        assert vitals.watchdog.trouble == "starting"
        async with _running(vitals), ClientSession() as session:
            await _well(vitals)
            async with session.get(f"http://{address}/metrics") as answer:
                lines = (await answer.text()).splitlines()
    assert "chancery_worker_well 1.0" in lines
    [age] = [line for line in lines if line.startswith("chancery_worker_sweep_age_seconds ")]
    assert 0 <= float(age.split()[1]) < 15


async def test_an_address_that_is_taken_is_no_reason_not_to_work(own: World) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        async with own.working() as engine:
            vitals = _vitals(own, engine, f"127.0.0.1:{taken.getsockname()[1]}")
            async with _running(vitals):
                await _well(vitals)


async def test_a_worker_is_unwell_before_its_first_sweep_and_when_none_has_come_for_long(
    own: World,
) -> None:
    engine = Engine(own.app.open_uow, own.app.kit, worker="test")
    vitals = _vitals(own, engine)
    assert await vitals.watchdog.look() == "waiting for the first sweep"
    engine.last_sweep_s = monotonic_s() - 10
    assert await vitals.watchdog.look() == ""
    engine.last_sweep_s = monotonic_s() - 16
    assert await vitals.watchdog.look() == "no healthy sweep for 16 s"
    assert b"chancery_worker_well 0.0" in vitals.render()


@pytest.mark.parametrize("own", ["sqlite"], indirect=True)
async def test_a_loop_that_was_blocked_for_a_while_is_not_fed_for_it(
    own: World, tmp_path: Path
) -> None:
    async def fine() -> str:
        return ""

    stopping = asyncio.Event()
    with Manager(tmp_path) as manager:
        notifier = Notifier(ServiceManager(address=manager.address, watchdog_s=1))
        task = asyncio.ensure_future(Watchdog(notifier, fine).run(stopping))
        await asyncio.sleep(0.6)
        assert "WATCHDOG=1" in manager.heard(0.01)
        time.sleep(3.4)
        await asyncio.sleep(0.1)
        [blocked] = manager.heard(0.01)
        assert blocked.startswith("STATUS=the loop was blocked for 3.")
        await asyncio.sleep(0.6)
        assert "WATCHDOG=1" in manager.heard(0.01)
        stopping.set()
        await task
        assert "STOPPING=1" in manager.heard(0.01)
