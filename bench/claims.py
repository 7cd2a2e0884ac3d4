"""What a claim costs in front of a long future: `python -m bench.claims`, with a million and ten million deliveries.

5,000 deliveries of 500 accounts are due; each claim is rolled back, so that all find the same. PostgreSQL only: ten
million rows need about 10 GB of disk and a quarter of an hour.
"""

import asyncio
import statistics
import time
from datetime import timedelta
from typing import Final

import asyncpg
import click

from adapters.registry import build
from bench import seed
from bench.delivering import FUTURE, LANES_PER_POST
from bench.seed import Order
from bench.stage import describe_machine
from bench.yard import sleep_until, yard
from scheduler.app import App, application
from scheduler.logs import configure_logs
from scheduler.services import publishing

_CLAIMS: Final = 60
_DUE: Final = 5_000
_LIMITS: Final = (1, 200)


async def _claim(app: App, limit: int) -> float:
    """How long one claim takes, in milliseconds."""
    async with app.open_uow() as uow:
        began = time.perf_counter()
        found = await publishing.claim(uow, worker="bench", ahead=timedelta(seconds=3), limit=limit)
        took_ms = (time.perf_counter() - began) * 1000
        if len(found) != limit:
            raise RuntimeError(f"{len(found)} of {limit} were claimed")
        await uow.session.rollback()
        uow.records.clear()  # of what did not happen
    return took_ms


async def measure(sizes: tuple[int, ...]) -> None:
    async with yard() as place:
        due = float(round(time.time() + 90))
        await seed.seed(place.settings, Order(count=_DUE, due=due, rate=0, url=place.url))
        await sleep_until(due)
        connection = await asyncpg.connect(place.settings.sqlalchemy_url.replace("+asyncpg", ""))
        async with application(
            place.settings, service="bench", platforms=build, ringing=False
        ) as app:
            there = 0
            for size in sizes:
                await connection.execute(FUTURE, (size - there) // LANES_PER_POST)
                await connection.execute("VACUUM ANALYZE")
                there = size
                for limit in _LIMITS:
                    took = sorted([await _claim(app, limit) for _ in range(_CLAIMS)])
                    print(
                        f"  {size:>10} rows waiting, claims of {limit:>3}: "
                        f"p50 {statistics.median(took):6.2f} ms   p99 {took[-1]:6.2f} ms",
                        flush=True,
                    )
        await connection.close()


@click.command()
@click.option("--size", "sizes", type=int, multiple=True, default=(1_000_000, 10_000_000))
def main(sizes: tuple[int, ...]) -> None:
    """Print what a claim takes with so many deliveries waiting for later days."""
    configure_logs("WARNING")
    print(f"Claims in front of a long future ({describe_machine()})")
    asyncio.run(measure(sizes))


if __name__ == "__main__":
    main()
