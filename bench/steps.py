"""What each transaction of a delivery costs this process, for groups of a given size: `python -m bench.steps`.

No platform is asked: its answer is made up, so that the figures are those of claim, prepare, intend, record, look and
seal alone. CPU time hardly depends on what else the machine does. PostgreSQL's own is not in it.
"""

import asyncio
import gc
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar

from adapters.base import Published, ReadBack, Slots, fill
from bench.stage import DATABASES, Stage, describe_machine, stage
from scheduler.db.uow import UnitOfWork
from scheduler.logs import configure_logs
from scheduler.publishing.sequencer import Sequencer
from scheduler.services import looks, outcomes, publishing
from scheduler.services.publishing import Intent, Work
from tests.support.world import connect

_ACCOUNTS: Final = 200
_ROUNDS: Final = 3
_AHEAD: Final = timedelta(seconds=3)
_UNTIL_LOOK_S: Final = 1.1

Each = TypeVar("Each")


@dataclass(slots=True)
class Costs:
    """CPU seconds and deliveries by step."""

    stage: Stage
    group: int
    cpu_s: Counter[str] = field(default_factory=Counter)
    count: Counter[str] = field(default_factory=Counter)

    @asynccontextmanager
    async def measured(self, step: str, amount: int) -> AsyncIterator[None]:
        began_s = time.process_time()
        yield
        self.cpu_s[step] += time.process_time() - began_s  # type: ignore[assignment]
        self.count[step] += amount

    async def each_group(
        self,
        step: str,
        items: Sequence[Each],
        run: Callable[[UnitOfWork, Sequence[Each]], Awaitable[Sequence[Any]]],
    ) -> list[Any]:
        told: list[Any] = []
        for start in range(0, len(items), self.group):
            some = items[start : start + self.group]
            async with self.measured(step, len(some)), self.stage.world.app.open_uow() as uow:
                told += await run(uow, some)
        return told

    def lines(self) -> list[str]:
        each = {step: self.cpu_s[step] / self.count[step] * 1e6 for step in self.count}
        return [f"{step:<8} {cost:6.0f} µs" for step, cost in each.items()] + [
            f"{'all':<8} {sum(each.values()):6.0f} µs"
        ]


async def measure(database: str, *, group: int) -> Costs:
    async with stage(database) as place:
        await _schedule(place)
        sequencer = Sequencer(place.world.app.open_uow, place.world.app.log_keys, owner="bench")
        await sequencer.seal_all()
        gc.freeze()
        costs = Costs(place, group)
        for number in range(_ROUNDS):
            await _round(costs, number, sequencer)
        return costs


async def _schedule(place: Stage) -> None:
    codes: list[str] = []
    for lane in range(_ACCOUNTS // 2):
        codes += await connect(place.world, f"lane{lane}", "krv.hq", "en")
    for number in range(_ROUNDS):
        for start in range(0, _ACCOUNTS, 100):  # a post has at most so many
            await place.world.scheduled(
                texts={"en": [{"text": f"Number {number}, from Lipovec", "media": []}]},
                targets=tuple(codes[start : start + 100]),
            )


async def _round(costs: Costs, number: int, sequencer: Sequencer) -> None:
    kit = costs.stage.world.app.kit
    claims = await costs.each_group("claim", range(_ACCOUNTS), _claim)
    works = await costs.each_group("prepare", claims, lambda u, c: publishing.prepare(u, kit, c))
    ready = [(work, _filled(costs.stage, work)) for work in works]
    intents: list[Intent] = await costs.each_group(
        "intend", ready, lambda u, r: publishing.intend(u, kit, r)
    )
    ended = [
        (intent, Published(remote_id=f"{number}-{index}", url="", ref={"id": str(index)}))
        for index, intent in enumerate(intents)
    ]
    await costs.each_group("record", ended, lambda u, e: outcomes.record(u, kit, e))
    await asyncio.sleep(_UNTIL_LOOK_S)
    ids = [claim.delivery_id for claim in claims]
    found = await costs.each_group("look", ids, lambda u, i: looks.start(u, kit, i))
    stands = ReadBack(found=True, differences=(), evidence_sha256="0" * 64)
    seen = [(look, [stands]) for look in found]
    await costs.each_group("readback", seen, looks.record_read_back)
    async with costs.measured("seal", _ACCOUNTS):
        await sequencer.seal_all()


async def _claim(uow: UnitOfWork, some: Sequence[int]) -> Sequence[Any]:
    return await publishing.claim(uow, worker="bench", ahead=_AHEAD, limit=len(some))


def _filled(place: Stage, work: Work) -> bytes:
    adapter = place.world.app.kit.platform(work.platform)
    slots = Slots(
        media={},
        parent=None,
        root=None,
        record_key=adapter.record_key(work.approved_for, work.key),
        created_at=work.created_at,
    )
    return fill(work.payload.request, slots)


def main() -> None:
    configure_logs("WARNING")
    for group in (200, 20):
        for database in DATABASES:
            print(
                f"CPU of a delivery by step, {group} at a time, {database} ({describe_machine()})"
            )
            for line in asyncio.run(measure(database, group=group)).lines():
                print("  " + line, flush=True)


if __name__ == "__main__":
    main()
