"""Rate limits counted in fixed windows, as both platforms count them."""

from collections.abc import Callable
from dataclasses import dataclass

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    name: str
    limit: int
    per_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a call costs: `points` out of each window, counted for `key`; the first window is the one reported."""

    key: str
    windows: tuple[Window, ...]
    points: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    window: Window
    remaining: int
    reset_ns: int
    is_exceeded: bool = False


class Limiter:
    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._now_ns = now_ns
        self._used: dict[tuple[str, str], tuple[int, int]] = {}  #: (window start in s, points)

    def clear(self) -> None:
        self._used.clear()

    def take(self, demand: Demand) -> Standing:
        """Take the points and say how the first window stands, or the one that is exceeded."""
        standings = [self._take(window, demand) for window in demand.windows]
        return next((one for one in standings if one.is_exceeded), standings[0])

    def _take(self, window: Window, demand: Demand) -> Standing:
        now_ns = self._now_ns()
        start = now_ns // _NS // window.per_s * window.per_s
        began, used = self._used.get((window.name, demand.key), (start, 0))
        used = demand.points + (used if began == start else 0)
        self._used[window.name, demand.key] = (start, min(used, window.limit))
        return Standing(
            window=window,
            remaining=max(0, window.limit - used),
            reset_ns=(start + window.per_s) * _NS + now_ns % _NS,
            is_exceeded=used > window.limit,
        )
