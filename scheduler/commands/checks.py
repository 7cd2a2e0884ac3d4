"""What `chancery doctor` looks at; every check says what it found and what to do."""

import platform
import shutil
import stat
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

from redis.exceptions import RedisError
from sqlalchemy import text

from scheduler import doorbell
from scheduler.alerting.ways import open_channels
from scheduler.app import App, BuildPlatforms, application, redis_url
from scheduler.audit.parsing import MalformedError
from scheduler.clock import utc_now
from scheduler.commands import movement
from scheduler.commands.advice import Check, find, fine, refused
from scheduler.commands.installing import (
    DatabaseState,
    find_state,
    refuse_keys_inside_data,
    refuse_outdated,
)
from scheduler.commands.refusals import InstallationMissingError
from scheduler.db import alerts, figures, log, preflights, rules, sign_ins
from scheduler.db.uow import UnitOfWork
from scheduler.errors import ChanceryError
from scheduler.services.sign_ins import WARNINGS
from scheduler.settings import Settings, SettingsError
from scheduler.vault.keyfile import KeyRing

_PYTHON: Final = (3, 11)
_CLOSED_TO_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_FREE_BYTES: Final = 1 << 30
_SKEW: Final = timedelta(seconds=1)
#: A worker seals four times a second.
_UNSEALED: Final = timedelta(seconds=10)

#: How many of a long list one line names.
_SHOWN: Final = 3


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
        redis, worker_lives = await _check_redis(app)
        checks += [redis, _check_worker(worker_lives)]
        async with app.open_uow.read() as uow:
            checks += [await look(uow) for look in _LOOKS]
            checks += await movement.look(uow, worker_lives=worker_lives)
        checks.append(await _check_alerts(app))
    return checks


def _check_python() -> Check:
    found = platform.python_version()
    if sys.version_info < _PYTHON:
        return find("python_old", found=found)
    return fine("python", found)


def _check_data_dir(settings: Settings) -> Check:
    folder = settings.data_dir
    if not folder.is_dir():
        return find("data_folder_missing", folder=folder)
    if (mode := stat.S_IMODE(folder.stat().st_mode)) & _CLOSED_TO_OTHERS:
        return find("data_folder_open", folder=folder, mode=f"{mode:04o}")
    return fine("data folder", str(folder))


def _check_key_file(settings: Settings) -> str:
    refuse_keys_inside_data(settings)
    ring = KeyRing(settings.key_file)  # refuses a missing, open or foreign file
    return f"{settings.key_file}, version {ring.current_version}"


