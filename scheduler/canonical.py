"""Canonical JSON: the bytes of RFC 8785 for the subset that is hashed here.

Keys are printable ASCII; numbers are integers below 2^53; no lone surrogate and no NUL. Under these limits sorted,
compact standard-library JSON equals RFC 8785 (`tests/unit/test_canonical.py` compares with an oracle).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence

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
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def sha256_hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _check(value: object, depth: int) -> None:
    match value:
        case None | bool():
            return
        case str():
            _check_text(value)
        case int():
            if abs(value) > _MAX_INTEGER:
                raise ValueError("integers stay below 2^53")
        case dict() | list() | tuple():
            if depth == 0:
                raise ValueError(f"deeper than {MAX_DEPTH}")
            _check_children(value, depth - 1)
        case _:
            raise ValueError(f"{type(value).__name__} has no canonical form")


def _check_children(
    value: dict[object, object] | list[object] | tuple[object, ...], depth: int
) -> None:
    if isinstance(value, dict):
        for key in value:
            _check_key(key)
        value = list(value.values())
    for child in value:
        _check(child, depth)


def _check_key(key: object) -> None:
    if not (isinstance(key, str) and key.isascii() and key.isprintable()):
        raise ValueError("keys are printable ASCII")


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise ValueError("text holds NUL")
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise ValueError("text holds a lone surrogate")
