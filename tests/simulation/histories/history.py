"""One history: people, posts, the engine's own steps and rows changed by hand, one after the other on a virtual clock.

A step is an act with a seed of its own, so that a step can be left out and the others stay what they are.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, TypeVar
from uuid import UUID

import structlog
from sqlalchemy.exc import IntegrityError

from scheduler.clock import HOST_CLOCK, HostClock
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor
from scheduler.doorbell import SignedJson
from scheduler.errors import ChanceryError
from scheduler.ids import ID_BYTES
from scheduler.publishing.delivering import Courier
from scheduler.publishing.engine import Engine
from scheduler.services import tokens
from tests.simulation.adapter import SimAdapter
from tests.simulation.cheap_keys import CheapInstanceKey
from tests.simulation.faults import Kind
from tests.simulation.histories import ablations
from tests.simulation.histories.model import Act, Grant, Hand, Model
from tests.simulation.histories.town import AT_REST, POLICIES, Still, Town
from tests.simulation.loop import OUTSIDE, SimLoop
from tests.simulation.ministry import FOUNDED
from tests.simulation.platforms import Effect, Server

T = TypeVar("T")


class NobodyError(Exception):
    """There is nothing or nobody for this act yet."""


@dataclass(frozen=True, slots=True)
class Step:
    act: str
    seed: int

    def __str__(self) -> str:
        return f"{self.act}:{self.seed}"


@dataclass(slots=True)
class Script:
    """What happens in a history; drawn from one seed, or what is left of that."""

    seed: int
    steps: tuple[Step, ...]
    schemer: str  #: who tries to publish alone
    tamperings: tuple[str, ...] = ()  #: only these; none named: all
    length: int = 0  #: how many steps were drawn
    focus: str = ""


class Witness(Still):
    """The platform's side: it keeps what arrives and tells the model at once."""

    def __init__(self, history: "History") -> None:
        self.history = history

    def wall(self) -> datetime:
        return self.history.now()

    def saw_request(self, effect: Effect) -> None:
        history = self.history
        history.say(f"public on {effect.account}: {effect.text}")
        history.model.judge(f"{effect.account}.main", effect.text, history.now())


