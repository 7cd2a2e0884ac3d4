"""What `chancery doctor` looks at; every check says what it found and what to do."""

import platform
import shutil
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

from arq.constants import default_queue_name, health_check_key_suffix
from redis.exceptions import RedisError
from sqlalchemy import func, select, text
from sqlmodel import col

from scheduler import doorbell
from scheduler.app import App, BuildPlatforms, application, redis_url
from scheduler.audit.parsing import MalformedError
from scheduler.audit.record import parse_record
from scheduler.clock import utc_now
from scheduler.commands.installing import (
    DatabaseState,
    find_state,
    refuse_keys_inside_data,
    refuse_outdated,
)
from scheduler.commands.refusals import InstallationMissingError
from scheduler.db import log, preflights, rules, sign_ins
from scheduler.db.tables import Account
from scheduler.db.uow import UnitOfWork
from scheduler.errors import ChanceryError
from scheduler.services.sign_ins import WARNINGS
from scheduler.settings import Settings
from scheduler.vault.keyfile import KeyRing

_PYTHON: Final = (3, 11)
_CLOSED_TO_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_FREE_BYTES: Final = 1 << 30
_SKEW: Final = timedelta(seconds=1)
#: A worker seals four times a second.
_UNSEALED: Final = timedelta(seconds=10)

#: How many of a long list one line names.
_SHOWN: Final = 3

Result = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the doctor's report; `code` is set where a refusal has one."""

    name: str
    result: Result
    message: str
    code: str = ""


async def run_checks(settings: Settings, platforms: BuildPlatforms) -> list[Check]:
    """All checks that can be made: without a database and keys, those inside them are left out."""
    checks = [
        _check_python(),
        _check_data_dir(settings),
        _guarded("key file", lambda: _check_key_file(settings)),
        _check_disk(settings),
    ]
    state, check = await _check_database(settings)
    checks.append(check)
    if state is None or any(each.name == "key file" and each.result == "fail" for each in checks):
        return checks
    async with application(settings, service="cli", platforms=platforms, ringing=False) as app:
        checks += await _check_redis(app)
        async with app.open_uow.read() as uow:
            checks += [await look(uow) for look in _LOOKS]
    return checks


def _check_python() -> Check:
    found = platform.python_version()
    if sys.version_info < _PYTHON:
        return Check(name="python", result="fail", message=f"{found}; 3.11 or newer is needed")
    return Check(name="python", result="ok", message=found)


def _check_data_dir(settings: Settings) -> Check:
    folder = settings.data_dir
    if not folder.is_dir():
        return Check(name="data folder", result="fail", message=f"{folder} is not there")
    if (mode := stat.S_IMODE(folder.stat().st_mode)) & _CLOSED_TO_OTHERS:
        message = f"{folder} is open to others (mode {mode:04o}); run: chmod 700 {folder}"
        return Check(name="data folder", result="fail", message=message)
    return Check(name="data folder", result="ok", message=str(folder))


def _check_key_file(settings: Settings) -> str:
    refuse_keys_inside_data(settings)
    ring = KeyRing(settings.key_file)  # refuses a missing, open or foreign file
    return f"{settings.key_file}, version {ring.current_version}"


def _check_disk(settings: Settings) -> Check:
    folder: Path = settings.data_dir
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    message = f"{free // (1 << 20)} MiB free at {folder}"
    return Check(name="disk", result="ok" if free > _FREE_BYTES else "fail", message=message)


async def _check_database(settings: Settings) -> tuple[DatabaseState | None, Check]:
    try:
        state = await find_state(settings)
        if not state.installed:
            raise InstallationMissingError("nothing is installed in it; run `chancery init`")
        refuse_outdated(state)
    except ChanceryError as exc:
        return None, _refused("database", exc)
    kind = "SQLite" if settings.is_sqlite else "PostgreSQL"
    return state, Check(name="database", result="ok", message=f"{kind}, revision {state.current}")


