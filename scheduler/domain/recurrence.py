"""Repeating days in wall time: from a rule as people say it to the days it names, and from each to its instant.

`python-dateutil` expands the rule, without any zone; which instant a wall time is, `scheduler.domain.calendar` says.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time
from enum import StrEnum
from itertools import islice
from typing import Any, Final

from dateutil import rrule

from scheduler.domain.calendar import (
    Choice,
    LocalTimeFoldError,
    LocalTimeGapError,
    parse_local,
    render_local,
    resolve,
)
from scheduler.errors import InvalidError

MOST_OCCURRENCES: Final = 400
MOST_EVERY: Final = 100
#: Days that every month has.
_SAFE_DAYS: Final = 28

_RULE: Final = re.compile(
    r"(?:daily"
    r"|weekly (?P<weekdays>[A-Z]{2}(?:,[A-Z]{2})*)"
    r"|monthly (?:(?P<day>\d{1,2})|(?P<nth>[1-4]|last)(?P<weekday>[A-Z]{2})|(?P<last>last))"
    r"|yearly (?P<month>\d\d)-(?P<month_day>\d\d))"
    r" (?P<hour>[01]\d|2[0-3]):(?P<minute>[0-5]\d)",
    re.ASCII,
)
_WEEKDAYS: Final = {str(day): day for day in map(rrule.weekday, range(7))}  # MO to SU


class Gap(StrEnum):
    """Which minute is meant where clocks skip the local time."""

    BEFORE = "before"
    AFTER = "after"


class RuleInvalidError(InvalidError):
    """Not one of the forms of a rule, or a day that not every month or year has."""

    code = "rule_invalid"


class SeriesUnboundedError(InvalidError):
    """A series ends: on a day, after so many times, or whichever comes first."""

    code = "series_unbounded"


class SeriesTooLongError(InvalidError):
    code = "series_too_long"


class SeriesEmptyError(InvalidError):
    """The rule names no day in its span."""

    code = "series_empty"


class ExceptionUnknownError(InvalidError):
    """A day to be left out that the rule does not name: mistyped, it would let a post go on the day that was meant."""

    code = "series_exception_unknown"


class SeriesTimesError(InvalidError):
    """Some of the local times do not exist or exist twice; `details["times"]` holds each with its choices."""

    code = "series_times"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One time of day, on the days that `options` of the expansion name."""

    text: str
    at: time
    options: dict[str, Any]

    @classmethod
    def parse(cls, text: str) -> "Rule":
        """Read a rule as people write it.

        `daily 09:00`, `weekly MO,TH 09:00`, `monthly 15 09:00`, `monthly last 09:00`, `monthly 2TU 09:00`,
        `monthly lastFR 09:00`, `yearly 06-25 09:00`.

        Raises:
            RuleInvalidError: another form, or a day that not every month or year has.
        """
        found = _RULE.fullmatch(text)
        if found is None:
            raise RuleInvalidError(
                "write daily, weekly MO,TH, monthly 15, monthly last, monthly 2TU, monthly lastFR or yearly 06-25, "
                "and then the time, such as 09:00",
                value=text[:60],
            )
        at = time(int(found["hour"]), int(found["minute"]))
        return cls(text=text, at=at, options=_read_options(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From which day on, how often, and until when."""

    start: date
    every: int = 1  #: every so many days, weeks, months or years
    until: date | None = None  #: the last day that may be named
    count: int | None = None  #: so many days are named at most; those left out are counted
    exceptions: frozenset[date] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One occurrence: the day that the rule names, and the wall time and instant chosen for it."""

    day: date
    local: str
    choice: Choice | None
    due_at: datetime


def expand(rule: Rule, span: Span) -> tuple[datetime, ...]:
    """The local times that the rule names, in order; at most `MOST_OCCURRENCES`.

    Raises:
        SeriesUnboundedError: neither `until` nor `count`.
        SeriesTooLongError, SeriesEmptyError: too many, or none.
        ExceptionUnknownError: an exception is no day of the rule.
    """
    if span.until is None and span.count is None:
        raise SeriesUnboundedError("say when it ends: a last day, or how many times")
    if not 1 <= span.every <= MOST_EVERY:
        raise RuleInvalidError(f"every is 1 to {MOST_EVERY}")
    most = MOST_OCCURRENCES + 1 if span.count is None else span.count
    found = tuple(islice(_count_days(rule, span), min(most, MOST_OCCURRENCES + 1)))
    if len(found) > MOST_OCCURRENCES:
        raise SeriesTooLongError(
            f"a series has at most {MOST_OCCURRENCES} posts; end it earlier, and repeat it then"
        )
    if unknown := span.exceptions - {each.date() for each in found}:
        raise ExceptionUnknownError(f"the rule does not name {min(unknown)}: nothing to leave out")
    kept = tuple(each for each in found if each.date() not in span.exceptions)
    if not kept:
        raise SeriesEmptyError("the rule names no day from its start to its end")
    return kept


def resolve_all(
    locals_: Iterable[datetime], zone: str, *, fold: Choice | None, gap: Gap | None
) -> tuple[Moment, ...]:
    """The instant of each local time; a choice given once holds for the whole series.

    Raises:
        SeriesTimesError: times that do not exist or exist twice, and no choice for them; all of them at once.
        TimeZoneUnknownError, TimeOutOfRangeError: as for one time.
    """
    moments, open_times = [], []
    for local in locals_:
        try:
            moments.append(_resolve(local, zone, fold, gap))
        except (LocalTimeGapError, LocalTimeFoldError) as exc:
            open_times.append(_describe(local, exc))
    if open_times:
        raise SeriesTimesError(
            f"clocks in {zone} skip the time or show it twice; choose once for the series: "
            + "; ".join(map(_render_choices, open_times)),
            times=open_times,
        )
    return tuple(moments)


def _count_days(rule: Rule, span: Span) -> Iterator[datetime]:
    """The days of the rule; `every` counts from the first one, not from the start of the span."""
    options = {**rule.options, "wkst": rrule.MO}
    if span.until is not None:
        options["until"] = datetime.combine(span.until, rule.at)
    start = datetime.combine(span.start, rule.at)
    first = next(iter(rrule.rrule(dtstart=start, **options)), start)
    return iter(rrule.rrule(dtstart=first, interval=span.every, **options))


def _resolve(local: datetime, zone: str, fold: Choice | None, gap: Gap | None) -> Moment:
    choice, shown = None, render_local(local)
    try:
        due_at = resolve(local, zone)
    except LocalTimeFoldError:
        choice, due_at = fold, resolve(local, zone, fold)
    except LocalTimeGapError as exc:
        if gap is None:
            raise
        choices: list[dict[str, str]] = exc.details["choices"]  # type: ignore[assignment]
        shown = choices[list(Gap).index(gap)]["local"]
        due_at = resolve(parse_local(shown), zone)
    return Moment(day=local.date(), local=shown, choice=choice, due_at=due_at)


def _describe(local: datetime, exc: LocalTimeGapError | LocalTimeFoldError) -> dict[str, Any]:
    """One open time with its choices, under the names that the series takes."""
    choices: list[dict[str, str]] = exc.details["choices"]  # type: ignore[assignment]
    names = list(Gap) if isinstance(exc, LocalTimeGapError) else list(Choice)
    return {
        "day": local.date().isoformat(),
        "code": exc.code,
        "local": exc.details["local"],
        "choices": [
            {**each, "choice": name.value} for name, each in zip(names, choices, strict=True)
        ],
    }


def _render_choices(open_time: dict[str, Any]) -> str:
    choices = [
        f"{each['choice']} ({each['local'][11:]}{each['offset']})" for each in open_time["choices"]
    ]
    return f"{open_time['day']} {' or '.join(choices)}"


def _read_options(found: re.Match[str]) -> dict[str, Any]:
    if found["weekdays"]:
        days = [_weekday(name) for name in found["weekdays"].split(",")]
        return {"freq": rrule.WEEKLY, "byweekday": days}
    if found["weekday"]:
        nth = -1 if found["nth"] == "last" else int(found["nth"])
        return {"freq": rrule.MONTHLY, "byweekday": _weekday(found["weekday"])(nth)}
    if found["last"]:
        return {"freq": rrule.MONTHLY, "bymonthday": -1}
    if found["day"]:
        return {"freq": rrule.MONTHLY, "bymonthday": _month_day(int(found["day"]))}
    if found["month"]:
        month, day = int(found["month"]), int(found["month_day"])
        return {"freq": rrule.YEARLY, "bymonth": month, "bymonthday": _year_day(month, day)}
    return {"freq": rrule.DAILY}


def _weekday(name: str) -> Any:  # noqa: ANN401 - dateutil's, which has no types
    if name not in _WEEKDAYS:
        raise RuleInvalidError(f"the days are {', '.join(_WEEKDAYS)}, not {name}", value=name)
    return _WEEKDAYS[name]


def _month_day(day: int) -> int:
    if not 1 <= day <= _SAFE_DAYS:
        raise RuleInvalidError(
            f"not every month has a day {day}; say 1 to {_SAFE_DAYS}, or `monthly last`", value=day
        )
    return day


def _year_day(month: int, day: int) -> int:
    try:
        date(2027, month, day)  # not a leap year
    except ValueError as exc:
        shown = f"{month:02}-{day:02}"
        raise RuleInvalidError(f"not every year has a {shown}", value=shown) from exc
    return day
