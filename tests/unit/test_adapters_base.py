import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.answers import bearer, iso_time, parse_json, quoted, rate_limited, web_url_of
from adapters.base import Content, Credentials, Json, JsonObject, Segment, Slots, fill, rfc3339
from adapters.bluesky_record import build_tid, raw_cid
from adapters.checks import find_problems
from adapters.egress import EgressPolicy
from adapters.errors import CredentialsRejectedError
from adapters.http import PlatformHttp, Reply
from adapters.mastodon import MastodonAdapter

NOW = datetime(2026, 11, 24, 9, 30, 0, 123_999, tzinfo=UTC)
TID = re.compile(r"[234567abcdefghij][234567abcdefghijklmnopqrstuvwxyz]{12}")


def slots(**values: Json) -> Slots:
    media = values.get("media", {})
    assert isinstance(media, dict)
    key = values.get("record_key", "k")
    return Slots(
        media=media,
        parent=values.get("parent"),
        root=values.get("root"),
        record_key=str(key),
        created_at=NOW,
    )


def test_the_filled_bytes_are_sorted_and_compact() -> None:
    template: JsonObject = {
        "z": [{"$slot": "media", "sha256": "ab"}, True, None, 1],
        "a": {"b": {"$slot": "created_at"}, "č": {"$slot": "record_key"}},
        "p": ({"$slot": "parent"}, {"$slot": "root"}),
    }
    filled = fill(template, slots(media={"ab": {"ref": "x"}}, parent="p", root={"uri": "r"}))
    assert filled.decode() == (
        '{"a":{"b":"2026-11-24T09:30:00.123Z","č":"k"},"p":["p",{"uri":"r"}],'
        '"z":[{"ref":"x"},true,null,1]}'
    )


@pytest.mark.parametrize(
    "spelled",
    [
        {"$slot": "media"},
        {"$slot": "media", "sha256": 7},
        {"$slot": "media", "sha256": "missing"},
        {"$slot": "media", "sha256": "ab", "size": "small"},
        {"$slot": "parent", "also": 1},
        {"$slot": "root", "also": 1},
        {"$slot": "record_key", "also": 1},
        {"$slot": "created_at", "also": 1},
        {"$slot": "parent"},
        {"$slot": "root"},
        {"$slot": "record_key"},
        {"$slot": "now"},
        {"$slot": None},
        {"$slot": ["parent"]},
    ],
)
def test_a_slot_that_is_unknown_or_empty_is_refused(spelled: dict[str, Json]) -> None:
    with pytest.raises(ValueError, match="slot"):
        fill({"deep": [spelled]}, slots(media={"ab": "1"}, record_key=""))


def test_neither_text_nor_the_platforms_values_can_open_a_slot() -> None:
    text = '{"$slot":"parent"}'
    template: JsonObject = {"text": text, "media": {"$slot": "media", "sha256": "ab"}}
    filled = json.loads(fill(template, slots(media={"ab": {"$slot": "root"}}, root="r")))
    assert filled == {"text": text, "media": {"$slot": "root"}}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_what_json_cannot_carry_is_refused(value: Json) -> None:
    with pytest.raises(ValueError):
        fill({"a": value}, slots())


def test_a_time_without_a_zone_is_refused_and_others_become_utc() -> None:
    with pytest.raises(ValueError, match="zone"):
        rfc3339(NOW.replace(tzinfo=None))
    cet = timezone(timedelta(hours=1))
    assert rfc3339(NOW.astimezone(cet)) == "2026-11-24T09:30:00.123Z"


def test_secrets_are_not_shown() -> None:
    credentials = Credentials(
        base_url="https://a.example", external_id="1", identifier="i", secret="S1", session="S2"
    )
    assert "S1" not in repr(credentials)
    assert "S2" not in repr(credentials)


@given(
    st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2200, 1, 1)),  # noqa: DTZ001  # hypothesis wants naive bounds
    st.text(),
)
def test_every_record_key_is_a_valid_tid_of_its_millisecond(moment: datetime, key: str) -> None:
    aware = moment.replace(tzinfo=UTC)
    tid = build_tid(aware, key)
    assert TID.fullmatch(tid)
    assert tid == build_tid(aware, key)
    number = 0
    for digit in tid:
        number = number * 32 + "234567abcdefghijklmnopqrstuvwxyz".index(digit)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    millis = (aware - epoch) // timedelta(milliseconds=1)
    assert (number >> 10) // 1000 == millis


def test_record_keys_of_one_instant_differ_and_later_ones_sort_later() -> None:
    keys = {build_tid(NOW, f"delivery-{number}") for number in range(300)}
    assert len(keys) == 300
    later = build_tid(NOW + timedelta(milliseconds=1), "delivery-1")
    assert all(key < later for key in keys)


