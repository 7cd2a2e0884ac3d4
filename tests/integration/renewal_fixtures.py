"""A small Karvenia whose sessions end soon, with each renewal counted."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import col, select

from adapters.base import Adapter, Credentials
from scheduler.app import App
from scheduler.audit.record import parse_record
from scheduler.clock import utc_now
from scheduler.db import accounts as rows
from scheduler.db.tables import Account, AuditOutbox, SignIn
from scheduler.practice.network import PracticeNetwork
from scheduler.services import secrets, sign_ins
from scheduler.services.kit import Kit
from tests.support.world import World, found_world

CODE = "hq.bluesky"


@dataclass
class Tide:
    """A clock for the platforms that can be put back: a session from then ends soon today."""

    back_ns: int = 0

    def now_ns(self) -> int:
        return int(utc_now().timestamp() * 1e9) - self.back_ns


@pytest.fixture
def tide() -> Tide:
    return Tide()


@pytest.fixture
async def practice(tmp_path: Path, tide: Tide) -> AsyncIterator[PracticeNetwork]:
    async with PracticeNetwork(tmp_path / "practice", limits=False, now_ns=tide.now_ns) as network:
        yield network


@pytest.fixture(name="ending")
async def ending_fixture(app: App, practice: PracticeNetwork, tide: Tide) -> World:
    """The small Karvenia, signed in on Bluesky 100 minutes ago; its sessions last two hours."""
    tide.back_ns = int(100 * 60 * 1e9)
    world = await found_world(app, practice)
    tide.back_ns = 0
    await age_seals(world)
    return world


@dataclass
class Counted:
    """The real adapter, with each of its renewals counted or replaced."""

    real: Adapter
    asked: list[Credentials]
    behave: Callable[[Credentials], Any] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)

    async def refresh(self, credentials: Credentials) -> Credentials:
        self.asked.append(credentials)
        if self.behave is not None:
            return await self.behave(credentials)
        return await self.real.refresh(credentials)


def counting(
    world: World, behave: Callable[[Credentials], Any] | None = None
) -> tuple[Kit, list[Credentials]]:
    asked: list[Credentials] = []
    kit = world.app.kit
    platforms = {name: Counted(real, asked, behave) for name, real in kit.platforms.items()}
    return replace(kit, platforms=platforms), asked


async def age_seals(world: World) -> None:
    async with world.app.open_uow() as uow:
        for account_id in world.accounts.values():
            found = await rows.lock_sealed(uow, account_id, "session")
            if found is not None:
                found[0].updated_at = uow.now - timedelta(minutes=100)


async def credentials_of(world: World, code: str = CODE) -> Credentials:
    async with world.app.open_uow.read() as uow:
        return await secrets.open_credentials(uow, world.app.kit, await account_of(world, code))


async def account_of(world: World, code: str = CODE) -> Account:
    async with world.app.open_uow.read() as uow:
        return await uow.session.get_one(Account, world.accounts[code])


async def row_of(world: World, code: str = CODE) -> SignIn:
    async with world.app.open_uow.read() as uow:
        return await uow.session.get_one(SignIn, world.accounts[code])


async def actions_of(world: World, code: str = CODE) -> list[tuple[str, Any]]:
    async with world.app.open_uow.read() as uow:
        bodies = await uow.session.scalars(select(col(AuditOutbox.body)).order_by(AuditOutbox.id))
        records = [parse_record(body) for body in bodies]
    subject = str(world.accounts[code])
    return [(each.action, each.detail) for each in records if each.on["id"] == subject]


async def rotations_of(world: World) -> int:
    found = await actions_of(world)
    return sum(action == "token.rotate" for action, _ in found)


async def renew(world: World, kit: Kit | None = None, **options: Any) -> sign_ins.Renewal:
    return await sign_ins.renew(
        world.app.open_uow, kit or world.app.kit, world.accounts[CODE], **options
    )
