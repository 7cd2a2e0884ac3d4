"""Sets the stage: processes, and the fictional ministry with its missions, people and practice accounts."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import aiohttp
from pydantic import SecretStr
from sqlmodel import col, select

from adapters.base import Adapter
from scheduler.app import App, BuildPlatforms, application
from scheduler.db import missions, persons
from scheduler.db.migrate import upgrade
from scheduler.db.tables import Account, Mission
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Role
from scheduler.domain.thread import split_thread
from scheduler.policy.bundle import pack
from scheduler.policy.shipped import read_shipped
from scheduler.practice.scenario import Scenario, ScenarioAccount, ScenarioPerson, ScenarioPost
from scheduler.services import accounts, installation, people, tokens
from scheduler.services.accounts import NewAccount
from scheduler.services.installation import NewAdmin
from scheduler.services.people import NewGrant, NewMission
from scheduler.settings import Settings
from scheduler.vault.keyfile import KeyRing

#: The scenario's roles in the product's words; every other role writes.
_ROLES: Final[Mapping[str, Role]] = {
    "press_supervisor": Role.SUPERVISOR,
    "admin": Role.ADMIN,
    "trainer": Role.ADMIN,
    "archivist": Role.AUDITOR,
    "auditor": Role.AUDITOR,
}
#: Whoever only writes; everybody else decides in an office of the name of their role.
_WRITING: Final = ("officer", "digital_officer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the demo lives; without addresses, SQLite and a private Redis in the folder."""

    folder: Path
    database_url: str | None = None
    redis_url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Practice:
    """The running practice network."""

    process: subprocess.Popen[str]
    urls: Mapping[str, str]  #: by platform
    admin_token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """An account of the demo: the practice profile that stands for an account of the scenario."""

    account: Account
    stands_for: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Everybody and everything on stage."""

    tokens: Mapping[str, str]  #: by person
    homes: Mapping[str, str]  #: a person's mission
    supervisors: tuple[str, ...]
    auditor: str
    twins: tuple[Twin, ...]


def start_practice(folder: Path) -> Practice:
    """Start the simulated platforms as a process of their own, on free ports.

    Their rate limits are off: a fortnight's posts are read and written within a minute, from one address.
    """
    folder.mkdir()
    command = [sys.executable, "-m", "scheduler.practice", "--no-limits", "--data", str(folder)]
    with (folder / "process.log").open("w") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)  # noqa: S603 - our own program
    ready = json.loads(process.stdout.readline() if process.stdout else "")
    return Practice(
        process=process,
        urls={name: ready[name] for name in ("mastodon", "bluesky")},
        admin_token=ready["admin_token"],
    )


def clear_folder(folder: Path) -> None:
    """Remove what an earlier demo left; anything that does not look like one is left alone.

    Raises:
        FileExistsError: the folder holds other things.
    """
    marker = folder / ".chancery-demo"
    if folder.exists() and any(folder.iterdir()) and not marker.exists():
        raise FileExistsError(f"{folder} holds something else; choose another with --folder")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, mode=0o700)
    marker.touch()


def demo_settings(places: Places, practice: Practice) -> Settings:
    """An installation of its own beside the practice network, whose ports it may reach."""
    return Settings(
        data_dir=places.folder / "data",
        key_file=places.folder / "keys" / "keys.json",
        listen=f"127.0.0.1:{_free_port(8700)}",
        egress_allow=frozenset(url.split("//")[1] for url in practice.urls.values()),
        database_url=_secret(places.database_url),
        redis_url=_secret(places.redis_url),
    )


def child_environment(settings: Settings) -> dict[str, str]:
    """The same settings for the processes of the installation."""
    addresses = {
        "CHANCERY_DATABASE_URL": settings.database_url,
        "CHANCERY_REDIS_URL": settings.redis_url,
    }
    given = {name: url.get_secret_value() for name, url in addresses.items() if url is not None}
    return {
        **_environment(),
        **given,
        "CHANCERY_DATA_DIR": str(settings.data_dir),
        "CHANCERY_KEY_FILE": str(settings.key_file),
        "CHANCERY_LISTEN": settings.listen,
        "CHANCERY_EGRESS_ALLOW": ",".join(sorted(settings.egress_allow)),
        "CHANCERY_LOG_LEVEL": "WARNING",
    }


async def set_stage(
    scenario: Scenario, settings: Settings, practice: Practice, platforms: BuildPlatforms
) -> tuple[Cast, dict[str, dict[str, list[str]]]]:
    """Make keys, database, missions, people and accounts; answers also the texts as they fit each account."""
    settings.data_dir.mkdir(mode=0o700)
    KeyRing.create(settings.key_file, origin="practice.localhost/log1")
    async with application(settings, service="cli", platforms=platforms, ringing=False) as app:
        await upgrade(app.open_uow.engine)
        admin = await _found_ministry(app, scenario)
        issued, homes = await _enrol_people(app, scenario)
        twins = [
            twin
            for account in scenario.accounts
            for twin in await _open_twins(app, practice, account, admin)
        ]
        texts = {post.code: _fitting(app, post, twins) for post in scenario.posts}
    supervisors = tuple(p.code for p in scenario.people if _has(p, Role.SUPERVISOR))
    auditor = next(p.code for p in scenario.people if _has(p, Role.AUDITOR))
    cast = Cast(
        tokens=issued,
        homes=homes,
        supervisors=supervisors,
        auditor=auditor,
        twins=tuple(twins),
    )
    return cast, texts


def _has(person: ScenarioPerson, role: Role) -> bool:
    return any(_ROLES.get(name, Role.OFFICER) is role for name, _ in person.roles)


async def _found_ministry(app: App, scenario: Scenario) -> str:
    """The first mission, its admins and the policy; answers an admin's code."""
    admins = [person for person in scenario.people if _has(person, Role.ADMIN)]
    policy = pack(read_shipped("ministry"))
    async with app.open_uow() as uow:
        await installation.install(
            uow,
            mission=_new_mission(scenario.root),
            admins=tuple(NewAdmin(code=person.code, name=person.name) for person in admins),
            policy=policy,
            public_keys={"trust": app.trust.encode().decode()},
        )
        known = {scenario.root.code: await missions.find_root(uow)}
        for mission in scenario.missions[1:]:
            parent = known[str(mission.parent)]
            known[mission.code] = await people.insert_mission(
                uow, _new_mission(mission), parent, None
            )
    return admins[0].code


