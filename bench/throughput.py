"""How fast a burst leaves: one post to 500 accounts, due at one instant: `python -m bench.throughput`.

Counted from the first to the last request by the log of the practice network, which runs in its own process on the same
machine and takes its share of it. One worker, shipped settings; each delivery is sent, recorded, read back and audited.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from bench.stage import DATABASES, describe_machine, stage, until_verified
from scheduler.practice.model import Kind
from tests.support.world import connect

ACCOUNTS: Final = 500
_PATIENCE_S: Final = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    database: str
    deliveries: int
    sent_s: float  #: from the first to the last arrival

    def line(self) -> str:
        return (
            f"{self.database:<11} {self.deliveries:>4} deliveries in {self.sent_s:6.1f} s   "
            f"{self.deliveries / self.sent_s:6.1f} deliveries/s"
        )


async def measure(database: str, *, accounts: int = ACCOUNTS) -> Burst:
    async with stage(database) as place:
        codes: list[str] = []
        for lane in range(accounts // 2):
            codes += await connect(place.world, f"lane{lane}", "krv.hq", "en")
        await place.world.scheduled(
            texts={"en": [{"text": "To everybody, from Lipovec", "media": []}]},
            targets=tuple(codes),
        )
        with place.worker() as worker:
            await until_verified(place.world, accounts, within_s=_PATIENCE_S)
            worker.end()
        arrived = [each.at_ns for each in place.practice.log() if each.kind is Kind.POST]
        if len(arrived) != accounts:
            raise RuntimeError(f"{len(arrived)} of {accounts} posts arrived")
    return Burst(database=database, deliveries=accounts, sent_s=(max(arrived) - min(arrived)) / 1e9)


def main() -> None:
    print(f"A burst to {ACCOUNTS} accounts at one instant ({describe_machine()})")
    for database in DATABASES:
        print("  " + asyncio.run(measure(database)).line(), flush=True)


if __name__ == "__main__":
    main()
