"""The ministry that every run begins with: founded once for each process, through the services as people would."""

import asyncio
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import select

from scheduler.audit.keys import InstanceKey, LogKeys
from scheduler.clock import HOST_CLOCK, HostClock
from scheduler.db import persons
from scheduler.db.seals import RowSeals
from scheduler.db.tables import Base, Media, Mission
from scheduler.db.uow import UnitOfWork, UnitOfWorkFactory
from scheduler.domain.people import Actor, Role
from scheduler.ids import ID_BYTES
from scheduler.media.intake import MediaIntake
from scheduler.media.store import MediaStore
from scheduler.policy.bundle import pack
from scheduler.services import accounts, approvals, installation, people, posts, sequencing
from scheduler.services.accounts import NewAccount
from scheduler.services.installation import NewAdmin
from scheduler.services.kit import Kit
from scheduler.services.people import NewGrant, NewMission
from scheduler.services.writing import When, Writing
from scheduler.vault.keyfile import KeyRing
from scheduler.vault.vault import Vault
from tests.simulation.adapter import SimAdapter
from tests.simulation.driver import build_simulated_engine
from tests.simulation.faults import Kind
from tests.simulation.platforms import SECRET, Effect, Server
from tests.simulation.store import Store

FOUNDED: Final = datetime(2026, 11, 26, 10, 0, tzinfo=UTC)
#: The first post's time; the second one follows a second later.
DUE: Final = FOUNDED + timedelta(seconds=60)
SCENES: Final = ("text", "pair", "media", "thread")
#: Some posts go on after the clock has jumped by an hour.
_LATE: Final = {"text": 15, "pair": 90, "media": 90, "thread": 15}
PICTURE: Final = b"a picture, as far as a simulated platform can tell"
_POLICY: Final = pack(
    {
        "policy.yaml": """format: 2
version: karvenia-simulated-1
lists: {kyiv: {terms: {en: [Kiev]}}}
rules:
  - id: kyiv
    title: The city is Kyiv
    effect: block
    when: {text: {has: [$kyiv]}}
    message: the city is Kyiv in English
    fix: write Kyiv
"""
    }
)


class Calm:
    """No chance and no fault: the nature of the time in which the ministry is founded."""

    patient_servers = repeats_requests = False

    def chance(self) -> float:
        return 1.0

    def spread(self, low: float, high: float) -> float:
        return 0.0

    def weather(self, *, at: object = None) -> None:
        return None

    async def reach(self, point: object) -> None:
        return None

    def reach_now(self, point: object, process: object) -> None:
        return None

    def wall(self) -> datetime:
        return FOUNDED

    def session_ended(self, session: str | None) -> bool:
        return False

    def saw_call(self, server: object, call: object) -> None:
        return None

    def saw_request(self, effect: Effect) -> None:
        return None

    saw_effect = saw_request


@dataclass(slots=True)
class Ministry:
    """What runs share: the database with its images, the keys, and who may do what."""

    folder: Path
    store: Store
    engine: AsyncEngine
    clock: "DatabaseClock"
    ring: KeyRing
    instance: InstanceKey
    log_keys: LogKeys
    media: MediaStore
    admin: Actor
    supervisor: Actor

    def open_uow(self, service: str) -> UnitOfWorkFactory:
        return UnitOfWorkFactory(
            engine=self.engine,
            instance=self.instance,
            service=service,
            version="simulated",
            seals=RowSeals(self.ring.derive("rows")),
        )

    def kit(self, platforms: Mapping[str, Any]) -> Kit:
        return Kit(
            platforms=platforms,
            vault=Vault(self.ring),
            ring=self.ring,
            media=self.media,
            intake=MediaIntake(),
        )

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


class DatabaseClock:
    """What `chancery_now()` answers; a run puts its own clock here."""

    def __init__(self) -> None:
        self.read = lambda: FOUNDED

    def __call__(self) -> datetime:
        return self.read()


@contextmanager
def founding_time() -> Iterator[None]:
    rng = random.Random(20261126)
    clock = HOST_CLOCK.set(HostClock(utc_now=lambda: FOUNDED, monotonic_s=lambda: 1.0))
    ids = ID_BYTES.set(rng.randbytes)
    try:
        yield
    finally:
        HOST_CLOCK.reset(clock)
        ID_BYTES.reset(ids)


