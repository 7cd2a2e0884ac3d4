"""The only reader of this host's clock; leases, windows and due times use the database's clock instead."""

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

_BOOTTIME: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostClock:
    """Where the time of a process comes from; the simulation gives each of its processes another one."""

    utc_now: Callable[[], datetime]
    monotonic_s: Callable[[], float]


_THIS_HOST: Final = HostClock(
    utc_now=lambda: datetime.now(UTC), monotonic_s=lambda: time.clock_gettime(_BOOTTIME)
)
HOST_CLOCK: Final[ContextVar[HostClock]] = ContextVar("host_clock", default=_THIS_HOST)


def utc_now() -> datetime:
    return HOST_CLOCK.get().utc_now()


def monotonic_s() -> float:
    """Seconds that only measure durations: they never jump, and they count a suspended machine's sleep."""
    return HOST_CLOCK.get().monotonic_s()


def iso(moment: datetime) -> str:
    """The one written form of an instant: UTC, six decimals, `Z`; sorts as text.

    Raises:
        ValueError: the datetime is naive.
    """
    if moment.tzinfo is None:
        raise ValueError("an instant needs a zone")
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[: -len("+00:00")] + "Z"


def from_iso(text: str) -> datetime:
    """Read what `iso` wrote, and any RFC 3339 time with a zone.

    Raises:
        ValueError: not such a time, or without a zone.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("an instant needs a zone")
    return moment.astimezone(UTC)
