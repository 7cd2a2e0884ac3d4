"""How fast a burst leaves: 20 posts to 50 accounts each, due at once: `python -m bench.throughput`.

Counted from the first to the last request by the log of the practice network, which runs in its own process on the same
machine and takes its share of it. One worker, shipped settings; each delivery is sent, recorded, read back and audited.
The worker's CPU time, its start included, hardly depends on what else the machine does; the rate does.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.stage import DATABASES, describe_machine, stage, until_verified
from scheduler.practice.model import Kind
from tests.support.world import connect

ACCOUNTS: Final = 50
POSTS: Final = 20
_PATIENCE_S: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    database: str
    deliveries: int
    sent_s: float  #: from the first to the last arrival
    worker_cpu_s: float

    def line(self) -> str:
        return (
            f"{self.database:<11} {self.deliveries:>4} deliveries in {self.sent_s:6.1f} s   "
            f"{self.deliveries / self.sent_s:6.1f} deliveries/s   "
            f"{self.worker_cpu_s / self.deliveries * 1000:5.2f} ms of the worker's CPU each"
        )


async def measure(database: str, *, accounts: int = ACCOUNTS, posts: int = POSTS) -> Burst:
    deliveries = accounts * posts
    async with stage(database) as place:
        codes: list[str] = []
        for lane in range(accounts // 2):
            codes += await connect(place.world, f"lane{lane}", "krv.hq", "en")
        for number in range(posts):
            await place.world.scheduled(
                texts={"en": [{"text": f"Number {number}, from Lipovec", "media": []}]},
                targets=tuple(codes),
            )
        with place.worker() as worker:
            await until_verified(place.world, deliveries, within_s=_PATIENCE_S)
            cpu_s = _cpu_s(worker.pid)
            worker.end()
        arrived = [each.at_ns for each in place.practice.log() if each.kind is Kind.POST]
        if len(arrived) != deliveries:
            raise RuntimeError(f"{len(arrived)} of {deliveries} posts arrived")
    return Burst(
        database=database,
        deliveries=deliveries,
        sent_s=(max(arrived) - min(arrived)) / 1e9,
        worker_cpu_s=cpu_s,
    )


def _cpu_s(pid: int) -> float:
    """User and system time of the process so far, as Linux accounts it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    print(f"A burst of {POSTS} posts to {ACCOUNTS} accounts each ({describe_machine()})")
    for database in DATABASES:
        print("  " + asyncio.run(measure(database)).line(), flush=True)


if __name__ == "__main__":
    main()
