"""The digest of an approval: nothing that will be public can change without it."""

from collections.abc import Iterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.content import Item, Statement, idempotency_key

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ITEMS = tuple(
    Item(
        account_id=f"account-{n}",
        external_id=f"external-{n}",
        platform="mastodon",
        base_url="https://social.karvenia.example",
        language="en",
        payload=b'[{"request":{"status":"Good morning, Lipovec"}}]',
        due_at=NOON,
    )
    for n in range(5)
)
STATEMENT = Statement(
    post_id="post-1",
    revision=3,
    post_class="statement",
    items=ITEMS,
    editors=("person-1", "person-2"),
    sources={"texts": [["en", [{"text": "Good morning, Lipovec", "media": []}]]], "card": None},
    policy="sha256:ab",
    late_minutes=15,
    not_after=NOON + timedelta(hours=24),
)
DIGEST = STATEMENT.digest()
FORMER = "sha256:54497f0fb40daa1bd3fcbc8eb632e3a2e2b76768ee020c1821e35e11e36fef55"


def _places() -> Iterator[tuple[str, int | None]]:
    """Every field of the statement, and every field of each of its items."""
    for place in fields(Statement):
        if place.name != "items":
            yield place.name, None
    for index in range(len(ITEMS)):
        for place in fields(Item):
            yield place.name, index


PLACES = tuple(_places())


def _changed(value: Any, draw: st.DataObject) -> Any:
    """A value of the same kind that differs, at times in one character, byte or microsecond only."""
    match value:
        case str():
            at = draw.draw(st.integers(0, len(value) - 1))
            other = draw.draw(st.characters(codec="utf-8", exclude_characters=value[at] + "\0"))
            return value[:at] + other + value[at + 1 :]
        case bytes():
            at, bit = draw.draw(st.integers(0, len(value) - 1)), draw.draw(st.integers(0, 7))
            return value[:at] + bytes((value[at] ^ 1 << bit,)) + value[at + 1 :]
        case int():
            return value + draw.draw(st.integers(1, 1000)) * draw.draw(st.sampled_from([1, -1]))
        case datetime():
            step = timedelta(microseconds=draw.draw(st.integers(1, 10**12)))
            return draw.draw(st.sampled_from([None, value + step, value - step]))
        case tuple():
            return draw.draw(st.sampled_from([value[1:], value[:1], (*value, "person-3"), ()]))
        case dict():
            return _changed_sources(draw)
        case _:
            raise AssertionError(f"no change is known for {value!r}")


def _changed_sources(draw: st.DataObject) -> Any:
    text = _changed("Good morning, Lipovec", draw)
    image = {"sha256": "00", "alt": "a river"}
    card = {"uri": "https://karvenia.example", "title": "", "description": ""}
    segment: dict[str, Any] = {"text": "Good morning, Lipovec", "media": []}
    return draw.draw(
        st.sampled_from(
            [
                {"texts": [["en", [{**segment, "text": text}]]], "card": None},
                {"texts": [["sl", [segment]]], "card": None},
                {"texts": [["en", [segment, segment]]], "card": None},
                {"texts": [["en", [{**segment, "media": [image]}]]], "card": None},
                {"texts": [["en", [segment]]], "card": card},
                {"texts": [["en", [segment]], ["en", [segment]]], "card": None},
                {"texts": [], "card": None},
            ]
        )
    )


@pytest.mark.parametrize(("name", "index"), PLACES, ids=str)
@given(st.data())
def test_every_change_of_a_statement_changes_its_digest(
    name: str, index: int | None, data: st.DataObject
) -> None:
    if index is None:
        changed = replace(STATEMENT, **{name: _changed(getattr(STATEMENT, name), data)})
    else:
        items = list(ITEMS)
        items[index] = replace(items[index], **{name: _changed(getattr(items[index], name), data)})
        changed = replace(STATEMENT, items=tuple(items))
    assert changed.digest() != DIGEST


def test_the_property_covers_every_place_of_a_statement() -> None:
    assert len(PLACES) == 43


def test_a_digest_of_the_former_form_holds_for_its_content_and_no_other() -> None:
    """Taken from the release before, for exactly this statement."""
    former = STATEMENT.digest_like(FORMER)
    assert former == FORMER != DIGEST
    assert STATEMENT.digest_like(None) == STATEMENT.digest_like("sha256:00") == DIGEST
    other = replace(STATEMENT, post_class="routine")
    assert other.digest_like(FORMER) == other.digest()
    # what is approved in today's form does not hold in the former one without an editor
    fewer = replace(STATEMENT, editors=("person-1",))
    assert fewer.digest_like(DIGEST) != DIGEST


@given(st.permutations(ITEMS))
def test_the_order_of_the_accounts_is_no_part_of_what_is_approved(items: list[Item]) -> None:
    assert replace(STATEMENT, items=tuple(items)).digest() == DIGEST


def test_one_account_less_or_one_twice_is_another_content() -> None:
    less, twice = ITEMS[1:], (*ITEMS, ITEMS[0])
    assert len({replace(STATEMENT, items=each).digest() for each in (ITEMS, less, twice)}) == 3


def test_payloads_do_not_change_places_between_accounts_unseen() -> None:
    first = replace(ITEMS[0], payload=b"[1]")
    second = replace(ITEMS[1], payload=b"[1]")
    assert (
        replace(STATEMENT, items=(first, *ITEMS[1:])).digest()
        != replace(STATEMENT, items=(ITEMS[0], second, *ITEMS[2:])).digest()
    )


def test_the_same_instant_in_another_zone_is_the_same_content() -> None:
    elsewhere = NOON.astimezone(tz=datetime.strptime("+0900", "%z").tzinfo)
    items = tuple(replace(item, due_at=elsewhere) for item in ITEMS)
    assert replace(STATEMENT, items=items).digest() == DIGEST


def test_a_digest_names_its_hash_and_stays_what_it_was() -> None:
    """The value was computed once: a later change of the format would void every approval in the field."""
    assert DIGEST == "sha256:41d69f03b4afe233a906ea20c92e40c91c63edfa7fba5e9970214c17cfe2bf8b"


def test_a_statement_says_what_it_is_for_and_of_which_version() -> None:
    said = STATEMENT.as_json()
    assert (said["v"], said["kind"], said["post"], said["rev"]) == (2, "publish", "post-1", 3)


@given(st.uuids().map(str), st.integers(1, 99), st.integers(0, 99))
def test_the_idempotency_key_is_stable_and_short(delivery: str, revision: int, part: int) -> None:
    key = idempotency_key(delivery, revision, part)
    assert key == idempotency_key(delivery, revision, part)
    assert len(key) == 40
    assert set(key) <= set("0123456789abcdef")


def test_each_delivery_revision_and_part_has_a_key_of_its_own() -> None:
    keys = {
        idempotency_key(delivery, revision, part)
        for delivery in ("a", "b", "a1")
        for revision in (1, 2, 11)
        for part in (0, 1, 11)
    }
    assert len(keys) == 27
    assert idempotency_key("a", 1, 0) == "3014c133fa628bce46e0b3849c63fa9562b09104"
