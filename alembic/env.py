"""Runs migrations with the application's own settings, or on the connection it is handed."""

import asyncio

from alembic import context
from sqlalchemy.engine import Connection

from scheduler.db.engine import build_engine
from scheduler.db.tables import Base
from scheduler.settings import Settings


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


async def run_alone() -> None:
    engine = build_engine(Settings().sqlalchemy_url)
    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    asyncio.run(run_alone())
