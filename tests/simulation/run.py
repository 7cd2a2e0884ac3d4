"""One run: two workers, a platform, people and a supervisor, from the image to the end of every delivery."""

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextvars import copy_context
from datetime import datetime, timedelta
from hashlib import sha256
from random import Random
from typing import Any

from scheduler.clock import HOST_CLOCK, HostClock
from scheduler.doorbell import SignedJson
from scheduler.ids import ID_BYTES
from tests.simulation import ablations, office
from tests.simulation.adapter import SimAdapter
from tests.simulation.bell import Bell
from tests.simulation.cases import Case
from tests.simulation.cheap_keys import CheapInstanceKey, CheapLogKeys
from tests.simulation.faults import DATABASE_FAULTS, NETWORK_FAULTS, Fault, Point
from tests.simulation.invariants import Invariants
from tests.simulation.leaping import Leaper
from tests.simulation.loop import OUTSIDE, PROCESS, Process, SimLoop
from tests.simulation.ministry import FOUNDED, Ministry, image_name
from tests.simulation.platforms import SESSION, TIMEOUT_S, Call, Effect, Server
from tests.simulation.store import Facts, Session
from tests.simulation.workers import Worker, captured

_IN_CALL = frozenset(
    {
        Point.DURING_UPLOAD,
        Point.DURING_REFRESH,
        Point.AFTER_CONNECT,
        Point.AFTER_HEADERS,
        Point.AFTER_BODY,
        Point.AFTER_EFFECT,
    }
)
_WORKERS = ("one", "two")