def _new_mission(mission: Any) -> NewMission:  # noqa: ANN401 - a ScenarioMission, field for field
    return NewMission(
        code=mission.code,
        name=mission.name,
        kind=mission.kind,
        parent=mission.parent,
        city=mission.city,
        country=mission.country,
        zone=mission.zone,
        languages=mission.languages,
    )


async def _enrol_people(app: App, scenario: Scenario) -> tuple[dict[str, str], dict[str, str]]:
    """Give everybody their roles and a token, as each would get it by redeeming their own code."""
    issued, homes = {}, {}
    for member in scenario.people:
        async with app.open_uow() as uow:
            person = await persons.find_by_code(uow, member.code)
            if person is None:
                person = await people.insert_person(
                    uow, member.code, member.name, member.languages, None
                )
            for grant in _grants(member, scenario):
                mission = await _mission(uow, grant.mission)
                await people.insert_bootstrap_grant(uow, person, mission, grant)
            code = await tokens.enrol(uow, person, issued_by=None)
        async with app.open_uow() as uow:
            issued[member.code] = (await tokens.redeem(uow, code.code)).token
        homes[member.code] = member.roles[0][1]
    return issued, homes


def _grants(member: ScenarioPerson, scenario: Scenario) -> list[NewGrant]:
    """A person's roles as grants; admins got theirs with the installation, and all who write may exercise."""
    grant = partial(NewGrant, person=member.code)
    held = []
    for name, place in member.roles:
        role = _ROLES.get(name, Role.OFFICER)
        office = "" if name.startswith(_WRITING) else name
        if role is Role.OFFICER and office:
            held.append(grant(mission=place, role=Role.CLEARER, office=office))
        held.append(
            grant(mission=place, role=role, office=office if role is Role.SUPERVISOR else "")
        )
    if any(each.role is Role.OFFICER for each in held):
        held += [grant(mission=place, role=Role.OFFICER) for place in scenario.exercise_missions]
    return [each for each in held if each.role is not Role.ADMIN]


async def _mission(uow: UnitOfWork, code: str) -> Mission:
    found = await uow.session.scalars(select(Mission).where(col(Mission.code) == code))
    return found.one()


async def _open_twins(
    app: App, practice: Practice, account: ScenarioAccount, admin: str
) -> list[Twin]:
    """The account's own practice profile, or one on each platform while its own has no adapter."""
    own = {account.platform} & practice.urls.keys()
    twins = []
    for platform in sorted(own or practice.urls.keys()):
        profile = await _open_profile(practice, platform, account)
        async with app.open_uow.read() as uow:
            actor = await persons.load_actor(uow, await persons.get_by_code(uow, admin), via="cli")
        connected = await accounts.connect(
            app.open_uow,
            app.kit,
            actor,
            NewAccount(
                code=account.code if own else f"{account.code}.{platform}",
                mission=account.mission,
                platform=platform,
                base_url=practice.urls[platform],
                identifier=profile.get("handle", "") if "app_password" in profile else "",
                language=account.language,
                secret=profile.get("token") or profile["app_password"],
            ),
        )
        twins.append(Twin(account=connected, stands_for=account.code))
    return twins


async def _open_profile(
    practice: Practice, platform: str, account: ScenarioAccount
) -> dict[str, str]:
    slug = account.code.replace(".", "-")
    handle = slug.replace("-", "_") if platform == "mastodon" else f"{slug}.practice.example"
    new = {"handle": handle, "display_name": account.name, "language": account.language}
    url = f"{practice.urls[platform]}/practice/accounts"
    headers = {"Authorization": f"Bearer {practice.admin_token}"}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json=new, headers=headers) as answer,
    ):
        answer.raise_for_status()
        profile: dict[str, str] = await answer.json()
    return profile


def _fitting(app: App, post: ScenarioPost, twins: list[Twin]) -> dict[str, list[str]]:
    """The post's text for each of its twins, split into a thread where one post cannot hold it."""
    fitting = {}
    for twin in twins:
        if twin.stands_for in post.targets:
            adapter, limits = app.kit.platform(twin.account.platform), twin.account.limits

            def fits(text: str, adapter: Adapter = adapter, limits: Any = limits) -> bool:  # noqa: ANN401
                length = adapter.length(text, limits)
                return length.used <= length.limit

            fitting[twin.account.code] = [
                part for text in post.texts for part in split_thread(text, fits)
            ]
    return fitting


def _environment() -> dict[str, str]:
    """This process's environment without settings of another installation."""
    return {
        key: value
        for key, value in os.environ.items()  # noqa: TID251 - passed on, not read
        if not key.startswith("CHANCERY_")
    }


def _secret(url: str | None) -> SecretStr | None:
    return None if url is None else SecretStr(url)


def _free_port(wanted: int) -> int:
    for port in (wanted, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")
