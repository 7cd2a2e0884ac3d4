"""What every history begins with: a small ministry, founded once for each process, where everybody has a sign-in of their own."""

import asyncio
import shutil
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from sqlmodel import select

from scheduler.audit.keys import InstanceKey, LogKeys
from scheduler.db import migrate, persons
from scheduler.db.tables import Account, Grant, Mission
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor, Role
from scheduler.media.store import MediaStore
from scheduler.policy.bundle import pack
from scheduler.services import accounts, installation, people, tokens
from scheduler.services.accounts import NewAccount
from scheduler.services.installation import NewAdmin
from scheduler.services.people import NewGrant, NewMission
from scheduler.vault.keyfile import KeyRing
from tests.simulation.adapter import SimAdapter
from tests.simulation.cheap_keys import CheapInstanceKey
from tests.simulation.driver import build_simulated_engine
from tests.simulation.faults import Kind
from tests.simulation.ministry import Calm, DatabaseClock, Ministry, founding_time
from tests.simulation.platforms import SECRET, Server
from tests.simulation.store import Store

HQ: Final = "krv.hq"
#: Each mission with the one above it.
TREE: Final = {HQ: "", "krv.kyi": HQ, "krv.kyi.lviv": "krv.kyi", "krv.tyo": HQ}
#: Who has what where from the beginning; whoever has nothing has no sign-in yet either.
ROLES: Final[dict[str, tuple[tuple[Role, str], ...]]] = {
    "bizjak": ((Role.ADMIN, HQ),),
    "oblak": ((Role.ADMIN, HQ),),
    "kos": ((Role.ADMIN, HQ), (Role.OFFICER, "krv.tyo")),
    "hocevar": ((Role.OFFICER, HQ),),
    "zorc": ((Role.SUPERVISOR, HQ),),
    "vidmar": ((Role.SUPERVISOR, HQ),),
    "olena": ((Role.OFFICER, "krv.kyi"),),
    "bondar": ((Role.SUPERVISOR, "krv.kyi"),),
    "sato": ((Role.OFFICER, "krv.tyo"),),
    "lesjak": ((Role.ADMIN, "krv.kyi"), (Role.SUPERVISOR, "krv.tyo")),
    "novak": (),
    "pirc": (),
}
#: Each account with its mission.
ACCOUNTS: Final = {"hq.main": HQ, "kyi.main": "krv.kyi", "tyo.main": "krv.tyo"}
_RULES: Final = """format: 2
version: karvenia-histories-{version}
lists: {{words: {{terms: {{en: [{word}]}}}}}}
rules:
  - id: words
    title: A word that does not leave
    effect: block
    when: {{text: {{has: [$words]}}{more}}}
    message: not with this word
    fix: leave it out
"""
#: When the silence of the third policy begins: it blocks nothing before.
SILENCE: Final = "2026-11-27T18:00:00Z"


def _policy(version: int, word: str, more: str = "") -> bytes:
    return pack({"policy.yaml": _RULES.format(version=version, word=word, more=more)})


WORDS: Final = ("Kiev", "Lipovetz", "poll")
POLICIES: Final = (
    _policy(1, WORDS[0]),
    _policy(2, WORDS[1]),
    _policy(3, WORDS[2], f", publish_at: {{after: {SILENCE}}}"),
)


#: It is the runs with faults that need these two people.
_NOBODY: Final = Actor(person_id=UUID(int=0), grants=(), via="nobody")


class Still(Calm):
    """No fault ever strikes."""

    def reach_now(self, point: object, process: object) -> bool:  # type: ignore[override]
        return False


@dataclass(slots=True)
class Town:
    """The founded ministry, what its tables hold being kept as an image, and who has which token."""

    ministry: Ministry
    tokens: dict[str, str]  #: by person
    people: dict[UUID, str]
    grants: dict[UUID, tuple[str, Role, str]]
    accounts: dict[str, UUID]

    @property
    def store(self) -> Store:
        return self.ministry.store

    def close(self) -> None:
        self.ministry.close()


