"""Strict reading: evidence has one byte form, so whatever reads in two ways is refused."""

import base64
import binascii
from typing import NoReturn

import orjson

from scheduler.canonical import JsonObject, JsonValue, canonical
from scheduler.errors import InvalidError


class MalformedError(InvalidError):
    """Bytes that are not in the one form which evidence has."""

    code = "evidence_malformed"


def parse_canonical(data: bytes) -> JsonObject:
    """Read a JSON object that is in its canonical bytes; a repeated key, a float or a space is refused.

    Raises:
        MalformedError: any other bytes.
    """
    try:
        value = orjson.loads(data)
        if canonical(value) != data:  # also when a key was repeated
            raise MalformedError("the JSON is not in canonical form")
    except ValueError as exc:
        raise MalformedError("not canonical JSON") from exc
    if not isinstance(value, dict):
        raise MalformedError("not a JSON object")
    return value


def decode_base64(text: str) -> bytes:
    """Read standard base64 with padding, in its only spelling.

    Raises:
        MalformedError: another alphabet, missing padding, or stray bits at the end.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise MalformedError("not base64") from exc
    if encode_base64(data) != text:
        raise MalformedError("not the only base64 spelling")
    return data


def encode_base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Members:
    """The members of a JSON object, each read once with its type; `close` refuses what is left over.

    Every method raises `MalformedError`.
    """

    def __init__(self, value: JsonValue, name: str) -> None:
        if not isinstance(value, dict):
            raise MalformedError(f"{name} is not an object")
        self._left: dict[str, JsonValue] = dict(value)
        self._name = name

    def text(self, key: str) -> str:
        value = self._take(key)
        if not isinstance(value, str):
            self._refuse(key, "a text")
        return value

    def integer(self, key: str) -> int:
        """A whole number from 0."""
        value = self._take(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            self._refuse(key, "a whole number from 0")
        return value

    def mapping(self, key: str) -> JsonObject:
        value = self._take(key)
        if not isinstance(value, dict):
            self._refuse(key, "an object")
        return value

    def members(self, key: str) -> "Members":
        return Members(self._take(key), f"{self._name}.{key}")

    def __contains__(self, key: str) -> bool:
        return key in self._left

    def close(self) -> None:
        if self._left:
            raise MalformedError(f"{self._name} has more members: {', '.join(sorted(self._left))}")

    def _take(self, key: str) -> JsonValue:
        if key not in self._left:
            raise MalformedError(f"{self._name} has no {key}")
        return self._left.pop(key)

    def _refuse(self, key: str, kind: str) -> NoReturn:
        raise MalformedError(f"{self._name}.{key} is not {kind}")