def found() -> Ministry:
    """Found the ministry, with an image for each class of platform and scene."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="chancery-sim-", dir=memory if memory.is_dir() else None))
    store, clock = Store(folder), DatabaseClock()
    ring = KeyRing.create(folder / "keys" / "keys.json", origin="audit.karvenia.example/log1")
    seeds = ring.log
    log_keys = LogKeys.from_seeds(
        origin=seeds.origin, ed25519=seeds.ed25519, ml_dsa_44=seeds.ml_dsa_44
    )
    engine = build_simulated_engine(store, clock)
    instance = InstanceKey.from_seed(ring.instance_seed)
    media = MediaStore(folder / "media")
    ministry = Ministry(
        folder,
        store,
        engine,
        clock,
        ring,
        instance,
        log_keys,
        media,
        None,
        None,  # type: ignore[arg-type]
    )
    with founding_time():
        asyncio.run(_found(ministry))
    return ministry


async def _found(ministry: Ministry) -> None:
    async with ministry.engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    open_uow = ministry.open_uow("cli")
    async with open_uow() as uow:
        await _install(uow)
    async with open_uow() as uow:
        await _insert_people(uow)
    async with open_uow() as uow:
        ministry.admin = await _actor(uow, "bizjak")
        ministry.supervisor = await _actor(uow, "zorc")
    kit = ministry.kit({f"sim_{kind}": SimAdapter(Server(kind, Calm())) for kind in Kind})
    for kind in Kind:
        new = NewAccount(
            code=f"hq.{kind}",
            mission="krv.hq",
            platform=f"sim_{kind}",
            base_url=f"https://{kind}.karvenia.example",
            language="en",
            secret=SECRET,
        )
        await accounts.connect(open_uow, kit, ministry.admin, new)
    await _insert_picture(ministry, open_uow)
    await _seal(ministry, open_uow)
    ministry.store.keep_image("founded")
    for kind in Kind:
        for scene in SCENES:
            ministry.store.restore("founded")
            await _schedule(open_uow, kit, kind, scene)
            await _seal(ministry, open_uow)
            ministry.store.keep_image(image_name(kind, scene))
    await ministry.engine.dispose()


def image_name(kind: Kind, scene: str) -> str:
    return f"{kind}_{scene}"


async def _install(uow: UnitOfWork) -> None:
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
        policy=_POLICY,
        public_keys={},
    )


async def _insert_people(uow: UnitOfWork) -> None:
    [mission] = await uow.session.scalars(select(Mission))
    for code, name, role in (
        ("hocevar", "Tina Hočevar", Role.OFFICER),
        ("zorc", "Petra Zorc", Role.SUPERVISOR),
    ):
        person = await people.insert_person(uow, code, name, (), None)
        grant = NewGrant(person=code, mission="krv.hq", role=role)
        await people.insert_bootstrap_grant(uow, person, mission, grant)


async def _actor(uow: UnitOfWork, code: str) -> Actor:
    return await persons.load_actor(uow, await persons.get_by_code(uow, code), via="cli")


async def _insert_picture(ministry: Ministry, open_uow: UnitOfWorkFactory) -> None:
    """Pictures are cleaned elsewhere; here it matters only that the bytes are read and named."""
    digest = ministry.media.put(PICTURE)
    async with open_uow() as uow:
        [mission] = await uow.session.scalars(select(Mission))
        uow.session.add(
            Media(
                sha256=digest,
                mission_id=mission.id,
                mime="image/png",
                length=len(PICTURE),
                width=1,
                height=1,
                uploaded_by=ministry.admin.person_id,
                created_at=uow.now,
            )
        )


async def _seal(ministry: Ministry, open_uow: UnitOfWorkFactory) -> None:
    async with open_uow() as uow:
        await sequencing.seal(uow, ministry.log_keys, owner="founding")
    ministry.store.monitor.execute(
        "UPDATE audit_head SET owner = '', lease_until = '2026-11-26T09:00:00.000000Z'"
    )


def _texts(scene: str, number: int) -> list[dict[str, Any]]:
    first: dict[str, Any] = {"text": f"Number {number} from Lipovec", "media": []}
    if number == 1 and scene == "media":
        digest = sha256(PICTURE).hexdigest()
        first["media"] = [{"sha256": digest, "alt": "Lipovec at dawn"}]
    if number == 1 and scene == "thread":
        return [first, {"text": "Number 1, continued", "media": []}]
    return [first]


async def _schedule(open_uow: UnitOfWorkFactory, kit: Kit, kind: Kind, scene: str) -> None:
    for number in (1, 2) if scene == "pair" else (1,):
        due = DUE + timedelta(hours=1, seconds=number - 1)  # Ljubljana is an hour ahead
        writing = Writing(
            texts={"en": _texts(scene, number)},
            targets=(f"hq.{kind}",),
            when=When(local=due.strftime("%Y-%m-%dT%H:%M:%S"), late_minutes=_LATE[scene]),
        )
        async with open_uow() as uow:
            author = await _actor(uow, "hocevar")
            post = await posts.draft(uow, author, "krv.hq", writing)
        async with open_uow() as uow:
            post = await posts.submit(uow, kit, author, post.id, revision=post.revision)
        async with open_uow() as uow:
            approver = await _actor(uow, "zorc")
            await approvals.decide(uow, approver, post.id, digest=str(post.digest))
