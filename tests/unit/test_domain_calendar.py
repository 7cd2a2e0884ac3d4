# ruff: noqa: DTZ001 - a wall time has no zone
import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.clock import from_iso
from scheduler.domain.calendar import (
    Choice,
    LocalTimeFoldError,
    LocalTimeGapError,
    TimeInvalidError,
    TimeOutOfRangeError,
    TimeZoneUnknownError,
    parse_local,
    render_local,
    resolve,
)

ZONES = [
    "Africa/Cairo",
    "America/New_York",
    "Asia/Amman",
    "Asia/Riyadh",
    "Asia/Tbilisi",
    "Asia/Tokyo",
    "Australia/Sydney",
    "Europe/Belgrade",
    "Europe/Berlin",
    "Europe/Brussels",
    "Europe/Chisinau",
    "Europe/Istanbul",
    "Europe/Kyiv",
    "Europe/Ljubljana",
    "Europe/London",
    "Europe/Podgorica",
    "Europe/Rome",
    "Europe/Tirane",
    "Europe/Vienna",
    "Europe/Warsaw",
]
YEAR = datetime(2027, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def changes(zone: str) -> list[datetime]:
    """The instants in 2027 at which the zone's offset changes, by walking every quarter of an hour."""
    place = ZoneInfo(zone)
    steps = [YEAR + timedelta(minutes=15 * n) for n in range(365 * 96)]
    offsets = [step.astimezone(place).utcoffset() for step in steps]
    return [steps[n] for n in range(1, len(steps)) if offsets[n] != offsets[n - 1]]


CHANGES = [(zone, change) for zone in ZONES for change in changes(zone)]


def wall(instant: datetime, zone: str) -> datetime:
    return instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def check_choices(error: LocalTimeGapError | LocalTimeFoldError, zone: str) -> None:
    earlier, later = error.details["choices"]
    assert (earlier["choice"], later["choice"]) == ("earlier", "later")
    assert earlier["utc"] < later["utc"]
    for choice in (earlier, later):
        instant = from_iso(choice["utc"])
        assert resolve(parse_local(choice["local"]), zone, Choice(choice["choice"])) == instant
        assert instant.astimezone(ZoneInfo(zone)).isoformat().endswith(choice["offset"])
    json.dumps(error.details)


def test_the_zones_of_the_scenario_change_their_clocks_in_2027() -> None:
    assert len(CHANGES) == 30


@pytest.mark.parametrize(("zone", "change"), CHANGES)
def test_around_a_clock_change_every_minute_has_its_instant_or_two_choices(
    zone: str, change: datetime
) -> None:
    for minutes in range(-150, 151):
        instant = change + minutes * MINUTE
        local = wall(instant, zone)
        try:
            found = resolve(local, zone)
        except LocalTimeFoldError as error:
            check_choices(error, zone)
            both = {resolve(local, zone, choice) for choice in Choice}
            assert len(both) == 2
            assert instant in both
        else:
            assert found == instant
            assert found.tzinfo is UTC


@pytest.mark.parametrize(("zone", "change"), CHANGES)
def test_every_minute_that_clocks_skip_is_refused_with_its_neighbours(
    zone: str, change: datetime
) -> None:
    before, after = wall(change - MINUTE, zone), wall(change, zone)
    skipped = (after - before) // MINUTE - 1
    for minutes in range(1, skipped + 1):
        for choice in (None, *Choice):
            with pytest.raises(LocalTimeGapError) as caught:
                resolve(before + minutes * MINUTE, zone, choice)
            locals_ = [each["local"] for each in caught.value.details["choices"]]
            assert locals_ == [
                before.isoformat(timespec="minutes"),
                after.isoformat(timespec="minutes"),
            ]
    if skipped > 0:
        check_choices(caught.value, zone)


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2100, 12, 30)).map(
        lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    ),
    st.sampled_from(ZONES),
)
def test_an_instant_survives_the_way_through_local_time(moment: datetime, zone: str) -> None:
    instant = moment.replace(tzinfo=UTC)
    local = wall(instant, zone)
    assert parse_local(render_local(local)) == local
    assert instant in {resolve(local, zone, choice) for choice in Choice}


def test_a_skipped_half_hour_in_ljubljana_names_the_times_around_it() -> None:
    with pytest.raises(LocalTimeGapError) as caught:
        resolve(parse_local("2027-03-28T02:30"), "Europe/Ljubljana")
    assert caught.value.code == "time_gap"
    assert caught.value.details == {
        "local": "2027-03-28T02:30",
        "zone": "Europe/Ljubljana",
        "choices": [
            {
                "choice": "earlier",
                "local": "2027-03-28T01:59",
                "offset": "+01:00",
                "utc": "2027-03-28T00:59:00.000000Z",
            },
            {
                "choice": "later",
                "local": "2027-03-28T03:00",
                "offset": "+02:00",
                "utc": "2027-03-28T01:00:00.000000Z",
            },
        ],
    }


