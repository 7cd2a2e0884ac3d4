"""The installation on this machine: is it there, is its database up to date, and making one from nothing."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col

from scheduler.app import App, BuildPlatforms, application
from scheduler.commands.refusals import (
    DatabaseOutdatedError,
    InstallationMissingError,
    KeyFileInsideDataError,
)
from scheduler.db import missions, persons
from scheduler.db.engine import build_engine
from scheduler.db.migrate import find_revisions, upgrade
from scheduler.db.tables import Mission
from scheduler.db.uow import DatabaseUnavailableError
from scheduler.domain.people import Role
from scheduler.policy.bundle import pack
from scheduler.policy.shipped import read_shipped
from scheduler.services import adopting, tokens
from scheduler.services.adopting import Adopted
from scheduler.services.installation import NewAdmin, install
from scheduler.services.people import NewMission
from scheduler.services.tokens import IssuedCode
from scheduler.settings import Settings, SettingsError
from scheduler.vault.keyfile import KeyFileMissingError, KeyRing

_LOCALTIME: Final = Path("/etc/localtime")
_MISSING: Final = "nothing is installed here yet; run `chancery init`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """What `init` needs to know: the first mission and its admins."""

    mission: NewMission
    admins: tuple[NewAdmin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Founded:
    """The installation, and what has to be kept; `codes` are shown this once."""

    mission: Mission
    codes: tuple[IssuedCode, ...]
    trust: str
    settings: Settings


def read_settings() -> Settings:
    """Read `CHANCERY_*`.

    Raises:
        SettingsError: one of them cannot be used.
    """
    try:
        settings = Settings()
    except ValidationError as exc:
        first = exc.errors(include_input=False, include_url=False)[0]
        name = f"CHANCERY_{'_'.join(map(str, first['loc'])).upper()}"
        raise SettingsError(f"{name}: {first['msg']}") from exc
    settings.check()
    return settings


def default_founding() -> Founding:
    """An installation for a first look, to be made without a question."""
    return Founding(
        mission=NewMission(
            code="hq",
            name="Ministry",
            kind="headquarters",
            zone=system_zone(),
            languages=("en",),
        ),
        admins=(
            NewAdmin(code="admin-one", name="First admin"),
            NewAdmin(code="admin-two", name="Second admin"),
        ),
    )


def system_zone() -> str:
    """This machine's IANA zone, or UTC where it does not say."""
    _, found, zone = str(_LOCALTIME.resolve()).partition("/zoneinfo/")
    return zone.removeprefix("posix/") if found else "UTC"


def refuse_keys_inside_data(settings: Settings) -> None:
    """Raise `KeyFileInsideDataError` when a copy of the data folder would hold the keys."""
    if settings.key_file.resolve().is_relative_to(settings.data_dir.resolve()):
        raise KeyFileInsideDataError(
            f"the key file {settings.key_file} lies in the data folder; set CHANCERY_KEY_FILE to another place"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseState:
    """The database's revision and the newest one, and whether somebody was installed in it."""

    current: str | None = None
    newest: str | None = None
    installed: bool = False


async def find_state(settings: Settings) -> DatabaseState:
    """Look at the database; where there is no SQLite file, looking makes none."""
    if settings.database_url is None and not (settings.data_dir / "chancery.db").exists():
        return DatabaseState()
    engine = build_engine(settings.sqlalchemy_url)
    try:
        current, newest = await find_revisions(engine)
        installed = current is not None and await _has_root(engine)
    except OSError as exc:  # asyncpg's own, when nobody listens there
        raise DatabaseUnavailableError("the database does not answer") from exc
    except SQLAlchemyError as exc:
        raise DatabaseUnavailableError(f"the database refuses: {exc}") from exc
    finally:
        await engine.dispose()
    return DatabaseState(current=current, newest=newest, installed=installed)


async def is_installed(settings: Settings) -> bool:
    return (await find_state(settings)).installed


def refuse_outdated(state: DatabaseState) -> None:
    """Raise `DatabaseOutdatedError` when the database is older or newer than this program."""
    if state.current != state.newest:
        raise DatabaseOutdatedError(
            f"the database has revision {state.current}, this program {state.newest}; "
            "run `chancery db upgrade`"
        )


async def require_installed(settings: Settings) -> None:
    """Refuse to start on nothing, or on a database of another revision.

    Raises:
        InstallationMissingError: `chancery init` has not been run.
        KeyFileMissingError: it has, but its keys are gone.
        DatabaseOutdatedError: the database is older or newer than this program.
    """
    state = await find_state(settings)
    if not state.installed:
        raise InstallationMissingError(_MISSING)
    KeyRing(settings.key_file)
    refuse_outdated(state)


async def migrate(settings: Settings) -> None:
    """Bring the database to the newest revision."""
    engine = build_engine(settings.sqlalchemy_url)
    try:
        await upgrade(engine)
    finally:
        await engine.dispose()


async def adopt(settings: Settings, platforms: BuildPlatforms) -> Adopted | None:
    """Seal what an older release has left, where somebody is installed."""
    if not await is_installed(settings):
        return None
    async with (
        application(settings, service="cli", platforms=platforms, ringing=False) as app,
        app.open_uow() as uow,
    ):
        return await adopting.adopt(uow, app.kit)


async def reseal_rows(settings: Settings, platforms: BuildPlatforms) -> list[str]:
    """Seal the rows whose seals are broken; answers their names."""
    await require_installed(settings)
    async with (
        application(settings, service="cli", platforms=platforms, ringing=False) as app,
        app.open_uow() as uow,
    ):
        return list(await adopting.believe(uow))


async def found(settings: Settings, platforms: BuildPlatforms, founding: Founding) -> Founded:
    """Make the installation, or find it as it is: keys, folder, database, mission and admins."""
    refuse_keys_inside_data(settings)
    make_data_dir(settings)
    if not settings.key_file.exists():
        await _make_keys(settings)
    await migrate(settings)
    await adopt(settings, platforms)
    async with application(settings, service="cli", platforms=platforms, ringing=False) as app:
        trust = app.trust.encode().decode()
        async with app.open_uow() as uow:
            made = await install(
                uow,
                mission=founding.mission,
                admins=founding.admins,
                policy=pack(read_shipped("neutral")),
                public_keys={"trust": trust},
            )
    return Founded(mission=made.mission, codes=made.codes, trust=trust, settings=settings)


async def renew_codes(app: App) -> tuple[IssuedCode, ...]:
    """New enrolment codes for the first admins who hold no token: nobody else could give them one."""
    async with app.open_uow() as uow:
        root = await missions.find_root(uow)
        if root is None:
            raise InstallationMissingError(_MISSING)
        issued = []
        for grant, mission, person in await persons.find_grants(uow):
            first = grant.bootstrap and grant.role == Role.ADMIN and mission.id == root.id
            if first and person.active and not await persons.find_tokens(uow, person.id):
                issued.append(await tokens.enrol(uow, person, issued_by=None))
    return tuple(issued)


def make_data_dir(settings: Settings) -> None:
    settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.data_dir.chmod(0o700)


async def _make_keys(settings: Settings) -> None:
    if await is_installed(settings):
        raise KeyFileMissingError(
            f"there is an installation, but not its key file {settings.key_file}; put it back from its copy"
        )
    host = urlsplit(settings.public_url).hostname or "localhost"
    KeyRing.create(settings.key_file, origin=f"{host}/log1")


async def _has_root(engine: AsyncEngine) -> bool:
    async with engine.connect() as connection:
        query = select(col(Mission.id)).where(col(Mission.parent_id).is_(None))
        return (await connection.execute(query)).first() is not None