async def _check_durability(uow: UnitOfWork) -> Check:
    """SQLite must not lose a committed intent when the power goes."""
    if uow.session.get_bind().dialect.name != "sqlite":
        return Check(name="durability", result="ok", message="as PostgreSQL is set up")
    journal = (await uow.session.execute(text("PRAGMA journal_mode"))).scalar_one()
    level = (await uow.session.execute(text("PRAGMA synchronous"))).scalar_one()
    message = f"journal {journal}, synchronous {level}"
    is_safe = (journal, level) == ("wal", 2)
    return Check(name="durability", result="ok" if is_safe else "fail", message=message)


async def _check_clock(uow: UnitOfWork) -> Check:
    skew = abs(await uow.tick() - utc_now())
    message = f"database and this machine differ by {skew.total_seconds():.3f} s"
    return Check(name="clock", result="ok" if skew < _SKEW else "fail", message=message)


async def _check_policy(uow: UnitOfWork) -> Check:
    policy = await rules.get_policy(uow)
    return Check(name="policy", result="ok", message=f"version {policy.version} is in force")


async def _check_accounts(uow: UnitOfWork) -> Check:
    query = (
        select(col(Account.code)).where(col(Account.state) == "paused").order_by(col(Account.code))
    )
    paused = list(await uow.session.scalars(query))
    if paused:
        return Check(name="accounts", result="warn", message=f"paused: {', '.join(paused)}")
    count = (
        await uow.session.execute(select(func.count()).where(col(Account.state) == "active"))
    ).scalar_one()
    return Check(name="accounts", result="ok", message=f"{count} in service")


async def _check_preflight(uow: UnitOfWork) -> Check:
    failed = await preflights.find_failed_ahead(uow)
    if not failed:
        return Check(name="pre-flight", result="ok", message="nothing ahead has failed its check")
    told = [f"{each.delivery_id} on {code}: {each.problems[0]['code']}" for each, code in failed]
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    message = f"{'; '.join(told[:_SHOWN])}{more}; see: chancery delivery show ID"
    return Check(name="pre-flight", result="warn", message=message)


async def _check_sign_ins(uow: UnitOfWork) -> Check:
    ending = await sign_ins.find_ending(uow, uow.now + timedelta(days=max(WARNINGS)))
    if not ending:
        return Check(name="sign-ins", result="ok", message="none is known to end soon")
    told = [f"{account.code} on {row.ends_at:%Y-%m-%d}" for row, account in ending]
    return Check(name="sign-ins", result="warn", message=f"end soon: {', '.join(told)}")


async def _check_redis(app: App) -> list[Check]:
    """Redis, and the sign of life that a worker leaves there; without Redis posts go all the same."""
    redis = doorbell.connect(redis_url(app.settings), app.kit.ring.derive("jobs"))
    try:
        alive = await redis.exists(default_queue_name + health_check_key_suffix)
    except (RedisError, OSError) as exc:
        message = f"does not answer ({type(exc).__name__}); posts go all the same, a second later"
        return [Check(name="redis", result="warn", message=message)]
    finally:
        await redis.aclose()
    worker = Check(name="worker", result="ok", message="alive")
    if not alive:
        worker = Check(name="worker", result="fail", message="no sign of life; start `chancery up`")
    return [Check(name="redis", result="ok", message="answers"), worker]


async def _check_record(uow: UnitOfWork) -> Check:
    """Records that stay unsealed mean that no worker (and so no sequencer) runs, or that one cannot be sealed."""
    waiting = await log.find_unsealed(uow, limit=1)
    if not waiting:
        return Check(name="record", result="ok", message="every record is sealed")
    count = await log.count_unsealed(uow)
    try:
        since = uow.now - parse_record(bytes(waiting[0].body)).at
    except MalformedError as exc:
        return Check(name="record", result="fail", message=f"a record cannot be sealed: {exc}")
    return Check(
        name="record",
        result="fail" if since > _UNSEALED else "ok",
        message=f"{count} wait to be sealed, the oldest for {since.total_seconds():.0f} s",
    )


def _guarded(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name=name, result="ok", message=look())
    except ChanceryError as exc:
        return _refused(name, exc)


def _refused(name: str, error: ChanceryError) -> Check:
    return Check(name=name, result="fail", message=str(error), code=error.code)


_LOOKS: Final = (
    _check_durability,
    _check_clock,
    _check_policy,
    _check_accounts,
    _check_sign_ins,
    _check_preflight,
    _check_record,
)
