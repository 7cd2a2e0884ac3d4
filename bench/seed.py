"""Schedules deliveries to one webhook address for a measurement from outside: `python -m bench.seed`.

PERF_N deliveries over 500 accounts fall due at PERF_DUE (Unix seconds), or from then on PERF_RATE a second; the address
is PERF_URL. The database that `CHANCERY_DATABASE_URL` names is emptied first, so it must be one for measurements.
Everything goes the way that people's posts go: written, submitted, approved by somebody else, sealed.
"""

import asyncio
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Self

import asyncpg
from sqlalchemy.engine import make_url
from yarl import URL

from adapters.registry import build
from scheduler.app import application
from scheduler.db.engine import build_engine
from scheduler.db.migrate import upgrade
from scheduler.logs import configure_logs
from scheduler.publishing.sequencer import Sequencer
from scheduler.services import accounts
from scheduler.services.accounts import NewAccount
from scheduler.services.writing import When
from scheduler.settings import Settings
from scheduler.vault.keyfile import KeyRing
from tests.support.world import World, found_ministry

ACCOUNTS: Final = 500
_TARGETS: Final = 100  # of a post, at most
TEXT: Final = (
    3 * "The consular section in Lipovec opens at 10:00; bring your passport and a photograph. "
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to fall due, and where it goes."""

    count: int
    due: float  #: Unix seconds
    rate: float  #: a second; 0: all at once
    url: URL

    @classmethod
    def from_environment(cls) -> Self:
        return cls(
            count=int(os.environ["PERF_N"]),
            due=float(os.environ["PERF_DUE"]) or time.time() + 60,
            rate=float(os.environ.get("PERF_RATE", "0")),
            url=URL(os.environ["PERF_URL"]),
        )

    def posts(self) -> list[tuple[float, list[int]]]:
        """Due time and accounts of each post; a spread has a post for each delivery."""
        if self.rate:
            return [(self.due + n / self.rate, [n % ACCOUNTS]) for n in range(self.count)]
        lanes = [n % ACCOUNTS for n in range(self.count)]
        starts = range(0, self.count, _TARGETS)
        return [(self.due, lanes[start : start + _TARGETS]) for start in starts]


async def seed(settings: Settings, order: Order) -> None:
    """Make the installation and all of its posts; nothing is left to be sealed."""
    await _empty(settings)
    if not settings.key_file.exists():
        KeyRing.create(settings.key_file, origin="audit.karvenia.example/bench")
    async with application(settings, service="bench", platforms=build, ringing=False) as app:
        world = World(app, None)  # type: ignore[arg-type]  # no practice network
        await found_ministry(world)
        for lane in range(ACCOUNTS):
            await _connect(world, lane, order.url)
        for due, lanes in order.posts():
            await world.scheduled(
                texts={"en": [{"text": TEXT, "media": []}]},
                targets=tuple(f"lane{lane}" for lane in lanes),
                when=When(local=_local(due), zone="UTC"),
            )
        await Sequencer(app.open_uow, app.log_keys, owner="bench").seal_all()


async def _empty(settings: Settings) -> None:
    url = make_url(settings.sqlalchemy_url)
    if url.get_backend_name() == "postgresql":
        plain = url.set(drivername="postgresql", database="postgres")
        server = await asyncpg.connect(plain.render_as_string(hide_password=False))
        await server.execute(f'DROP DATABASE IF EXISTS "{url.database}" WITH (FORCE)')
        await server.execute(f'CREATE DATABASE "{url.database}"')
        await server.close()
    elif settings.sqlite_file is not None:
        settings.sqlite_file.unlink(missing_ok=True)
    engine = build_engine(settings.sqlalchemy_url)
    await upgrade(engine)
    await engine.dispose()


async def _connect(world: World, lane: int, url: URL) -> None:
    new = NewAccount(
        code=f"lane{lane}",
        mission="krv.hq",
        platform="webhook",
        base_url=str(url.origin()),
        identifier=str(url.relative().update_query(lane=str(lane))),
        language="en",
        secret="lipovec" * 5,
    )
    await accounts.connect(world.app.open_uow, world.app.kit, await world.actor("bizjak"), new)


def _local(due: float) -> str:
    return datetime.fromtimestamp(due, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")


def main() -> None:
    configure_logs("WARNING")
    asyncio.run(seed(Settings(), Order.from_environment()))


if __name__ == "__main__":
    main()
