"""Karvenia in small, made through the services as people would make it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from sqlmodel import select

from scheduler.app import App
from scheduler.db import persons
from scheduler.db.tables import Delivery, Mission, Post
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor, Role
from scheduler.policy.bundle import pack
from scheduler.practice.accounts import NewAccount as PracticeAccount
from scheduler.practice.model import Platform
from scheduler.practice.network import PracticeNetwork
from scheduler.publishing.engine import Engine
from scheduler.publishing.sequencer import Sequencer
from scheduler.services import accounts, approvals, installation, people, policies, posts
from scheduler.services.accounts import NewAccount
from scheduler.services.installation import NewAdmin
from scheduler.services.people import NewGrant, NewMission
from scheduler.services.policies import Activation
from scheduler.services.writing import When, Writing

POLICY_TEXT = """format: 2
version: karvenia-test-1
lists: {kyiv: {terms: {en: [Kiev]}}}
rules:
  - id: kyiv
    title: The city is Kyiv
    effect: block
    when: {text: {has: [$kyiv]}}
    message: the city is Kyiv in English
    fix: write Kyiv
"""
POLICY = pack({"policy.yaml": POLICY_TEXT})


@dataclass(slots=True)
class World:
    app: App
    practice: PracticeNetwork
    accounts: dict[str, UUID] = field(default_factory=dict)

    @asynccontextmanager
    async def as_(self, code: str) -> AsyncIterator[tuple[UnitOfWork, Actor]]:
        async with self.app.open_uow() as uow:
            person = await persons.get_by_code(uow, code)
            yield uow, await persons.load_actor(uow, person, via="test")

    async def actor(self, code: str) -> Actor:
        async with self.as_(code) as (_, actor):
            return actor

    async def draft(self, **fields: object) -> Post:
        defaults: dict[str, object] = {
            "texts": {"en": [{"text": "Good morning from Lipovec!", "media": []}]},
            "targets": ("hq.mastodon",),
            "when": When(local=None),
        }
        async with self.as_("hocevar") as (uow, actor):
            return await posts.draft(uow, actor, "krv.hq", Writing(**{**defaults, **fields}))  # type: ignore[arg-type]

    async def submit(self, post: Post) -> Post:
        async with self.as_("hocevar") as (uow, actor):
            return await posts.submit(uow, self.app.kit, actor, post.id, revision=post.revision)

    async def approve(self, post: Post, *, by: str = "zorc") -> Post:
        async with self.as_(by) as (uow, actor):
            return await approvals.decide(uow, actor, post.id, digest=str(post.digest))

    async def scheduled(self, **fields: object) -> Post:
        """A post that was drafted, submitted and approved by the usual people."""
        return await self.approve(await self.submit(await self.draft(**fields)))

    async def activate(self, body: bytes) -> Activation:
        """A policy that one admin proposes and another one activates."""
        async with self.as_("bizjak") as (uow, actor):
            await policies.activate(uow, actor, body)
        async with self.as_("oblak") as (uow, actor):
            return await policies.activate(uow, actor, body)

    async def deliveries(self, post: Post) -> list[Delivery]:
        async with self.app.open_uow.read() as uow:
            query = select(Delivery).where(Delivery.post_id == post.id).order_by(Delivery.id)
            return list(await uow.session.scalars(query))

    async def settle(
        self, post: Post, done: Callable[[Delivery], bool], *, within_s: float = 20
    ) -> list[Delivery]:
        """Wait until every delivery of the post is `done`, and fail with their states if not."""
        async with asyncio.timeout(within_s):
            while not all(map(done, found := await self.deliveries(post))):
                await asyncio.sleep(0.05)
        return found

    @asynccontextmanager
    async def working(self, name: str = "test-worker") -> AsyncIterator[Engine]:
        """The engine and the sequencer of a worker, in this process."""
        engine = Engine(self.app.open_uow, self.app.kit, worker=name)
        sequencer = Sequencer(self.app.open_uow, self.app.log_keys, owner=name)
        stopping, sealing = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(sequencer.run(sealing))
            running = group.create_task(engine.run(stopping))
            try:
                yield engine
            finally:
                stopping.set()
                await running
                sealing.set()


def local_in(now: datetime, seconds: float, zone_offset: timedelta = timedelta(0)) -> str:
    """The wall time in UTC some seconds from now, to the second."""
    return (now + timedelta(seconds=seconds) + zone_offset).strftime("%Y-%m-%dT%H:%M:%S")


async def found_world(app: App, practice: PracticeNetwork) -> World:
    world = World(app, practice)
    await found_ministry(world)
    for code, mission, language in (("hq", "krv.hq", "en"), ("kyi", "krv.kyi", "uk")):
        await connect(world, code, mission, language)
    return world


async def found_ministry(world: World) -> None:
    """Missions, people and policy, and no account yet."""
    app = world.app
    async with app.open_uow() as uow:
        await installation.install(
            uow,
            mission=NewMission(
                code="krv.hq",
                name="Ministry of Foreign Affairs of Karvenia",
                kind="headquarters",
                zone="Europe/Ljubljana",
                languages=("sl", "en"),
            ),
            admins=(
                NewAdmin(code="bizjak", name="Rok Bizjak"),
                NewAdmin(code="oblak", name="Sabina Oblak"),
            ),
            policy=POLICY,
            public_keys={},
        )
    await _add_embassies(world)
    await _add_people(world)


async def _add_embassies(world: World) -> None:
    async with world.as_("bizjak") as (uow, actor):
        for code, zone, language in (
            ("krv.kyi", "Europe/Kyiv", "uk"),
            ("krv.tyo", "Asia/Tokyo", "ja"),
        ):
            new = NewMission(
                code=code,
                name=code,
                kind="embassy",
                parent="krv.hq",
                zone=zone,
                languages=(language,),
            )
            await people.add_mission(uow, actor, new)


async def _add_people(world: World) -> None:
    async with world.app.open_uow() as uow:
        for code, name, mission, role in (
            ("hocevar", "Tina Hočevar", "krv.hq", Role.OFFICER),
            ("zorc", "Petra Zorc", "krv.hq", Role.SUPERVISOR),
            ("vidmar", "Luka Vidmar", "krv.hq", Role.SUPERVISOR),
            ("olena", "Olena Marchuk", "krv.kyi", Role.OFFICER),
            ("sato", "Sato Mio", "krv.tyo", Role.OFFICER),
            ("mlakar", "Alenka Mlakar", "krv.hq", Role.AUDITOR),
        ):
            person = await people.insert_person(uow, code, name, (), None)
            missions_ = {m.code: m for m in await _missions(uow)}
            grant = NewGrant(person=code, mission=mission, role=role)
            await people.insert_bootstrap_grant(uow, person, missions_[mission], grant)


async def _missions(uow: UnitOfWork) -> list[Mission]:
    return list(await uow.session.scalars(select(Mission)))


async def connect(world: World, code: str, mission: str, language: str) -> list[str]:
    """Open a profile on both practice platforms and connect them; answers the accounts' codes."""
    codes = []
    admin = await world.actor("bizjak")
    for platform in Platform:
        made = world.practice.open_account(
            platform,
            PracticeAccount(
                handle=f"{code}.karvenia.example" if platform is Platform.BLUESKY else code,
                display_name=code,
            ),
        )
        account = await accounts.connect(
            world.app.open_uow,
            world.app.kit,
            admin,
            NewAccount(
                code=f"{code}.{platform.value}",
                mission=mission,
                platform=platform.value,
                base_url=world.practice.mastodon_url
                if platform is Platform.MASTODON
                else world.practice.bluesky_url,
                identifier="" if platform is Platform.MASTODON else str(made["handle"]),
                language=language,
                secret=str(made.get("token") or made.get("app_password")),
            ),
        )
        world.accounts[account.code] = account.id
        codes.append(account.code)
    return codes
