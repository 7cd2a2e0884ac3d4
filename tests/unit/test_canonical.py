"""Canonical JSON, against an independent implementation of RFC 8785."""

import hashlib
import json

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.canonical import MAX_DEPTH, JsonValue, canonical, sha256_hex

KEYS = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=8)
TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=12)
LEAVES = st.none() | st.booleans() | st.integers(1 - 2**53, 2**53 - 1) | TEXTS
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(VALUES)
def test_the_bytes_are_those_of_rfc_8785(value: JsonValue) -> None:
    data = canonical(value)
    assert data == rfc8785.dumps(value)
    assert json.loads(data) == value


def test_one_value_has_one_form() -> None:
    assert canonical({"b": [1, True, None], "a": "č"}) == '{"a":"č","b":[1,true,null]}'.encode()
    assert canonical(("x", -1)) == b'["x",-1]'


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        {"a": float("nan")},
        2**53,
        -(2**53),
        {"č": 1},
        {"\n": 1},
        "\ud800",
        ["\udfff"],
        "a\x00b",
        b"bytes",
        {1, 2},
    ],
)
def test_a_value_outside_of_the_subset_is_refused(value: JsonValue) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        canonical(value)


def test_the_largest_integers_are_inside() -> None:
    assert canonical([2**53 - 1, 1 - 2**53]) == b"[9007199254740991,-9007199254740991]"


def test_depth_ends_at_16() -> None:
    value: JsonValue = 0
    for _ in range(MAX_DEPTH):
        value = [value]
    assert canonical(value) == b"[" * 16 + b"0" + b"]" * 16
    with pytest.raises(ValueError, match="deeper than 16"):
        canonical([value])


def test_hex_is_sha_256() -> None:
    assert sha256_hex(b"x") == hashlib.sha256(b"x").hexdigest()