@dataclass(slots=True)
class Tasks:
    """What the engine starts and does not wait for."""

    loop: SimLoop
    running: set[asyncio.Task[Any]] = field(default_factory=set)

    def create_task(self, what: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self.loop.create_task(what)
        self.running.add(task)
        task.add_done_callback(self.running.discard)
        return task


class History:
    def __init__(self, town: Town, script: Script, ablated: str | None = None) -> None:
        self.town, self.script, self.ablated = town, script, ablated
        self.loop = SimLoop(Random(script.seed))
        self.model = Model(POLICIES[0])
        self.trace: list[str] = []
        self.refusals: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.steps = 0
        self.serial = 0
        self.tampered = False
        self.helped = set[str]()  #: for whom somebody has done something: they try to approve
        self.pause = timedelta(0)  #: what the act asks for; time passes after it
        self.server = Server(Kind.PLAIN, Witness(self))
        self.kit = town.ministry.kit({"sim_plain": SimAdapter(self.server)})
        self.signed = SignedJson(b"simulated")
        self.jobs: list[bytes] = []
        self.codes: list[tuple[str, str, datetime, str]] = []  #: code, person, issued, by whom
        self.starts = FOUNDED + AT_REST

    def now(self) -> datetime:
        return self.starts + timedelta(seconds=self.loop.now_s - 1000)

    def say(self, what: str) -> None:
        self.trace.append(f"{self.now():%d %H:%M:%S} {what}")

    @property
    def broken(self) -> list[str]:
        return [each.rule for each in self.model.broken]

    # The history

    def execute(self) -> "History":
        """Take the script's steps until something is broken."""
        return self.play(self._take_all)

    def play(self, what: Callable[[], None]) -> "History":
        """Begin where everything has been founded, and do this."""
        self.town.store.restore("founded")
        self.town.ministry.clock.read = self.now
        with quiet_logs(), ablations.without(self.town, self.ablated):
            copy_context().run(self._play, what)
        return self

    def _play(self, what: Callable[[], None]) -> None:
        HOST_CLOCK.set(HostClock(utc_now=self.now, monotonic_s=self.loop.time))
        ID_BYTES.set(Random(f"ids {self.script.seed}").randbytes)
        self._begin()
        try:
            what()
        finally:
            self._tear_down()

    def _take_all(self) -> None:
        from tests.simulation.histories.acts import ACTS  # noqa: PLC0415 - acts are written on histories

        for step in self.script.steps:
            self.steps += 1
            self._take(step, ACTS[step.act](self, Random(step.seed)))
            if self.model.broken:
                break

    def _begin(self) -> None:
        self.open_uow = self.town.ministry.open_uow("worker")
        self.open_uow.instance = CheapInstanceKey()  # type: ignore[assignment]
        self.open_uow.ring = self._ring
        self.tasks = Tasks(self.loop)
        self.engine = Engine(self.open_uow, self.kit, worker="one")
        self.courier = Courier(self.open_uow, self.kit, asyncio.Event())
        for person, token in self.town.tokens.items():
            self.model.hands.append(Hand(person, person, token))
            self.model.enrolled.add(person)
        for key, (person, role, mission) in self.town.grants.items():
            self.model.grants[key] = Grant(person, role, mission)

    def _take(self, step: Step, act: Coroutine[Any, Any, str]) -> None:
        try:
            told = self.run(act)
        except NobodyError:
            return
        except ChanceryError as exc:
            self.refusals[exc.code] += 1
            told = f"refused: {exc.code}"
        except IntegrityError as exc:  # the schema's own refusal
            self.refusals["integrity"] += 1
            told = f"refused: {exc.orig}"
        else:
            self.done[step.act] += 1
        self.say(f"{step}  {told}")
        self.settle()
        self.loop.now_s += 0.01  # no two acts of people fall on one instant
        if self.pause:
            self.wait(self.pause)
            self.pause = timedelta(0)
            self.settle()

    def _tear_down(self) -> None:
        for task in list(self.tasks.running):
            task.cancel()
        self.loop.run_while(lambda: bool(self.tasks.running))
        self.loop.close()

    # The loop

    def run(self, what: Coroutine[Any, Any, T]) -> T:
        """Run it to its end; what the engine has in hand goes on only when time passes."""
        task = self.loop.create_task(what)
        self.loop.run_while(lambda: not task.done())
        return task.result()

    def settle(self) -> None:
        """Whatever can happen at this moment happens before the next step."""
        until_s = self.loop.now_s + 0.1
        self.loop.run_while(
            lambda: bool(OUTSIDE.ready) or (self.loop.next_timer() or until_s) < until_s
        )

    def wait(self, delay: timedelta) -> None:
        until_s = self.loop.now_s + delay.total_seconds()
        self.loop.run_while(lambda: bool(self.tasks.running) and self.loop.now_s < until_s)
        self.loop.now_s = max(self.loop.now_s, until_s)

    async def dispatch(self) -> None:
        """A round of the engine: take back what lapsed, claim what is due, and let it go its way."""
        await self.engine._recover()
        await self.engine._claim(self.tasks, self.courier)  # type: ignore[arg-type]

    async def _ring(self, account_id: UUID, due_at: datetime) -> None:
        self.jobs.append(self.signed.dump({"f": "wake_lane", "a": [str(account_id)]}))

    # People

    @asynccontextmanager
    async def by(self, hand: Hand) -> AsyncIterator[tuple[UnitOfWork, Actor]]:
        """A transaction of whoever holds this token."""
        async with self.open_uow() as uow:
            yield uow, await tokens.authenticate(uow, hand.token, via="api")

    def act(self, hand: Hand) -> Act:
        return Act(hand, self.now())

    def rows(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        """A look at the tables from outside, to choose what could happen next."""
        return [tuple(row) for row in self.town.store.monitor.execute(sql, values)]


@contextmanager
def quiet_logs() -> Iterator[None]:
    def drop(*_: object) -> Any:
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(processors=[drop])
    try:
        yield
    finally:
        structlog.configure(**before)
