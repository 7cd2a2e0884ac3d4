"""A Redis that loses, doubles, delays and forges; the bytes in it are those of the product's serializer."""

import asyncio
from collections.abc import Callable
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from uuid import UUID

from scheduler.doorbell import ForgedJobError, SignedJson


@dataclass(slots=True)
class Bell:
    """Rings of all processes go into one queue; each job goes to one of those that listen."""

    rng: Random
    signed: SignedJson
    mood: str = "well"  #: or gone, flushed, evil
    jobs: list[bytes] = field(default_factory=list)
    listeners: dict[str, Callable[[], object]] = field(default_factory=dict)
    outside: Context = field(default_factory=copy_context)
    forged_run: int = 0
    seen: list[bytes] = field(default_factory=list)

    async def ring(self, account_id: UUID, due_at: datetime) -> None:
        job = self.signed.dump({"f": "wake_lane", "a": [str(account_id)]})
        self.seen.append(job)
        chance = self.rng.random()
        if self.mood == "gone" or chance < 0.1:
            return
        times = 2 if chance < 0.2 else 1
        for _ in range(times):
            self._queue(job, self.rng.uniform(0, 3 if chance > 0.9 else 0.1))

    def turn_bad(self) -> str:
        self.mood = self.rng.choice(("gone", "flushed", "evil"))
        if self.mood == "flushed":
            self.jobs.clear()
        if self.mood == "evil":
            for _ in range(5):
                self._queue(self._forge(), self.rng.uniform(0, 5))
        return self.mood

    def _forge(self) -> bytes:
        body = self.signed.dump({"f": "wake_lane", "a": ["forged"]})
        return self.rng.randbytes(32) + body[32:]

    def _queue(self, job: bytes, delay_s: float) -> None:
        self.jobs.append(job)
        asyncio.get_running_loop().call_later(
            delay_s, self._deliver, job, context=self.outside.copy()
        )

    def _deliver(self, job: bytes) -> None:
        if job not in self.jobs or not self.listeners:
            return
        self.jobs.remove(job)
        try:
            told = self.signed.load(job)
        except ForgedJobError:
            return
        if told["a"] == ["forged"]:
            self.forged_run += 1
        self.listeners[self.rng.choice(sorted(self.listeners))]()
