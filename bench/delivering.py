"""Deliveries from their instant to the platform: all at once, spread, alone, and in front of a long future.

Lateness is the stub's arrival less the instant that was approved; nothing is taken from whoever is measured. CPU time
is counted from shortly before the first instant to the last record, so that starting up is not in it.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import asyncpg

from bench import limit, seed
from bench.line import Line
from bench.seed import Order
from bench.yard import Yard, sleep_until

_BEFORE_S: Final = 4.0  # claims begin three seconds ahead
_POLL_S: Final = 0.25
_PATIENCE_S: Final = 300.0
LANES_PER_POST: Final = 500  # of the future
#: A post and its deliveries again and again, each due a day later or more.
FUTURE: Final = """
WITH copies AS (
  INSERT INTO post SELECT c.* FROM (SELECT p FROM post p LIMIT 1) one, generate_series(1, $1::int) n,
    LATERAL jsonb_populate_record(one.p, jsonb_build_object('id', gen_random_uuid())) c RETURNING id
)
INSERT INTO delivery SELECT c.* FROM (SELECT d FROM delivery d WHERE d.state = 'ready' LIMIT 1) one, copies, account a,
  LATERAL (SELECT now() + interval '1 day' + random() * interval '90 days' AS at) due,
  LATERAL jsonb_populate_record(one.d, jsonb_build_object(
    'id', gen_random_uuid(), 'post_id', copies.id, 'account_id', a.id, 'due_at', due.at, 'wake_at', due.at)) c
"""
_DONE: Final = """
SELECT a.idempotency_key, extract(epoch FROM d.due_at)::float8 FROM delivery d JOIN attempt a ON a.delivery_id = d.id
WHERE d.state IN ('sent', 'verified') AND a.outcome = 'sent'
"""
_LIMIT_DONE: Final = "SELECT id::text, due_at FROM delivery WHERE state = 2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    late_ms: list[float]  #: in ascending order
    per_s: float  #: from the first instant to the last arrival
    cpu_us: dict[str, int]

    def at(self, share: float) -> float:
        """The nearest-rank percentile of the lateness."""
        return self.late_ms[max(1, -(-len(self.late_ms) * round(share * 100) // 100)) - 1]


async def burst(yard: Yard, count: int) -> tuple[Line]:
    return await _rate("burst", yard, count, future=0)


async def backlog(yard: Yard, count: int, future: int) -> tuple[Line]:
    return await _rate("backlog", yard, count, future=future)


async def spread(yard: Yard, count: int, rate: float) -> tuple[Line]:
    ours, least = await _both(yard, count, rate, 0)
    return (Line.of("spread", ours.at(0.99), least.at(0.99), "ms late, p99", ours.cpu_us),)


async def isolated(yard: Yard, count: int) -> tuple[Line]:
    ours, least = await _both(yard, count, 1.0, 0)
    return (Line.of("isolated", ours.at(0.5), least.at(0.5), "ms late, p50", ours.cpu_us),)


async def _rate(name: str, yard: Yard, count: int, *, future: int) -> tuple[Line]:
    ours, least = await _both(yard, count, 0, future)
    return (Line.of(name, ours.per_s, least.per_s, "deliveries/s", ours.cpu_us),)


async def _both(yard: Yard, count: int, rate: float, future: int) -> tuple[Trial, Trial]:
    return await _chancery(yard, count, rate, future), await _limit(yard, count, rate, future)


async def _chancery(yard: Yard, count: int, rate: float, future: int) -> Trial:
    due = _soon(45 + count * (0.04 if rate else 0.01) + future * 1e-4)
    await seed.seed(yard.settings, Order(count=count, due=due, rate=rate, url=yard.url))
    dsn = yard.settings.sqlalchemy_url.replace("+asyncpg", "")
    async with _connected(dsn) as database:
        if future:
            await database.execute(FUTURE, future // LANES_PER_POST)
        await database.execute("VACUUM ANALYZE")
        yard.stub.take_arrivals()
        return await _measure(yard, yard.chancery(), database, _DONE, count, due)


async def _limit(yard: Yard, count: int, rate: float, future: int) -> Trial:
    due = _soon(12 + future * 1e-4)
    await limit.seed(yard.limit_dsn, count=count, due=due, rate=rate, text=seed.TEXT, future=future)
    async with _connected(yard.limit_dsn) as database:
        return await _measure(yard, yard.limit(), database, _LIMIT_DONE, count, due)


async def _measure(
    yard: Yard,
    running: AbstractContextManager[int],
    database: asyncpg.Connection,
    done: str,
    count: int,
    due: float,
) -> Trial:
    with running as pid:
        await sleep_until(due - _BEFORE_S)
        before = yard.cpu(pid)
        await sleep_until(due)
        async with asyncio.timeout(_PATIENCE_S):
            while await database.fetchval(f"SELECT count(*) FROM ({done}) d") < count:
                await asyncio.sleep(_POLL_S)
        cpu_us = yard.cpu(pid).each_us(before, count)
    arrivals = yard.stub.take_arrivals()
    dues = dict(await database.fetch(done))
    if arrivals.keys() != dues.keys():
        raise RuntimeError(f"{len(arrivals)} of {count} posts arrived")
    return Trial(
        late_ms=sorted((arrivals[key] - at) * 1e3 for key, at in dues.items()),
        per_s=count / (max(arrivals.values()) - min(dues.values())),
        cpu_us=cpu_us,
    )


def _soon(seconds: float) -> float:
    return float(round(time.time() + seconds))


@asynccontextmanager
async def _connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()
