"""How often an address may try what needs no token; kept in memory, because a restart may forget it."""

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final

from scheduler.clock import monotonic_s
from scheduler.web.refusals import TooManyTriesError

MOST_TRIES: Final = 10
WINDOW_S: Final = 60.0
_MOST_ADDRESSES: Final = 10_000


class Tries:
    """At most 10 tries a minute and address; the 10,000 addresses that tried last are remembered."""

    def __init__(self, *, most: int = MOST_TRIES, clock: Callable[[], float] = monotonic_s) -> None:
        self._most = most
        self._clock = clock
        self._seen: OrderedDict[str, deque[float]] = OrderedDict()

    def count(self, address: str) -> None:
        """Count a try.

        Raises:
            TooManyTriesError: it is not made; the details say after how many seconds the next may be.
        """
        now = self._clock()
        times = self._seen.setdefault(address, deque())
        self._seen.move_to_end(address)
        while times and times[0] <= now - WINDOW_S:
            times.popleft()
        if len(times) >= self._most:
            wait_s = int(times[0] + WINDOW_S - now) + 1
            raise TooManyTriesError(
                f"too many tries from your address; wait {wait_s} s", retry_after_s=wait_s
            )
        times.append(now)
        if len(self._seen) > _MOST_ADDRESSES:
            self._seen.popitem(last=False)
