"""Rules in wall time, against a plain walk through the calendar; and what is asked when clocks change."""

import json
from calendar import monthrange
from collections.abc import Callable
from datetime import date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.calendar import Choice, parse_local, resolve
from scheduler.domain.recurrence import (
    MOST_OCCURRENCES,
    ExceptionUnknownError,
    Gap,
    Rule,
    RuleInvalidError,
    SeriesEmptyError,
    SeriesTimesError,
    SeriesTooLongError,
    SeriesUnboundedError,
    Span,
    expand,
    resolve_all,
)

ZONE = "Europe/Ljubljana"
DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
NEW_YEAR = date(2027, 1, 1)


def _days(text: str, start: date = NEW_YEAR, **span: object) -> list[str]:
    found = expand(Rule.parse(text), Span(start=start, **span))  # type: ignore[arg-type]
    return [each.date().isoformat() for each in found]


def _last(day: date) -> int:
    return monthrange(day.year, day.month)[1]


def _is_nth(day: date, nth: str, name: str) -> bool:
    if DAYS[day.weekday()] != name:
        return False
    return day.day > _last(day) - 7 if nth == "last" else (day.day - 1) // 7 + 1 == int(nth)


WALKS: list[tuple[str, Callable[[date], bool]]] = [
    ("daily 09:00", lambda _: True),
    ("weekly MO 09:00", lambda day: day.weekday() == 0),
    ("weekly MO,TH,SU 09:00", lambda day: day.weekday() in {0, 3, 6}),
    ("monthly 1 09:00", lambda day: day.day == 1),
    ("monthly 28 09:00", lambda day: day.day == 28),
    ("monthly last 09:00", lambda day: day.day == _last(day)),
    ("monthly 1MO 09:00", lambda day: _is_nth(day, "1", "MO")),
    ("monthly 4SU 09:00", lambda day: _is_nth(day, "4", "SU")),
    ("monthly lastFR 09:00", lambda day: _is_nth(day, "last", "FR")),
    ("yearly 06-25 09:00", lambda day: (day.month, day.day) == (6, 25)),
    ("yearly 12-31 09:00", lambda day: (day.month, day.day) == (12, 31)),
]


@pytest.mark.parametrize(("text", "is_named"), WALKS, ids=[text for text, _ in WALKS])
@given(start=st.dates(date(2026, 1, 1), date(2032, 12, 31)), length=st.integers(0, 390))
def test_a_rule_names_the_days_that_a_walk_through_the_calendar_finds(
    text: str, is_named: Callable[[date], bool], start: date, length: int
) -> None:
    walked = [start + timedelta(days=n) for n in range(length + 1)]
    expected = [day.isoformat() for day in walked if is_named(day)]
    until = start + timedelta(days=length)
    if not expected:
        with pytest.raises(SeriesEmptyError):
            _days(text, start, until=until)
    else:
        assert _days(text, start, until=until) == expected


@pytest.mark.parametrize(
    ("text", "every", "expected"),
    [
        ("daily 09:00", 3, ["2027-01-01", "2027-01-04", "2027-01-07"]),
        ("weekly MO,TH 09:00", 2, ["2027-01-04", "2027-01-07", "2027-01-18"]),
        ("monthly 15 09:00", 3, ["2027-01-15", "2027-04-15", "2027-07-15"]),
        ("monthly lastFR 09:00", 2, ["2027-01-29", "2027-03-26", "2027-05-28"]),
        ("yearly 06-25 09:00", 2, ["2027-06-25", "2029-06-25", "2031-06-25"]),
    ],
)
def test_every_so_many_counts_from_the_first_day_that_the_rule_names(
    text: str, every: int, expected: list[str]
) -> None:
    assert _days(text, every=every, count=3) == expected


def test_the_last_day_and_the_number_of_times_both_end_a_series() -> None:
    assert _days("daily 09:00", until=date(2027, 1, 2), count=9) == ["2027-01-01", "2027-01-02"]
    assert _days("daily 09:00", until=date(2027, 1, 9), count=2) == ["2027-01-01", "2027-01-02"]


def test_days_left_out_are_counted_and_have_to_be_days_of_the_rule() -> None:
    easter = date(2027, 3, 29)
    mondays = _days("weekly MO 09:00", date(2027, 3, 22), count=3, exceptions=frozenset({easter}))
    assert mondays == ["2027-03-22", "2027-04-05"]
    with pytest.raises(ExceptionUnknownError, match="2027-03-28"):
        _days("weekly MO 09:00", until=date(2027, 5, 1), exceptions=frozenset({date(2027, 3, 28)}))


def test_a_series_has_an_end_and_a_most() -> None:
    with pytest.raises(SeriesUnboundedError):
        _days("daily 09:00")
    assert len(_days("daily 09:00", count=MOST_OCCURRENCES)) == MOST_OCCURRENCES
    for span in ({"count": MOST_OCCURRENCES + 1}, {"until": date(2090, 1, 1)}):
        with pytest.raises(SeriesTooLongError, match="400"):
            _days("daily 09:00", **span)
    with pytest.raises(SeriesEmptyError):
        _days("daily 09:00", until=date(2026, 12, 31))
    everything = frozenset({NEW_YEAR})
    with pytest.raises(SeriesEmptyError):
        _days("daily 09:00", count=1, exceptions=everything)


@pytest.mark.parametrize("every", [0, -1, 101])
def test_every_has_its_bounds(every: int) -> None:
    with pytest.raises(RuleInvalidError):
        _days("daily 09:00", every=every, count=1)


