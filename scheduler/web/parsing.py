"""From the bytes of a request to closed, frozen values; one JSON reader, stricter than the standard."""

import asyncio
import json
import math
from collections import Counter
from typing import Any, Final, Never, TypeVar

from aiohttp import web
from multidict import MultiMapping
from pydantic import BaseModel, ConfigDict, ValidationError

from scheduler.canonical import MAX_DEPTH
from scheduler.domain.text import TextControlError, TextSurrogateError
from scheduler.web.refusals import (
    BodyInvalidError,
    BodySlowError,
    BodyTooLargeError,
    ContentEncodingError,
    ContentTypeError,
    FieldUnknownError,
    JsonDuplicateKeyError,
    JsonInvalidError,
    JsonNumberError,
    JsonTooDeepError,
    QueryInvalidError,
)

MAX_JSON_BYTES: Final = 1 << 20
_BODY_TIMEOUT_S: Final = 30.0
_MAX_INTEGER: Final = 2**53 - 1

M = TypeVar("M", bound=BaseModel)


class Input(BaseModel):
    """The base of what people send: closed and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=False)


async def read_body(request: web.Request, *, limit: int) -> bytes:
    """Read the body, never keeping more than `limit` bytes of it.

    Raises:
        ContentEncodingError, BodyTooLargeError, BodySlowError: nothing of it was used.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ContentEncodingError("send the body as it is, without compression")
    if (request.content_length or 0) > limit:
        raise BodyTooLargeError(f"a body of at most {limit} bytes is read here", limit=limit)
    data = bytearray()
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            async for chunk in request.content.iter_any():
                data += chunk
                if len(data) > limit:
                    raise BodyTooLargeError(
                        f"a body of at most {limit} bytes is read here", limit=limit
                    )
    except TimeoutError as exc:
        raise BodySlowError(f"the body did not arrive within {_BODY_TIMEOUT_S:.0f} s") from exc
    return bytes(data)


def require_json(request: web.Request, data: bytes) -> None:
    """Refuse a body that does not say it is JSON; where there is none, nothing has to be said."""
    if not data:
        return
    if (
        request.content_type != "application/json"
        or (request.charset or "utf-8").lower() != "utf-8"
    ):
        raise ContentTypeError("send `Content-Type: application/json`, in UTF-8")


def parse_body(model: type[M], data: bytes) -> M:
    """Read JSON into `model`; an empty body is an empty object.

    Raises:
        JsonInvalidError: see `load_json`.
        BodyInvalidError, FieldUnknownError: not of the documented form.
    """
    value = load_json(data) if data else {}
    try:
        # Our own reader has understood the bytes; pydantic reads JSON again because only there its strict mode takes
        # text for ids, times and enums.
        return model.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as exc:
        errors = describe(exc)
        unknown = [each["field"] for each in errors if each["code"] == "extra_forbidden"]
        if unknown:
            raise FieldUnknownError(
                f"no field {unknown[0]!r} is known here", errors=errors
            ) from exc
        raise BodyInvalidError(
            f"{errors[0]['field']}: {errors[0]['message']}", errors=errors
        ) from exc


def parse_query(model: type[M], query: "MultiMapping[str]") -> M:
    """Read the query into `model`; only a field that is a list may be given twice.

    Raises:
        QueryInvalidError: unknown, given twice, or of another form.
    """
    values: dict[str, str | list[str]] = {}
    lists = {field.alias or name for name, field in model.model_fields.items() if _is_list(field)}
    for key in set(query):
        given = query.getall(key)
        if key not in lists and len(given) > 1:
            raise QueryInvalidError(f"{key!a} is given {len(given)} times")
        values[key] = given if key in lists else given[0]
    try:
        return model.model_validate(values)
    except ValidationError as exc:
        errors = describe(exc)
        raise QueryInvalidError(
            f"{errors[0]['field']}: {errors[0]['message']}", errors=errors
        ) from exc


def describe(error: ValidationError) -> list[dict[str, str]]:
    """Where and why, without the input: it may be a secret."""
    return [
        {
            "field": ".".join(map(str, each["loc"])) or "body",
            "code": each["type"],
            "message": each["msg"],
        }
        for each in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def load_json(data: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Read JSON that every reader understands alike.

    Raises:
        JsonInvalidError: not UTF-8, not JSON, a byte order mark, or one of its kinds below.
        JsonDuplicateKeyError, JsonTooDeepError, JsonNumberError: as their names say.
        TextSurrogateError, TextControlError: a text holds half a pair or NUL.
    """
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_number,
            parse_int=_integer,
        )
    except UnicodeDecodeError as exc:
        raise JsonInvalidError(f"the body is not UTF-8 (byte {exc.start})") from exc
    except json.JSONDecodeError as exc:  # names the byte order mark itself
        raise JsonInvalidError(f"not JSON: {exc.msg} (character {exc.pos + 1})") from exc
    except RecursionError as exc:
        raise JsonTooDeepError(f"nested deeper than {MAX_DEPTH}") from exc
    _check(value, "body", MAX_DEPTH)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = counts.most_common(1)[0][0]
        raise JsonDuplicateKeyError(f"the key {twice[:60]!a} is given twice")
    return found


def _refuse_constant(name: str) -> Never:
    raise JsonNumberError(f"{name} is no JSON number")


def _number(text: str) -> int | float:
    """A whole number is an integer however it is written, as JSON Schema has it."""
    value = float(text)
    if not math.isfinite(value):
        raise JsonNumberError(f"{text[:40]} is too large")
    return _bounded(int(value), text) if value.is_integer() else value


def _integer(text: str) -> int:
    if len(text) > len(str(-_MAX_INTEGER)):
        raise JsonNumberError(f"{text[:40]} is beyond 2^53")
    return _bounded(int(text), text)


def _bounded(value: int, text: str) -> int:
    if abs(value) > _MAX_INTEGER:
        raise JsonNumberError(f"{text[:40]} is beyond 2^53")
    return value


def _check(value: object, place: str, depth: int) -> None:
    """Refuse what no database can hold, wherever it stands, and name the place."""
    if isinstance(value, str):
        _check_text(value, place)
    elif isinstance(value, dict | list):
        if depth == 0:
            raise JsonTooDeepError(f"nested deeper than {MAX_DEPTH}")
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            _check_text(str(key), place)
            _check(child, f"{place}.{key}", depth - 1)


def _check_text(text: str, place: str) -> None:
    if "\x00" in text:
        raise TextControlError(f"{place} holds NUL; remove it", field=place)
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        raise TextSurrogateError(f"{place} holds half of a pair; remove it", field=place)


def _is_list(field: Any) -> bool:  # noqa: ANN401 - pydantic's FieldInfo
    return getattr(field.annotation, "__origin__", None) in {list, tuple}