def found() -> Town:
    """Found it through the services, with the schema that the migrations make: its triggers belong to the rules."""
    memory = Path("/dev/shm")
    folder = Path(
        tempfile.mkdtemp(prefix="chancery-town-", dir=memory if memory.is_dir() else None)
    )
    try:
        return _found(folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _found(folder: Path) -> Town:
    store, clock = Store(folder), DatabaseClock()
    ring = KeyRing.create(folder / "keys" / "keys.json", origin="audit.karvenia.example/log1")
    seeds = ring.log
    ministry = Ministry(
        folder,
        store,
        build_simulated_engine(store, clock),
        clock,
        ring,
        InstanceKey.from_seed(ring.instance_seed),
        LogKeys.from_seeds(origin=seeds.origin, ed25519=seeds.ed25519, ml_dsa_44=seeds.ml_dsa_44),
        MediaStore(folder / "media"),
        _NOBODY,
        _NOBODY,
    )
    town = Town(ministry, {}, {}, {}, {})
    with founding_time():
        asyncio.run(_fill(town))
    store.keep_image("founded")
    return town


async def _fill(town: Town) -> None:
    ministry = town.ministry
    await migrate.upgrade(ministry.engine)
    open_uow = ministry.open_uow("cli")
    open_uow.instance = CheapInstanceKey()  # type: ignore[assignment]
    async with open_uow() as uow:
        await _install(uow)
    async with open_uow() as uow:
        await _insert_people(uow)
    async with open_uow() as uow:
        for code in (code for code, roles in ROLES.items() if roles):
            person = await persons.get_by_code(uow, code)
            issued = await tokens.enrol(uow, person, issued_by=None)
            town.tokens[code] = (await tokens.redeem(uow, issued.code)).token
    async with open_uow.read() as uow:
        admin = await tokens.authenticate(uow, town.tokens["bizjak"], via="cli")
    kit = ministry.kit({"sim_plain": SimAdapter(Server(Kind.PLAIN, Still()))})
    for code, mission in ACCOUNTS.items():
        new = NewAccount(
            code=code,
            mission=mission,
            platform="sim_plain",
            base_url=f"https://{code.split('.')[0]}.karvenia.example",
            language="en",
            secret=SECRET,
        )
        town.accounts[code] = (await accounts.connect(open_uow, kit, admin, new)).id
    async with open_uow.read() as uow:
        await _remember(uow, town)
    await ministry.engine.dispose()


async def _install(uow: UnitOfWork) -> None:
    await installation.install(
        uow,
        mission=_mission(HQ),
        admins=(
            NewAdmin(code="bizjak", name="Rok Bizjak"),
            NewAdmin(code="oblak", name="Sabina Oblak"),
        ),
        policy=POLICIES[0],
        public_keys={},
    )


def _mission(code: str) -> NewMission:
    return NewMission(
        code=code,
        name=code,
        kind="headquarters" if code == HQ else "mission",
        parent=TREE[code] or None,
        zone="UTC",
        languages=("en",),
    )


async def _insert_people(uow: UnitOfWork) -> None:
    found = {each.code: each for each in await uow.session.scalars(select(Mission))}
    for code, above in TREE.items():
        if code not in found:
            found[code] = await people.insert_mission(uow, _mission(code), found[above], None)
    for code, roles in ROLES.items():
        person = await persons.find_by_code(uow, code)
        if person is None:
            person = await people.insert_person(uow, code, code.title(), (), None)
            for role, mission in roles:
                new = NewGrant(person=code, mission=mission, role=role)
                await people.insert_bootstrap_grant(uow, person, found[mission], new)


async def _remember(uow: UnitOfWork, town: Town) -> None:
    places = {each.id: each.code for each in await uow.session.scalars(select(Mission))}
    for person in await persons.find_all(uow):
        town.people[person.id] = person.code
    for grant in await uow.session.scalars(select(Grant)):
        what = town.people[grant.person_id], Role(grant.role), places[grant.mission_id]
        town.grants[grant.id] = what
    assert len(list(await uow.session.scalars(select(Account)))) == len(ACCOUNTS)


#: The longest that anything in the beginning forbids: histories begin later.
AT_REST: Final = timedelta(hours=30)
