"""Migrations run as a step of their own, before the processes start; never at import."""

from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

_FOLDER: Final = Path(__file__).parents[2] / "alembic"


async def upgrade(engine: AsyncEngine) -> None:
    """Bring the database to the newest revision; on the newest already, change nothing."""
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade)


async def find_revisions(engine: AsyncEngine) -> tuple[str | None, str | None]:
    """The database's revision, and the newest one that this program knows."""
    async with engine.connect() as connection:
        current = await connection.run_sync(_current)
    return current, ScriptDirectory.from_config(_config()).get_current_head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
