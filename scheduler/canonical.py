"""Canonical JSON: the bytes of RFC 8785 for the subset that is hashed here.

Keys are printable ASCII; numbers are integers below 2^53; no lone surrogate and no NUL. Under these limits sorted,
compact JSON equals RFC 8785 (`tests/unit/test_canonical.py` compares with an oracle).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

import orjson

JsonValue = None | bool | int | str | Sequence["JsonValue"] | Mapping[str, "JsonValue"]
JsonObject = Mapping[str, JsonValue]

MAX_DEPTH = 16
_MAX_INTEGER = 2**53 - 1


def canonical(value: JsonValue) -> bytes:
    """Return the one byte form of `value`.

    Raises:
        ValueError: outside the subset (a float, a key that is not ASCII, depth over 16, a lone surrogate, NUL, …).
    """
    _check(value, MAX_DEPTH)
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as exc:  # a lone surrogate
        raise ValueError(str(exc)) from exc


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _check(value: object, depth: int) -> None:
    kind = type(value)
    if kind is dict:
        _check_depth(depth)
        for key in value:  # type: ignore[attr-defined]
            _check_key(key)
        _check_all(value.values(), depth - 1)  # type: ignore[attr-defined]
    elif kind is list or kind is tuple:
        _check_depth(depth)
        _check_all(value, depth - 1)  # type: ignore[arg-type]
    else:
        _check_rare(value, depth)


def _check_all(values: Iterable[object], depth: int) -> None:
    """Most values are text, and every record is checked three times on its way: no call for each of them."""
    for value in values:
        kind = type(value)
        if kind is str:
            if "\x00" in value:  # type: ignore[operator]
                raise ValueError("text holds NUL")
        elif value is not None and kind is not bool:
            _check(value, depth)


def _check_rare(value: object, depth: int) -> None:
    """Numbers, what stands alone, and subclasses of the kinds above."""
    match value:
        case None | bool():
            pass
        case int():
            if abs(value) > _MAX_INTEGER:
                raise ValueError("integers stay below 2^53")
        case str():
            _check_all([str(value)], depth)
        case dict():
            _check(dict(value), depth)
        case _:
            raise ValueError(f"{type(value).__name__} has no canonical form")


def _check_depth(depth: int) -> None:
    if depth == 0:
        raise ValueError(f"deeper than {MAX_DEPTH}")


@lru_cache(maxsize=4096)  # records have few different keys
def _check_key(key: object) -> None:
    if not (isinstance(key, str) and key.isascii() and key.isprintable()):
        raise ValueError("keys are printable ASCII")