class Run:
    """The nature of the platforms, the watcher of the database, and the supervisor of the workers."""

    def __init__(self, ministry: Ministry, case: Case) -> None:
        self.ministry, self.case = ministry, case
        self.switches = ablations.switches(case.ablated)
        self.rng = Random(f"run {case.seed} {case.point} {case.fault}")
        self.loop = SimLoop(self.rng)
        self.trace: list[tuple[float, str]] = []
        self.logged: list[str] = []
        self.crashes: Counter[str] = Counter()
        self.hits: list[str] = []
        self.done = False
        self.steps = 0
        self.offset_s = 0.0
        self.jumped_s = -1e9
        self.trouble_until_s = 0.0
        self.full_until_s = 0.0
        self.shaken_s = -1e9  #: when a process was last hit or came back
        self.workers: list[Worker] = []
        self._pending = list(case.strikes)
        self._seen: Counter[Point] = Counter()
        self._storm: dict[Point | None, Fault] = {}
        self._names = iter(("three", "four", "five", "six", "seven", "eight", "nine", "ten"))
        self.patient_servers = case.patient
        self.repeats_requests = self.switches.repeats_requests
        self.server = Server(case.kind, self)
        self.adapter = SimAdapter(self.server, **self.switches.adapter)
        self.bell = Bell(self.rng, SignedJson(b"simulated"))
        self.instance, self.log_keys = CheapInstanceKey(), CheapLogKeys()
        self.begins_s = self.loop.now_s
        self.starts = FOUNDED + timedelta(seconds=self.rng.uniform(50, 63))
        self.invariants = Invariants(self)
        self._ended_sessions = (
            {f"{SESSION}-{number + 100}" for number in range(1, 4)} if case.renews else set()
        )

    # Time

    def wall(self) -> datetime:
        """The database's clock."""
        return self.starts + timedelta(seconds=self.loop.now_s - self.begins_s + self.offset_s)

    def database_clock(self) -> datetime:
        if self.switches.host_clock_decides:
            return HOST_CLOCK.get().utc_now()
        return self.wall()

    def say(self, what: str) -> None:
        self.trace.append((round(self.loop.now_s - self.begins_s, 4), what))

    # The run

    def execute(self) -> "Run":
        store = self.ministry.store
        store.restore(image_name(self.case.kind, self.case.scene))
        self.invariants.begin(store)
        self.ministry.clock.read = self.database_clock
        store.watcher = self
        self.loop.wanted = Leaper(self).wanted
        with captured(self), self.switches.in_force(store):
            try:
                context = copy_context()
                context.run(self._begin)
                broken = self.invariants.broken
                self.loop.run_while(lambda: not self.done and not broken)
                if not broken:
                    self.invariants.end()
            finally:
                self.steps = self.loop.steps
                self._tear_down()
        return self

    @property
    def digest(self) -> str:
        """Two runs are the same when this is."""
        return sha256(repr((self.steps, self.trace, self.logged)).encode()).hexdigest()

    def _begin(self) -> None:
        HOST_CLOCK.set(HostClock(utc_now=self.wall, monotonic_s=self.loop.time))
        ID_BYTES.set(self.rng.randbytes)
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self.loop)
        self._outside = self.bell.outside = copy_context()
        try:
            for name in _WORKERS:
                self.loop.call_later(self.rng.uniform(0, 1), self._start, name)
            if not self.case.quiet:
                office.plan(self)
        finally:
            asyncio._set_running_loop(before)

    def _start(self, name: str) -> None:
        self.shaken_s = self.loop.now_s
        self.say(f"worker {name} starts")
        self.workers.append(Worker(self, name))

    def worker_ended(self, worker: Worker) -> None:
        """The supervisor starts another one."""
        self.bell.listeners.pop(worker.process.name, None)
        worker.process.dead = True
        self.shaken_s = self.loop.now_s
        self.say(f"worker {worker.process.name} ended")
        name = next(self._names)
        context = self._outside.copy()
        self.loop.call_later(self.rng.uniform(0.1, 3), self._start, name, context=context)

    def _tear_down(self) -> None:
        """Every task ends in the ordinary way, without a database: nothing is left for the collector."""
        store = self.ministry.store
        store.over = True
        store.end_transactions(lambda _session: True, "the run is over")
        self.loop.wanted = None
        for process in self.loop.processes:
            process.runs = True
        self._end_tasks([worker.task for worker in self.workers])  # they end their own
        for _ in range(9):
            if not (left := [task for task in asyncio.all_tasks(self.loop) if not task.done()]):
                break
            self._end_tasks(left)
        else:
            raise RuntimeError("tasks that do not end")
        for worker in self.workers:
            if worker.task.done() and not worker.task.cancelled():
                worker.task.exception()
        store.watcher = None
        self.loop.close()

    def _end_tasks(self, tasks: list[asyncio.Task[None]]) -> None:
        """Cancel these, and let all that belongs to them end; a closing connection must not be cut off."""
        for task in tasks:
            task.cancel()
        end_s = self.loop.now_s + 5
        self.loop.run_while(
            lambda: (
                self.loop.now_s < end_s
                and not all(task.done() for task in asyncio.all_tasks(self.loop))
            )
        )

    # Faults

    async def reach(self, point: Point) -> None:
        if self.reach_now(point, PROCESS.get()) or not self.patient_servers:
            await asyncio.sleep(0)  # a process that was hit goes no further

    def reach_now(self, point: Point, process: Process) -> bool:
        """Whether a fault has hit."""
        if not self._pending:
            return False
        self._seen[point] += 1
        due = [
            strike
            for strike in self._pending
            if strike.point is point and self._seen[point] >= strike.nth
        ]
        for strike in due:
            self._pending.remove(strike)
            self.hits.append(str(strike))
            self.say(f"{strike} hits {process.name}")
            self._hit(strike.fault, point, process)
        return bool(due)

    def _hit(self, fault: Fault, point: Point, process: Process) -> None:
        if fault in NETWORK_FAULTS:
            self._break_network(fault, point)
        elif fault in DATABASE_FAULTS:
            self._break_database(fault, process)
        elif fault is Fault.REDIS:
            self.say(f"redis is {self._in_outside(self.bell.turn_bad)}")
        elif fault is Fault.CLOCK_JUMP:
            self.offset_s += self.rng.choice((-3600, 3600))
            self.jumped_s = self.shaken_s = self.loop.now_s
        else:
            self._break_process(fault, process)

    def _break_process(self, fault: Fault, process: Process) -> None:
        worker = next((each for each in self.workers if each.process is process), None)
        if worker is None or process.dead:
            return
        self.shaken_s = self.loop.now_s
        match fault:
            case Fault.KILL:
                process.runs = False
                self.ministry.store.end_transactions(
                    lambda session: session.process is process, "killed"
                )
                self.worker_ended(worker)
            case Fault.TERM:
                worker.stopping.set()
            case _:
                process.runs = False
                seconds = 60 if fault is Fault.STOP_60S else 30
                if self.chance() < 0.5:  # leases end at many times: so do pauses
                    seconds = self.spread(10, 90)
                self.loop.call_later(seconds, self._go_on, process, context=self._outside.copy())

    def _go_on(self, process: Process) -> None:
        process.runs = True
        self.shaken_s = self.loop.now_s
        self.say(f"{process.name} goes on")

    def _break_database(self, fault: Fault, process: Process) -> None:
        now, store = self.loop.now_s, self.ministry.store
        match fault:
            case Fault.DB_DROP:
                store.end_transactions(
                    lambda session: session.process is process, "connection lost"
                )
            case Fault.DISK_FULL:
                self.full_until_s = now + self.rng.uniform(1, 20)
            case _:
                store.end_transactions(lambda _session: True, "the server has ended")
                longest = 5 if fault is Fault.DB_RESTART else 25
                self.trouble_until_s = now + self.rng.uniform(1, longest)

    def _break_network(self, fault: Fault, point: Point) -> None:
        late = fault in {Fault.ERROR_AFTER_EFFECT, Fault.GARBLED}
        if point in {Point.DURING_UPLOAD, Point.DURING_REFRESH}:
            self._storm[point] = fault
        elif late:
            self._storm[Point.AFTER_EFFECT] = fault
        else:
            self._storm[point if point in _IN_CALL else None] = fault

    def weather(self, *, at: Point | None = None) -> Fault | None:
        return self._storm.pop(at, None) if self._storm else None

    def outside_later(self, seconds: float, act: Callable[..., object], *args: Any) -> None:
        self.loop.call_later(seconds, act, *args, context=self._outside.copy())

    def _in_outside(self, what: Callable[[], str]) -> str:
        return self._outside.copy().run(what)

    # Chance

    def chance(self) -> float:
        return 1.0 if self.case.quiet else self.rng.random()

    def spread(self, low: float, high: float) -> float:
        return low + (high - low) * self.rng.random()

    def session_ended(self, session: str | None) -> bool:
        return session in self._ended_sessions

    # What is seen

    def saw_call(self, server: Server, call: Call) -> None:
        self.say(f"{call.process.name} publishes on {call.account}")
        now = self.loop.now_s
        others = [
            each
            for each in server.calls
            if each.account == call.account
            and each is not call
            and each.process.works
            and now - each.since_s <= TIMEOUT_S
        ]
        if others:
            self.invariants.fail("R6", f"two publishes at once on {call.account}")

    def saw_request(self, effect: Effect) -> None:
        self.say(f"request {effect.text!r} {effect.key[:8]}")
        self.invariants.judge_request(effect)

    def saw_effect(self, effect: Effect) -> None:
        self.say(f"effect {effect.text!r} {'merged' if effect.merged else effect.remote_id}")
        self.invariants.judge_effect(effect)

    async def before_statement(self, session: Session, sql: str) -> str:
        await asyncio.sleep(0)
        now = self.loop.now_s
        if sql.startswith("BEGIN") and self.chance() < 0.2:
            await asyncio.sleep(self.spread(0, 0.02))
        if now < self.trouble_until_s:
            raise sqlite3.OperationalError("unable to open database file")
        if now < self.full_until_s and not sql.startswith(("SELECT", "BEGIN")):
            raise sqlite3.OperationalError("database or disk is full")
        process = session.process
        waits = any(call.process is process for call in self.server.calls)
        if session.writing and process in self.switches.deferred and not waits:
            self.switches.catch_up(session)
        return self.switches.rewrite(sql)

    async def before_commit(self, session: Session, facts: Facts) -> bool:
        grows = facts.size != self.ministry.store.size
        if facts.enters("sending"):
            await self.reach(Point.BEFORE_INTENT)
        if grows:
            await self.reach(Point.DURING_SEAL)
        if self.loop.now_s < self.full_until_s:
            raise sqlite3.OperationalError("database or disk is full")
        if not session.broken and session.raw.in_transaction:
            self.invariants.judge_commit(session, facts)
        return not self.switches.defers(session, facts)

    async def after_commit(self, session: Session, facts: Facts) -> None:
        for change in facts.changes:
            if change.moves:
                number = json.loads(change.after["payload"])[0]["request"]["text"][7:8]
                self.say(
                    f"{facts.process.name}: {number} {change.before['state']} -> {change.after['state']}"
                    f" {change.after['reason'][:40]}"
                )
        if facts.size != self.invariants.size:
            self.invariants.judge_log(facts)
        if not self.case.quiet:
            office.notice(self, facts)
        if facts.process is OUTSIDE:
            return
        for point in self._points(facts):
            was = session.broken
            await self.reach(point)
            if session.broken != was or self.loop.now_s < self.trouble_until_s:
                raise sqlite3.OperationalError(
                    "connection lost: the commit's answer did not arrive"
                )

    def _points(self, facts: Facts) -> Iterator[Point]:
        if facts.enters("claimed"):
            yield Point.AFTER_CLAIM
        if facts.enters("sending"):
            yield Point.AFTER_INTENT
        for change in facts.changes:
            if '"media"' in change.after["progress"] and '"media"' not in change.before["progress"]:
                yield Point.AFTER_CONTAINER
            if change.before["state"] == "sending" and change.moves:
                yield Point.BEFORE_SEAL
