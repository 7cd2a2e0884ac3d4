"""Too early, in time, late or over: judged at the borders, to the microsecond."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.lateness import DEFAULT_LATE_MINUTES, Timing, timing, window_end

DUE = datetime(2026, 11, 23, 9, tzinfo=UTC)
TICK = timedelta(microseconds=1)
END = DUE + timedelta(hours=24)


def _judge(now: datetime, *, late_minutes: int = 15, expires_at: datetime = END) -> Timing:
    return timing(now=now, due_at=DUE, late_minutes=late_minutes, expires_at=expires_at)


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (DUE - TICK, Timing.EARLY),
        (DUE, Timing.IN_TIME),
        (DUE + timedelta(minutes=15), Timing.IN_TIME),
        (DUE + timedelta(minutes=15) + TICK, Timing.LATE),
        (END, Timing.LATE),
        (END + TICK, Timing.EXPIRED),
    ],
)
def test_each_border_belongs_to_the_kinder_side(now: datetime, verdict: Timing) -> None:
    assert _judge(now) is verdict


def test_with_no_patience_only_the_very_instant_is_in_time() -> None:
    assert _judge(DUE, late_minutes=0) is Timing.IN_TIME
    assert _judge(DUE + TICK, late_minutes=0) is Timing.LATE


def test_the_window_ends_before_the_patience_does() -> None:
    end = DUE + timedelta(minutes=5)
    assert _judge(end, expires_at=end) is Timing.IN_TIME
    assert _judge(end + TICK, expires_at=end) is Timing.EXPIRED


def test_a_window_that_is_over_before_the_time_is_expired_not_early() -> None:
    assert _judge(DUE - TICK, expires_at=DUE - 2 * TICK) is Timing.EXPIRED


def test_the_default_window_is_a_day_and_an_approved_end_goes_before_it() -> None:
    assert window_end(due_at=DUE, not_after=None) == END
    sooner = DUE + timedelta(hours=1)
    assert window_end(due_at=DUE, not_after=sooner) == sooner
    later = DUE + timedelta(days=3)
    assert window_end(due_at=DUE, not_after=later) == later
    assert DEFAULT_LATE_MINUTES == 15


@given(st.lists(st.timedeltas(timedelta(hours=-2), timedelta(hours=30)), min_size=2, max_size=2))
def test_time_only_ever_makes_a_delivery_later(offsets: list[timedelta]) -> None:
    order = list(Timing)
    first, second = (order.index(_judge(DUE + offset)) for offset in sorted(offsets))
    assert first <= second