@pytest.mark.parametrize(
    "text",
    [
        "", "daily", "daily 9:00", "daily 24:00", "daily 09:60", "daily 09:00:00", "Daily 09:00",
        "daily  09:00", "daily 09:00 ", "daily 09:00\n", "hourly 09:00", "weekly 09:00",
        "weekly mo 09:00", "weekly XX 09:00", "weekly MO, TH 09:00", "monthly 0 09:00",
        "monthly 29 09:00", "monthly 31 09:00", "monthly 5MO 09:00", "monthly -1MO 09:00",
        "monthly lastXX 09:00", "monthly first 09:00", "yearly 02-29 09:00", "yearly 13-01 09:00",
        "yearly 04-31 09:00", "yearly 6-25 09:00", "daily ٠٩:٠٠",
    ],
)  # fmt: skip
def test_what_is_no_rule_or_names_days_that_do_not_always_exist_is_refused(text: str) -> None:
    with pytest.raises(RuleInvalidError):
        Rule.parse(text)


def _year(text: str) -> tuple[datetime, ...]:
    return expand(Rule.parse(text), Span(start=NEW_YEAR, until=date(2027, 12, 31)))


def test_nine_oclock_stays_nine_oclock_when_clocks_change() -> None:
    moments = resolve_all(_year("daily 09:00"), ZONE, fold=None, gap=None)
    assert len(moments) == 365
    assert {each.local[11:] for each in moments} == {"09:00"}
    assert {each.due_at.hour for each in moments} == {7, 8}


def test_times_that_do_not_exist_or_exist_twice_are_all_asked_for_at_once() -> None:
    with pytest.raises(SeriesTimesError) as caught:
        resolve_all(_year("daily 02:30"), ZONE, fold=None, gap=None)
    times: list[dict[str, object]] = caught.value.details["times"]  # type: ignore[assignment]
    assert json.loads(json.dumps(times)) == [
        {
            "day": "2027-03-28",
            "code": "time_gap",
            "local": "2027-03-28T02:30",
            "choices": [
                {"choice": "before", "local": "2027-03-28T01:59", "offset": "+01:00",
                 "utc": "2027-03-28T00:59:00.000000Z"},
                {"choice": "after", "local": "2027-03-28T03:00", "offset": "+02:00",
                 "utc": "2027-03-28T01:00:00.000000Z"},
            ],
        },
        {
            "day": "2027-10-31",
            "code": "time_fold",
            "local": "2027-10-31T02:30",
            "choices": [
                {"choice": "earlier", "local": "2027-10-31T02:30", "offset": "+02:00",
                 "utc": "2027-10-31T00:30:00.000000Z"},
                {"choice": "later", "local": "2027-10-31T02:30", "offset": "+01:00",
                 "utc": "2027-10-31T01:30:00.000000Z"},
            ],
        },
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("fold", "gap", "day"), [(Choice.LATER, None, "2027-03-28"), (None, Gap.AFTER, "2027-10-31")]
)
def test_one_choice_does_not_answer_the_other_question(
    fold: Choice | None, gap: Gap | None, day: str
) -> None:
    with pytest.raises(SeriesTimesError) as caught:
        resolve_all(_year("daily 02:30"), ZONE, fold=fold, gap=gap)
    times: list[dict[str, object]] = caught.value.details["times"]  # type: ignore[assignment]
    assert [each["day"] for each in times] == [day]


@pytest.mark.parametrize("fold", list(Choice))
@pytest.mark.parametrize("gap", list(Gap))
def test_a_choice_given_once_holds_where_it_is_needed_and_nowhere_else(
    fold: Choice, gap: Gap
) -> None:
    moments = resolve_all(_year("daily 02:30"), ZONE, fold=fold, gap=gap)
    odd = {
        each.day.isoformat(): each for each in moments if each.choice or "02:30" not in each.local
    }
    assert odd.keys() == {"2027-03-28", "2027-10-31"}
    skipped, double = odd["2027-03-28"], odd["2027-10-31"]
    assert skipped.local[11:] == {"before": "01:59", "after": "03:00"}[gap]
    assert (double.local[11:], double.choice) == ("02:30", fold)
    assert double.due_at.hour == {"earlier": 0, "later": 1}[fold]
    for each in moments:  # an edit that keeps the time comes to the same instant
        assert resolve(parse_local(each.local), ZONE, each.choice) == each.due_at


@given(
    zone=st.sampled_from(
        ["Africa/Cairo", "America/Santiago", "Asia/Beirut", "Australia/Lord_Howe"]
    ),
    minute=st.integers(0, 1439),
    fold=st.sampled_from(list(Choice)),
    gap=st.sampled_from(list(Gap)),
)
def test_the_instants_of_a_daily_series_rise_in_every_zone(
    zone: str, minute: int, fold: Choice, gap: Gap
) -> None:
    rule = Rule.parse(f"daily {minute // 60:02}:{minute % 60:02}")
    locals_ = expand(rule, Span(start=NEW_YEAR, until=date(2027, 12, 31)))
    moments = resolve_all(locals_, zone, fold=fold, gap=gap)
    instants = [each.due_at for each in moments]
    assert instants == sorted(set(instants))
    gaps = {later - earlier for earlier, later in pairwise(instants)}
    assert all(timedelta(hours=21) <= each <= timedelta(hours=27) for each in gaps)
