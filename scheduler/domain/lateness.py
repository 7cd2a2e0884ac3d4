"""What becomes of a delivery by the time alone: go, wait, hold as late, or expire."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

DEFAULT_LATE_MINUTES: Final = 15
MOST_LATE_MINUTES: Final = 7 * 24 * 60  #: the least is 1
DEFAULT_WINDOW: Final = timedelta(hours=24)


class Timing(StrEnum):
    EARLY = "early"
    IN_TIME = "in_time"
    LATE = "late"
    EXPIRED = "expired"


def window_end(*, due_at: datetime, not_after: datetime | None) -> datetime:
    """The end of the approved window; by default 24 hours after the time."""
    return not_after or due_at + DEFAULT_WINDOW


def timing(*, now: datetime, due_at: datetime, late_minutes: int, expires_at: datetime) -> Timing:
    """Judge the instant `now` (the database's clock) for a delivery due at `due_at`."""
    if now > expires_at:
        return Timing.EXPIRED
    if now < due_at:
        return Timing.EARLY
    if now > due_at + timedelta(minutes=late_minutes):
        return Timing.LATE
    return Timing.IN_TIME
