"""The pre-flight of a worker in this process, and platforms that count what they are asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlmodel import col, select

from adapters.base import Adapter, Credentials, Profile, Quota
from scheduler.audit.record import SignedRecord, parse_record
from scheduler.clock import utc_now
from scheduler.db.tables import AuditOutbox
from scheduler.db.tables import Preflight as Row
from scheduler.publishing.preflight import Preflight
from scheduler.services.kit import Kit
from scheduler.services.writing import When
from tests.support.world import World

AHEAD = timedelta(minutes=10)


def due_in(minutes: float) -> When:
    local = (utc_now() + timedelta(minutes=minutes)).astimezone(ZoneInfo("Europe/Ljubljana"))
    return When(local=local.strftime("%Y-%m-%dT%H:%M:%S"), zone="Europe/Ljubljana")


@asynccontextmanager
async def checking(world: World, kit: Kit | None = None, **options: Any) -> AsyncIterator[None]:
    """The pre-flight of a worker, in this process."""
    check = Preflight(
        world.app.open_uow, kit or world.app.kit, AHEAD, **{"pass_s": 0.05, **options}
    )
    stopping = asyncio.Event()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(check.run(stopping))
        try:
            yield
        finally:
            stopping.set()


async def results(world: World) -> list[Row]:
    async with world.app.open_uow.read() as uow:
        return list(await uow.session.scalars(select(Row).order_by(col(Row.at))))


async def until_checked(world: World, count: int = 1) -> list[Row]:
    while len(found := await results(world)) < count:
        await asyncio.sleep(0.02)
    return found


async def checked(world: World, kit: Kit | None = None, *, count: int = 1) -> list[Row]:
    async with checking(world, kit):
        return await until_checked(world, count)


async def records(world: World) -> list[SignedRecord]:
    async with world.app.open_uow.read() as uow:
        bodies = await uow.session.scalars(select(col(AuditOutbox.body)).order_by(AuditOutbox.id))
        found = [parse_record(body) for body in bodies]
    return [each for each in found if each.action.startswith("delivery.preflight")]


@dataclass
class Asked:
    """The real adapter, with each question who we are counted, and perhaps other limits, quotas or id."""

    real: Adapter
    asked: list[str]
    changes: dict[str, Any]
    quotas: tuple[Quota, ...] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    @property
    def capabilities(self) -> Any:
        own = self.real.capabilities
        return own if self.quotas is None else replace(own, quotas=self.quotas)

    async def verify(self, credentials: Credentials) -> Profile:
        self.asked.append(credentials.external_id)
        return replace(await self.real.verify(credentials), **self.changes)


def asking(
    world: World, quotas: tuple[Quota, ...] | None = None, **changes: Any
) -> tuple[Kit, list[str]]:
    kit, asked = world.app.kit, []
    platforms = {name: Asked(real, asked, changes, quotas) for name, real in kit.platforms.items()}
    return replace(kit, platforms=platforms), asked
