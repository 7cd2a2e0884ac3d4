"""Is the process alive, and may it be given work? Neither says anything a stranger could use."""

from datetime import timedelta
from typing import Final

from aiohttp import web
from sqlalchemy.exc import DBAPIError

from scheduler.app import App
from scheduler.audit.parsing import MalformedError
from scheduler.db import log, migrate
from scheduler.db.uow import DatabaseUnavailableError

#: A record that waits longer than this for the sequencer means that none is running.
MOST_LAG: Final = timedelta(seconds=30)


async def check(app: App) -> dict[str, str]:
    """The name of each check, and `ok` or what is wrong."""
    try:
        return {"database": "ok", "schema": await _schema(app), "sequencer": await _sequencer(app)}
    except (DatabaseUnavailableError, DBAPIError, OSError):
        return {"database": "unavailable", "schema": "unknown", "sequencer": "unknown"}


async def alive(_request: web.Request) -> web.Response:
    return web.json_response({"status": "alive"})


async def _schema(app: App) -> str:
    current, newest = await migrate.find_revisions(app.open_uow.engine)
    return "ok" if current == newest else "migration needed"


async def _sequencer(app: App) -> str:
    async with app.open_uow.read() as uow:
        try:
            lag = await log.find_lag(uow)
        except MalformedError:
            return "a record cannot be sealed"
    return "ok" if lag <= MOST_LAG else f"behind by {int(lag.total_seconds())} s"


async def find_trouble(app: App) -> str:
    """What keeps this process from being of use, for its watchdog: without the database it serves nobody."""
    try:
        async with app.open_uow.read():
            return ""
    except DatabaseUnavailableError:
        return "the database does not answer"
