"""Real workers side by side renew a session once: the platform counts what it is asked."""

import base64
import json
from datetime import timedelta

import pytest
from sqlalchemy import update
from sqlmodel import col, select

from adapters.bluesky_api import read_session
from scheduler.clock import utc_now
from scheduler.db.tables import Account, SealedToken
from scheduler.practice.admin import Turn
from scheduler.practice.knobs import Reach
from scheduler.practice.model import Kind, Platform
from scheduler.services import secrets
from tests.integration.fault_fixtures import Yard, practice, until, yard_fixture  # noqa: F401 - fixtures
from tests.support.processes import WorkerProcess

_MANY = 100_000


async def _end_soon(yard: Yard) -> int:
    """Seal, for every Bluesky account, its session with an access token that says it ends in ten minutes."""
    claims = json.dumps({"exp": int((utc_now() + timedelta(minutes=10)).timestamp())}).encode()
    access = f"e30.{base64.urlsafe_b64encode(claims).decode().rstrip('=')}.c2ln"
    app = yard.world.app
    async with app.open_uow() as uow:
        query = select(Account).where(col(Account.platform) == "bluesky")
        accounts = (await uow.session.scalars(query)).all()
        for account in accounts:
            session = read_session(await secrets.open_credentials(uow, app.kit, account))
            assert session is not None
            ending = json.dumps({"access": access, "refresh": session.refresh})
            await secrets.seal(uow, app.kit, account, "session", ending, actor=None)
        long_ago = uow.now - timedelta(hours=1)
        await uow.session.execute(update(SealedToken).values(updated_at=long_ago))
    return len(accounts)


async def _renewed(yard: Yard) -> int:
    async with yard.world.app.open_uow.read() as uow:
        query = select(SealedToken).where(col(SealedToken.kind) == "session")
        generations = [each.generation for each in await uow.session.scalars(query)]
    return sum(generation > 2 for generation in generations)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("database", ["postgresql"])
async def test_three_workers_started_together_renew_each_session_once(yard: Yard) -> None:
    await yard.open_lanes(4)
    count = await _end_soon(yard)
    slow = Turn(latency_ms=700, only=Reach.ALL, count=_MANY)
    yard.practice.turn(Platform.BLUESKY, slow)
    workers = [
        WorkerProcess(yard.settings, yard.folder / f"worker{n}.log", module="worker", patience=())
        for n in range(3)
    ]
    try:
        await until(lambda: _is(yard, count), "every session renewed", within_s=60)
    finally:
        for each in workers:
            each.end()
            each.kill()
    [knob] = yard.practice.knobs(Platform.BLUESKY)
    assert _MANY - int(knob["count"]) == count, "one request for each account, over all workers"
    rotated = [each for each in yard.practice.log() if each.kind is Kind.SESSION_ROTATED]
    assert len(rotated) == count


async def _is(yard: Yard, count: int) -> bool:
    return await _renewed(yard) == count