def _check_disk(settings: Settings) -> Check:
    folder: Path = settings.data_dir
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    told = {"free": free // (1 << 20), "folder": folder}
    if free < _FREE_BYTES:
        return find("disk_low", **told)
    return fine("disk", "{free} MiB free at {folder}".format(**told))


async def _check_database(settings: Settings) -> tuple[DatabaseState | None, Check]:
    try:
        state = await find_state(settings)
        if not state.installed:
            raise InstallationMissingError("nothing is installed in it; run `chancery init`")
        refuse_outdated(state)
    except ChanceryError as exc:
        return None, refused("database", exc.code, str(exc))
    kind = "SQLite" if settings.is_sqlite else "PostgreSQL"
    return state, fine("database", f"{kind}, revision {state.current}")


async def _check_redis(app: App) -> tuple[Check, bool | None]:
    """Redis, and whether a worker has left its sign of life there; None: nobody can tell."""
    redis = doorbell.connect(redis_url(app.settings), app.kit.ring.derive("jobs"))
    try:
        lives = await doorbell.hear_worker(redis)
    except (RedisError, OSError) as exc:
        if app.settings.redis_url is None:
            return find("redis_not_started"), None
        return find("redis_away", why=type(exc).__name__), None
    finally:
        await redis.aclose(close_connection_pool=True)
    return fine("redis", "answers"), lives


def _check_worker(lives: bool | None) -> Check:  # noqa: FBT001 - the one thing it is about
    match lives:
        case True:
            return fine("worker", "alive")
        case False:
            return find("worker_missing")
        case None:
            return find("worker_unseen")


async def _check_durability(uow: UnitOfWork) -> Check:
    """SQLite must not lose a committed intent when the power goes."""
    if uow.session.get_bind().dialect.name != "sqlite":
        return fine("durability", "as PostgreSQL is set up")
    journal = (await uow.session.execute(text("PRAGMA journal_mode"))).scalar_one()
    level = (await uow.session.execute(text("PRAGMA synchronous"))).scalar_one()
    if (journal, level) != ("wal", 2):
        return find("durability_weak", journal=journal, level=level)
    return fine("durability", f"journal {journal}, synchronous {level}")


async def _check_clock(uow: UnitOfWork) -> Check:
    skew = await uow.tick() - utc_now()
    seconds = f"{abs(skew).total_seconds():.3f}"
    if abs(skew) > _SKEW:
        return find(
            "clock_off", skew=seconds, direction="ahead" if skew > timedelta(0) else "behind"
        )
    return fine("clock", f"database and this machine differ by {seconds} s")


async def _check_policy(uow: UnitOfWork) -> Check:
    policy = await rules.find_policy(uow)
    if policy is None:
        return find("policy_changed")
    return fine("policy", f"version {policy.version} is in force")


async def _check_accounts(uow: UnitOfWork) -> Check:
    accounts = await figures.find_accounts(uow)
    if not accounts:
        return find("accounts_missing")
    paused = [each for each in accounts if each.state == "paused"]
    if paused:
        which = "; ".join(f"{each.code} ({each.state_reason or 'no reason'})" for each in paused)
        code = "accounts_all_paused" if len(paused) == len(accounts) else "accounts_paused"
        return find(code, which=which)
    return fine("accounts", f"{len(accounts)} in service")


async def _check_preflight(uow: UnitOfWork) -> Check:
    failed = await preflights.find_failed_ahead(uow)
    if not failed:
        return fine("pre-flight", "nothing ahead has failed its check")
    told = [f"{each.delivery_id} on {code}: {each.problems[0]['code']}" for each, code in failed]
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return find("preflight_failed", which="; ".join(told[:_SHOWN]) + more)


async def _check_sign_ins(uow: UnitOfWork) -> Check:
    ending = await sign_ins.find_ending(uow, uow.now + timedelta(days=max(WARNINGS)))
    if not ending:
        return fine("sign-ins", "none is known to end soon")
    told = [f"{account.code} on {row.ends_at:%Y-%m-%d}" for row, account in ending]
    return find("sign_ins_ending", which=", ".join(told))


async def _check_record(uow: UnitOfWork) -> Check:
    """Records that stay unsealed mean that no worker (and so no sequencer) runs, or that one cannot be sealed."""
    try:
        lag = await log.find_lag(uow)
    except MalformedError as exc:
        return find("record_unreadable", why=exc)
    count = await log.count_unsealed(uow)
    if lag > _UNSEALED:
        return find("record_unsealed", count=count, age=f"{lag.total_seconds():.0f}")
    return fine("record", f"{count} wait to be sealed" if count else "every record is sealed")


async def _check_alerts(app: App) -> Check:
    """Whether anybody is told what needs a person, and whether it arrived in the last day."""
    try:
        async with open_channels(app.settings) as channels:
            ways = " and ".join(each.way.target.value for each in channels)
    except SettingsError as exc:
        return refused("alerts", exc.code, str(exc))
    if not ways:
        return find("alerts_untold")
    async with app.open_uow.read() as uow:
        lost = await alerts.count_lost(uow, uow.now - alerts.TOLD_WITHIN)
    if lost:
        amounts = ", ".join(f"{amount} by {target}" for target, amount in sorted(lost.items()))
        return find("alerts_lost", amounts=amounts)
    return fine("alerts", f"by {ways}")


def _guarded(name: str, look: Callable[[], str]) -> Check:
    try:
        return fine(name, look())
    except ChanceryError as exc:
        return refused(name, exc.code, str(exc))


_LOOKS: Final = (
    _check_durability,
    _check_clock,
    _check_policy,
    _check_accounts,
    _check_sign_ins,
    _check_preflight,
    _check_record,
)
