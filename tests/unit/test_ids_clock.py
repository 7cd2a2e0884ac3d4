"""Ids that sort by time, and the one written form of an instant."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.clock import from_iso, iso, monotonic_s, utc_now
from scheduler.ids import new_id

MOMENTS = st.datetimes(
    min_value=datetime(1971, 1, 1),  # noqa: DTZ001 - hypothesis wants it naive
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001 - hypothesis wants it naive
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m))),
)


def test_an_id_is_a_uuid_of_version_7_that_tells_its_millisecond() -> None:
    before = utc_now()
    made = new_id()
    after = utc_now()
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    stamp = (made.int >> 80) / 1000
    assert before.timestamp() - 0.001 <= stamp <= after.timestamp()


def test_ids_of_later_milliseconds_sort_behind() -> None:
    made = []
    while len({each.int >> 80 for each in made}) < 5:
        made.append(new_id())
    stamps = [each.int >> 80 for each in made]
    assert stamps == sorted(stamps)
    by_text = sorted(made, key=str)
    assert [each.int >> 80 for each in by_text] == stamps


def test_a_thousand_ids_of_one_moment_all_differ() -> None:
    assert len({new_id() for _ in range(1000)}) == 1000


@given(MOMENTS)
def test_an_instant_survives_its_written_form(moment: datetime) -> None:
    text = iso(moment)
    assert from_iso(text) == moment
    assert from_iso(text).tzinfo is UTC
    assert len(text) == 27
    assert text.endswith("Z")


@given(MOMENTS, MOMENTS)
def test_written_instants_sort_as_the_instants_do(one: datetime, other: datetime) -> None:
    assert (iso(one) < iso(other)) is (one < other)


def test_other_rfc_3339_forms_are_read() -> None:
    noon = datetime(2026, 11, 23, 12, tzinfo=UTC)
    for text in ("2026-11-23T12:00:00Z", "2026-11-23T13:00:00+01:00", "2026-11-23 12:00:00.0Z"):
        assert from_iso(text) == noon


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a zone"):
        iso(datetime(2026, 11, 23, 12))  # noqa: DTZ001 - the case itself
    with pytest.raises(ValueError, match="needs a zone"):
        from_iso("2026-11-23T12:00:00")
    with pytest.raises(ValueError, match="Invalid isoformat"):
        from_iso("tomorrow")


def test_the_measuring_clock_never_goes_back() -> None:
    seen = [monotonic_s() for _ in range(1000)]
    assert seen == sorted(seen)
    assert utc_now().tzinfo is UTC
