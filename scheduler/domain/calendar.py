"""From the wall time that a person chose to the instant, without guessing when clocks change."""

import re
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from scheduler.clock import iso
from scheduler.errors import InvalidError

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 2100

_LOCAL: Final = re.compile(
    r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{3})?)?", re.ASCII
)
_MINUTE: Final = timedelta(minutes=1)
_SECOND: Final = timedelta(seconds=1)
# Some systems carry these copies: they count leap seconds or repeat what is there already.
_COPIES: Final = ("posix/", "right/")


class Choice(StrEnum):
    """Which of the two instants of a repeated local time is meant."""

    EARLIER = "earlier"
    LATER = "later"


class LocalTimeGapError(InvalidError):
    """Clocks skip this local time; `details["choices"]` holds the last minute before it and the first after it.

    Each choice has `choice`, `local` (as `parse_local` reads it), `offset` and `utc`.
    """

    code = "time_gap"


class LocalTimeFoldError(InvalidError):
    """Clocks show this local time twice; `details["choices"]` holds both instants, as for a gap."""

    code = "time_fold"


class TimeInvalidError(InvalidError):
    code = "time_invalid"


class TimeZoneUnknownError(InvalidError):
    code = "time_zone_unknown"


class TimeOutOfRangeError(InvalidError):
    code = "time_out_of_range"


def parse_local(text: str) -> datetime:
    """Read `2027-03-28T02:30`, with seconds and thousandths if wanted, into a naive datetime.

    Raises:
        TimeInvalidError: another form, a zone or offset, a fraction, 24:00, second 60, or no such day.
    """
    if _LOCAL.fullmatch(text):
        try:
            return datetime.fromisoformat(text)
        except ValueError:
            pass  # the form is right and the day does not exist: refused like the others
    raise TimeInvalidError(
        "write a local time as YYYY-MM-DDTHH:MM, without a zone, at most 23:59", value=text[:40]
    )


def resolve(local: datetime, zone: str, choice: Choice | None = None) -> datetime:
    """Return the instant, in UTC, at which clocks in the IANA zone show `local`.

    `choice` matters only where the time exists twice; elsewhere it is ignored, so that a stored choice survives a
    change of the zone's rules.

    Raises:
        LocalTimeGapError: the time does not exist, whatever was chosen.
        LocalTimeFoldError: the time exists twice and nothing was chosen.
        TimeZoneUnknownError: not an IANA zone.
        TimeOutOfRangeError: not within the years 1970 to 2100.
        ValueError: `local` is not naive.
    """
    if local.tzinfo is not None:
        raise ValueError("a wall time has no zone of its own")
    if not FIRST_YEAR <= local.year <= LAST_YEAR:
        raise TimeOutOfRangeError(
            f"the year must be between {FIRST_YEAR} and {LAST_YEAR}", year=local.year
        )
    place = get_zone(zone)
    earlier, later = sorted(_instant(local, place, fold) for fold in (0, 1))
    if _wall(earlier, place) != local:
        raise _gap(local, place, earlier, later)
    if earlier == later or choice is Choice.EARLIER:
        return earlier
    if choice is Choice.LATER:
        return later
    raise LocalTimeFoldError(
        f"{render_local(local)} exists twice in {zone}; choose the earlier or the later one",
        local=render_local(local),
        zone=zone,
        choices=_choices(earlier, later, place),
    )


def get_zone(name: str) -> ZoneInfo:
    """Return the IANA zone of that name.

    Raises:
        TimeZoneUnknownError: not an IANA zone, or one that only this machine knows.
    """
    # Names without a region differ between systems ("localtime" is this machine's own zone).
    if name == "UTC" or ("/" in name and not name.startswith(_COPIES)):
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            pass  # unknown, malformed, or the name of a folder: refused below
    shown = ascii(name[:60])
    raise TimeZoneUnknownError(f"{shown} is not an IANA zone such as Europe/Vienna", zone=shown)


def _instant(local: datetime, place: ZoneInfo, fold: int) -> datetime:
    return local.replace(tzinfo=place, fold=fold).astimezone(UTC)


def _wall(instant: datetime, place: ZoneInfo) -> datetime:
    return instant.astimezone(place).replace(tzinfo=None, fold=0)


def _gap(local: datetime, place: ZoneInfo, before: datetime, after: datetime) -> LocalTimeGapError:
    """Both choices are whole minutes, because that is what people can enter again."""
    offset = before.astimezone(place).utcoffset()
    seconds = range((after - before) // _SECOND + 1)
    jump = before + _SECOND * bisect_left(
        seconds,
        True,  # noqa: FBT003 - the key's own answer
        key=lambda s: (before + _SECOND * s).astimezone(place).utcoffset() != offset,
    )
    last = _whole_minute(_wall(jump - _SECOND, place))
    first = _wall(jump, place)
    if first != _whole_minute(first):
        first = _whole_minute(first) + _MINUTE
    choices = _choices(_instant(last, place, 0), _instant(first, place, 0), place)
    return LocalTimeGapError(
        f"{render_local(local)} does not exist in {place.key}; "
        f"choose {choices[0]['local']} or {choices[1]['local']}",
        local=render_local(local),
        zone=place.key,
        choices=choices,
    )


def _whole_minute(local: datetime) -> datetime:
    return local.replace(second=0, microsecond=0)


def _choices(earlier: datetime, later: datetime, place: ZoneInfo) -> list[dict[str, str]]:
    return [
        {
            "choice": choice,
            "local": render_local(_wall(instant, place)),
            "offset": instant.astimezone(place).isoformat(timespec="seconds")[19:],
            "utc": iso(instant),
        }
        for choice, instant in ((Choice.EARLIER, earlier), (Choice.LATER, later))
    ]


def render_local(local: datetime) -> str:
    if local.microsecond:
        return local.isoformat(timespec="milliseconds")
    return local.isoformat(timespec="seconds" if local.second else "minutes")
