"""An event loop without a clock, threads or sockets: time passes when nobody has anything to do.

The handles of one process run in their order, as on any event loop. Which process goes next is drawn from the seed.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any


@dataclass(eq=False, slots=True)
class Process:
    """What a kill, a stop signal or a blocked loop hits: everything that runs in its context."""

    name: str
    skew_s: float = 0.0  #: of this host's wall clock against the database's
    runs: bool = True
    dead: bool = False
    ready: deque[asyncio.Handle] = field(default_factory=deque)

    @property
    def works(self) -> bool:
        return self.runs and not self.dead


OUTSIDE = Process("outside")  #: platforms, people and the supervisor; never hit
PROCESS: ContextVar[Process] = ContextVar("process", default=OUTSIDE)


@dataclass(frozen=True, slots=True)
class Wish:
    """When somebody has to look at the database next, and whose timers may fire for it."""

    at_s: float
    takes: Callable[[Process, float], bool]  #: by the timer's process and delay


#: A worker that waits so long, to the digit, only looks whether there is something to do.
IDLE_S = (0.25, 1.0)
_Idle = tuple[float, int, asyncio.TimerHandle, float]


def idle_delay(seconds: float) -> float | None:
    return next((each for each in IDLE_S if abs(seconds - each) < 1e-9), None)


def _everybody(_process: Process, _delay: float) -> bool:
    return True


def owner(handle: asyncio.Handle) -> Process:
    return handle._context.get(PROCESS, OUTSIDE)  # type: ignore[attr-defined,no-any-return]


class SimLoop(asyncio.BaseEventLoop):
    def __init__(self, rng: Random) -> None:
        super().__init__()
        self.rng = rng
        self.now_s = 1000.0
        self.steps = 0
        self.processes = [OUTSIDE]
        self.wanted: Callable[[], Wish | None] | None = None
        self.failures: list[str] = []
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._idle: list[_Idle] = []  #: those of empty looks
        self._order = count()
        self.set_exception_handler(self._remember)
        OUTSIDE.ready.clear()

    def time(self) -> float:
        return self.now_s

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        owner(handle).ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        delay = idle_delay(when - self.now_s)
        if delay is None or owner(timer) is OUTSIDE:
            heapq.heappush(self._timers, (when, next(self._order), timer))
        else:
            self._idle.append((when, next(self._order), timer, delay))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer is thrown away when its time comes."""

    def run_in_executor(  # type: ignore[override]
        self, executor: object, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """A file is read at once and in this thread; the answer comes a step later."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as exc:  # noqa: BLE001 - it is the caller's
            future.set_exception(exc)
        return future

    def next_timer(self, of: Process | None = None) -> float | None:
        """When the next timer fires that is more than an empty look; of one process if named."""
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        if of is None:
            return self._timers[0][0] if self._timers else None
        return min(
            (at for at, _, timer in self._timers if owner(timer) is of and not timer.cancelled()),
            default=None,
        )

    def run_while(self, goes_on: Callable[[], bool]) -> None:
        """Run handle after handle; ends when `goes_on` says so or nothing can happen any more."""
        before = asyncio._get_running_loop()
        asyncio._set_running_loop(self)
        try:
            while goes_on() and self._step():
                pass
        finally:
            asyncio._set_running_loop(before)

    def _step(self) -> bool:
        able = [process for process in self.processes if process.ready and process.runs]
        if not able:
            return self._let_time_pass()
        process = able[0] if len(able) == 1 else able[int(self.rng.random() * len(able))]
        handle = process.ready.popleft()
        if not handle.cancelled():
            self.steps += 1
            handle._run()
        return True

    def _let_time_pass(self) -> bool:
        """To the next timer, or to the next instant at which somebody has to look at the database."""
        wish = self.wanted() if self.wanted else Wish(self.now_s + 1, _everybody)
        when = self.next_timer()
        if wish is not None and (when is None or wish.at_s < when):
            self._look(wish)
            return True
        if when is None:
            return False
        self.now_s = max(self.now_s, when)
        self._fire(self._timers)
        return True

    def _look(self, wish: Wish) -> None:
        """Fire the empty looks that are wanted; the others wait, as on a slow host."""
        self._idle = [each for each in self._idle if not each[2].cancelled()]
        wanted = [each for each in self._idle if wish.takes(owner(each[2]), each[3])]
        self.now_s = max(self.now_s, wish.at_s)
        if not wanted:  # all of them are at work
            self.now_s += 0.01
        for each in [each for each in wanted if each[0] <= self.now_s] or wanted[:1]:
            self._idle.remove(each)
            self.now_s = max(self.now_s, each[0])
            owner(each[2]).ready.append(each[2])

    def _fire(self, timers: list[tuple[float, int, asyncio.TimerHandle]]) -> None:
        while timers and timers[0][0] <= self.now_s:
            timer = heapq.heappop(timers)[2]
            if not timer.cancelled():
                owner(timer).ready.append(timer)

    def _remember(self, _loop: object, context: dict[str, Any]) -> None:
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")