def test_a_repeated_half_hour_in_sydney_names_both_instants() -> None:
    local = parse_local("2027-04-04T02:30")
    with pytest.raises(LocalTimeFoldError) as caught:
        resolve(local, "Australia/Sydney")
    assert caught.value.code == "time_fold"
    assert caught.value.details == {
        "local": "2027-04-04T02:30",
        "zone": "Australia/Sydney",
        "choices": [
            {
                "choice": "earlier",
                "local": "2027-04-04T02:30",
                "offset": "+11:00",
                "utc": "2027-04-03T15:30:00.000000Z",
            },
            {
                "choice": "later",
                "local": "2027-04-04T02:30",
                "offset": "+10:00",
                "utc": "2027-04-03T16:30:00.000000Z",
            },
        ],
    }
    assert resolve(local, "Australia/Sydney", Choice.EARLIER) == datetime(
        2027, 4, 3, 15, 30, tzinfo=UTC
    )
    assert resolve(local, "Australia/Sydney", Choice.LATER) == datetime(
        2027, 4, 3, 16, 30, tzinfo=UTC
    )


def test_a_choice_is_ignored_where_nothing_is_to_be_chosen() -> None:
    assert {
        resolve(datetime(2027, 6, 1, 9), "Asia/Tokyo", choice) for choice in (None, *Choice)
    } == {datetime(2027, 6, 1, tzinfo=UTC)}


@pytest.mark.parametrize(
    ("local", "zone", "around"),
    [
        ("2011-12-30T12:00", "Pacific/Apia", ["2011-12-29T23:59", "2011-12-31T00:00"]),
        ("1972-01-07T00:10:30", "Africa/Monrovia", ["1972-01-06T23:59", "1972-01-07T00:45"]),
    ],
)
def test_a_gap_of_odd_size_still_offers_whole_minutes(
    local: str, zone: str, around: list[str]
) -> None:
    with pytest.raises(LocalTimeGapError) as caught:
        resolve(parse_local(local), zone)
    assert [choice["local"] for choice in caught.value.details["choices"]] == around
    assert caught.value.details["local"] == local
    check_choices(caught.value, zone)


@pytest.mark.parametrize(
    "text",
    ["", "2027-03-28", "2027-03-28 02:30", "2027-03-28T02:30Z", "2027-03-28T02:30+01:00", "2027-03-28T02:30[Europe/Vienna]",
     "2027-03-28T24:00", "2027-03-28T23:59:60", "2027-03-28T02:30:00.5", "2027-02-29T10:00", "2027-13-01T10:00", "0000-01-01T00:00",
     "27-03-28T02:30", "2027-3-28T02:30", "2027-03-28T2:30", "２０２７-03-28T02:30", "2027-03-28T02:30\n", "20270328T0230", "2027-W12-7T02:30"],
)  # fmt: skip
def test_another_form_of_a_local_time_is_refused(text: str) -> None:
    with pytest.raises(TimeInvalidError) as caught:
        parse_local(text)
    assert caught.value.code == "time_invalid"


def test_seconds_and_thousandths_are_read() -> None:
    assert parse_local("2028-02-29T23:59:59") == datetime(2028, 2, 29, 23, 59, 59)
    assert parse_local("2028-02-29T23:59:59.025") == datetime(2028, 2, 29, 23, 59, 59, 25_000)


@pytest.mark.parametrize(
    "zone",
    ["", "Europe", "Europe/", "Europe/Lipovec", "europe/berlin", "../etc/passwd", "/etc/localtime", "a/\x00", "a/\ud800", "a/" + "b" * 5000,
     "localtime", "EST", "right/Europe/Vienna", "posix/Europe/Vienna", "America/Argentina"],
)  # fmt: skip
def test_what_is_no_zone_is_refused(zone: str) -> None:
    with pytest.raises(TimeZoneUnknownError) as caught:
        resolve(datetime(2027, 6, 1), zone)
    assert caught.value.code == "time_zone_unknown"
    str(caught.value).encode()


@pytest.mark.parametrize("zone", ["UTC", "Europe/Kiev", "Europe/Kyiv", "America/Argentina/Salta"])
def test_old_and_new_names_of_a_zone_are_read(zone: str) -> None:
    assert resolve(datetime(2027, 6, 1, 12), zone).tzinfo is UTC


@pytest.mark.parametrize(
    ("year", "is_allowed"),
    [(1, False), (1969, False), (1970, True), (2100, True), (2101, False), (9999, False)],
)
def test_years_that_nobody_plans_for_are_refused(year: int, is_allowed: bool) -> None:
    if is_allowed:
        assert resolve(datetime(year, 6, 1), "Europe/Vienna").year == year
        return
    with pytest.raises(TimeOutOfRangeError) as caught:
        resolve(datetime(year, 6, 1), "Europe/Vienna")
    assert caught.value.code == "time_out_of_range"


def test_a_time_with_a_zone_of_its_own_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no zone of its own"):
        resolve(datetime(2027, 6, 1, tzinfo=UTC), "Europe/Vienna")