@pytest.mark.parametrize("moment", [NOW.replace(tzinfo=None), datetime(1969, 12, 31, tzinfo=UTC)])
def test_a_record_key_needs_a_real_time(moment: datetime) -> None:
    with pytest.raises(ValueError, match="1970"):
        build_tid(moment, "k")


def test_a_blob_is_named_by_its_bytes() -> None:
    # SHA-256 of nothing at all.
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert raw_cid(empty) == "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"


@given(st.binary())
def test_any_bytes_are_json_or_nothing(data: bytes) -> None:
    parse_json(data)


@pytest.mark.parametrize("text", [r"\ud800", r"\uDFFF", r"\udfff\ud800"])
def test_a_lone_surrogate_is_no_text(text: str) -> None:
    """No database stores it, so an answer that holds one must not get as far as the record."""
    assert parse_json(f'{{"id":"{text}"}}'.encode()) is None
    assert parse_json(rb'{"id":"\ud83d\uDE00"}') == {"id": "😀"}


@given(
    st.dictionaries(st.sampled_from(["Date", "Retry-After", "X-Reset"]), st.text(max_size=40)),
)
def test_any_headers_give_a_wait_between_a_second_and_a_day(headers: dict[str, str]) -> None:
    reply = Reply(status=429, headers=headers, body=b"", path="/", elapsed_ms=1)
    wait = rate_limited(reply, "X-Reset").retry_after
    assert timedelta(seconds=1) <= wait <= timedelta(hours=24)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"X-Reset": "1795512660"}, 60),
        ({"X-Reset": "1795512600000"}, 300),
        ({"X-Reset": "1795512000"}, 1),
        ({"X-Reset": "2026-11-24T10:31:00+01:00"}, 60),
        ({"X-Reset": "2026-11-24T09:31:00"}, 300),
        ({"X-Reset": "Tue, 24 Nov 2026 09:31:00 GMT"}, 60),
        ({"X-Reset": "9999-12-31T23:59:59-23:00"}, 300),
        ({"X-Reset": "Tue, 24 Nov 2026 09:31:00 -0000"}, 300),
        ({"X-Reset": "1795512660", "Date": "yesterday"}, 300),
        ({"X-Reset": "1795512660", "Date": "Tue, 24 Nov 2026 09:30:00 -0000"}, 300),
        ({"X-Reset": "1795512660", "Retry-After": "5"}, 5),
    ],
)
def test_the_platforms_reset_time_is_read_in_every_form(
    headers: dict[str, str], wait_s: int
) -> None:
    dated = {"Date": "Tue, 24 Nov 2026 09:30:00 GMT"} | headers
    reply = Reply(status=429, headers=dated, body=b"", path="/", elapsed_ms=1)
    assert rate_limited(reply, "X-Reset").retry_after == timedelta(seconds=wait_s)


def test_a_quotation_is_short_plain_and_free_of_secrets() -> None:
    said = "Text character\n limit of 500\x1b[31m exceeded secret-1 " + "a" * 20 + " b" * 300
    told = quoted(said, "secret-1", "", None)
    assert told.startswith("Text character limit of 500[31m exceeded … …")
    assert len(told) <= 200


@pytest.mark.parametrize("token", ["", "a b", "a\n", "č", "a" * 8001])
def test_a_token_that_no_header_holds_is_refused(token: str) -> None:
    with pytest.raises(CredentialsRejectedError) as caught:
        bearer(token)
    assert caught.value.code == "secret_malformed"


def test_only_web_addresses_are_taken_as_addresses() -> None:
    for bad in (
        "javascript:alert(1)",
        "https://a b",
        "https://a\n",
        "//a",
        "",
        "https://" + "a" * 2001,
    ):
        assert web_url_of({"url": bad}, "url") == ""
    assert web_url_of({"url": "https://a.example/č"}, "url") == "https://a.example/č"


@pytest.mark.parametrize("text", ["", "soon", "2026-11-24T09:30:00", "0001-01-01T00:00:00+23:00"])
def test_a_time_that_is_none_is_none(text: str) -> None:
    assert iso_time(text) is None


def test_a_platform_without_threads_says_so() -> None:
    adapter = MastodonAdapter(PlatformHttp(EgressPolicy()))
    capabilities = replace(adapter.capabilities, threads=False)
    content = Content(segments=(Segment(text="1"), Segment(text="2")), language="sl")
    (problem,) = find_problems(content, capabilities, {}, adapter.length)
    assert (problem.code, problem.segment) == ("thread_unsupported", 1)
