"""How late an isolated due post arrives at its platform: `python -m bench.lateness`.

Sixty posts, each alone at its instant (every 1 or 2 seconds). Lateness is the moment
at which the practice network, in its own process, had read the request, by its log, less the approved instant; both are
wall-clock times of this machine. The worker is the real process with the shipped settings.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from itertools import cycle, islice
from typing import Final

from bench.stage import DATABASES, Stage, describe_machine, stage, until_verified
from scheduler.clock import utc_now
from scheduler.practice.model import Kind
from scheduler.services.writing import When
from tests.support.world import connect

POSTS: Final = 60
_LANES: Final = 6
_GAPS_S: Final = (1, 2)
_LEAD_S: Final = 30  #: drafting and approving all of them takes less


@dataclass(frozen=True, slots=True, kw_only=True)
class Lateness:
    database: str
    late_ms: tuple[float, ...]  #: in ascending order

    def at(self, share: float) -> float:
        """The nearest-rank percentile."""
        rank = max(1, -(-len(self.late_ms) * round(share * 100) // 100))
        return self.late_ms[rank - 1]

    def line(self) -> str:
        return (
            f"{self.database:<11} {len(self.late_ms):>4} posts   p50 {self.at(0.5):6.1f} ms   "
            f"p99 {self.at(0.99):6.1f} ms   max {self.late_ms[-1]:6.1f} ms   "
            f"earliest {self.late_ms[0]:6.1f} ms"
        )


async def measure(database: str, *, posts: int = POSTS) -> Lateness:
    async with stage(database) as place:
        codes: list[str] = []
        for lane in range(_LANES):
            codes += await connect(place.world, f"lane{lane}", "krv.hq", "en")
        due_s = await _schedule(place, codes, posts)
        with place.worker() as worker:
            await until_verified(place.world, posts, within_s=_LEAD_S + 3 * posts)
            worker.end()
        arrived = {
            effect.text: effect.at_ns for effect in place.practice.log() if effect.kind is Kind.POST
        }
        if len(arrived) != posts:
            raise RuntimeError(f"{len(arrived)} of {posts} posts arrived")
    return Lateness(
        database=database,
        late_ms=tuple(sorted(arrived[said] / 1e6 - at * 1e3 for said, at in due_s.items())),
    )


async def _schedule(place: Stage, codes: list[str], posts: int) -> dict[str, float]:
    """Approve all posts, each for its own instant; the instants by text."""
    at = utc_now().replace(microsecond=0) + timedelta(seconds=_LEAD_S)
    due_s = {}
    for number, gap_s, code in zip(
        range(posts), islice(cycle(_GAPS_S), posts), cycle(codes), strict=False
    ):
        said = f"Number {number} from Lipovec"
        local = at.strftime("%Y-%m-%dT%H:%M:%S")
        await place.world.scheduled(
            texts={"en": [{"text": said, "media": []}]},
            targets=(code,),
            when=When(local=local, zone="UTC"),
        )
        due_s[said] = at.timestamp()
        at += timedelta(seconds=gap_s)
    if utc_now().timestamp() > min(due_s.values()) - 5:
        raise RuntimeError("the machine was too slow to approve all posts before the first is due")
    return due_s


def main() -> None:
    print(f"Lateness of an isolated due post at the platform ({describe_machine()})")
    print("  arrival by the platform's own log less the approved instant; every 1 or 2 s one post")
    for database in DATABASES:
        print("  " + asyncio.run(measure(database)).line(), flush=True)


if __name__ == "__main__":
    main()
