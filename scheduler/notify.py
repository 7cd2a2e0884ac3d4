"""What a service tells systemd (`sd_notify`), and what feeds its watchdog while the process is well.

systemd names a datagram socket in `NOTIFY_SOCKET` and the watchdog's time in `WATCHDOG_USEC`; where it does not,
nothing is sent. A message that does not arrive never disturbs the work: systemd's own time-outs draw the conclusion.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from scheduler.clock import monotonic_s
from scheduler.settings import ServiceManager

log = structlog.get_logger()

_LONGEST_PAUSE_S: Final = 5.0
_STARTING_PAUSE_S: Final = 0.1
#: A loop that wakes later than this has been blocked: what shares it was as late.
_MOST_LAG_S: Final = 3.0

#: Answers an empty text while all is well, else what is wrong; it may hang, which is wrong too.
Look = Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Notifier:
    """Sends one process's states to its service manager."""

    manager: ServiceManager

    def ready(self, status: str) -> None:
        self._send("READY=1", f"STATUS={status}")

    def feed(self, status: str) -> None:
        """Tell the watchdog that the process is well."""
        self._send(*(["WATCHDOG=1"] if self.manager.watchdog_s else []), f"STATUS={status}")

    def complain(self, status: str) -> None:
        """Tell the operator what is wrong, and do not feed the watchdog."""
        self._send(f"STATUS={status}")

    def stopping(self) -> None:
        self._send("STOPPING=1", "STATUS=finishing what is in flight")

    def _send(self, *lines: str) -> None:
        if not self.manager.address:
            return
        address = self.manager.address
        if address.startswith("@"):  # Linux's abstract names begin with a zero byte
            address = f"\0{address[1:]}"
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
                door.settimeout(0)  # a full queue is a lost message, never a wait
                door.sendto("\n".join(lines).encode(), address)
        except OSError as exc:
            log.warning("notify.failed", why=type(exc).__name__)


@dataclass(slots=True)
class Watchdog:
    """Looks at the process again and again; says READY when it is well for the first time, feeds while it stays so."""

    notifier: Notifier
    look: Look
    lag_s: float = 0.0  #: how much too late the loop woke this task the last time
    trouble: str = "starting"

    @property
    def pause_s(self) -> float:
        """Four looks fit into the watchdog's time."""
        watchdog_s = self.notifier.manager.watchdog_s
        return min(_LONGEST_PAUSE_S, watchdog_s / 4) if watchdog_s else _LONGEST_PAUSE_S

    async def run(self, stopping: asyncio.Event) -> None:
        """Beat until `stopping`, and say then that the process ends."""
        await self._start(stopping)
        while not stopping.is_set():
            await self._sleep(self.pause_s, stopping)
            if not stopping.is_set():
                await self._beat()
        self.notifier.stopping()

    async def _start(self, stopping: asyncio.Event) -> None:
        while not stopping.is_set() and (trouble := await self._find_trouble()):
            if trouble != self.trouble:
                self.notifier.complain(f"starting: {trouble}")
            self.trouble = trouble
            await self._sleep(min(_STARTING_PAUSE_S, self.pause_s), stopping)
        if not stopping.is_set():
            self.trouble = ""
            self.notifier.ready("at work")
            log.info("service.ready")

    async def _beat(self) -> None:
        trouble = await self._find_trouble()
        if self.lag_s > _MOST_LAG_S:
            trouble = f"the loop was blocked for {self.lag_s:.1f} s"
        if trouble != self.trouble:
            if trouble:
                log.warning("service.unwell", why=trouble)
            else:
                log.info("service.well")
        self.trouble = trouble
        if trouble:
            self.notifier.complain(trouble)
        else:
            self.notifier.feed("at work")

    async def _find_trouble(self) -> str:
        try:
            async with asyncio.timeout(self.pause_s):
                return await self.look()
        except TimeoutError:
            return "the database does not answer in time"

    async def _sleep(self, seconds: float, stopping: asyncio.Event) -> None:
        began_s = monotonic_s()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stopping.wait()
        self.lag_s = max(0.0, monotonic_s() - began_s - seconds)
