"""Requests and answers as values: every endpoint is a plain function from a `Call` to an `Answer`."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl

from scheduler.canonical import sha256_hex
from scheduler.practice.knobs import Fault
from scheduler.practice.model import Account

_JSON_TYPE: Final = "application/json; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int = 200
    body: bytes = b""
    content_type: str = _JSON_TYPE
    headers: Mapping[str, str] = field(default_factory=dict)


class RefusalError(Exception):
    """The platform says no, in its own words."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, read whole, and who makes it."""

    method: str
    path: str
    params: Mapping[str, str]  #: from the path
    query: Mapping[str, str]
    pairs: tuple[tuple[str, str], ...]  #: the query with its repeated names
    headers: Mapping[str, str]  #: any case
    body: bytes
    received_ns: int
    origin: str  #: our own address, `http://host:port`
    account: Account | None
    fault: Fault

    @property
    def sha256(self) -> str:
        return sha256_hex(self.body)

    @property
    def bearer(self) -> str:
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    @property
    def content_type(self) -> str:
        return self.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def json_answer(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> Answer:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(status=status, body=body, headers=headers or {})


def read_json(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    """Parse what a strict platform parses.

    Raises:
        ValueError: not JSON, too deep, NaN or an infinity, or text that is no Unicode (a lone surrogate).
    """
    try:
        value = json.loads(body.decode(), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if b"\\ud" in body.lower():
        json.dumps(value, ensure_ascii=False).encode()
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    name: str
    content_type: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Fields of a form, a query or a JSON object; `x[]` and `x` are the same field, as in Rails."""

    values: Mapping[str, tuple[str, ...]]
    files: Mapping[str, File]

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def get(self, name: str) -> str:
        return (self.values.get(name) or ("",))[-1]

    def all(self, name: str) -> tuple[str, ...]:
        return self.values.get(name, ())

    def flag(self, name: str) -> bool:
        return self.get(name).lower() not in {"", "0", "false", "f", "off"}


def read_form(call: Call) -> Form:
    """Read the fields of a call, whatever form its body has.

    Raises:
        ValueError: the body is not what its content type says.
    """
    pairs: list[tuple[str, str]] = list(call.pairs)
    files: dict[str, File] = {}
    if call.content_type == "application/json":
        pairs.extend(_json_pairs(read_json(call.body or b"{}")))
    elif call.content_type == "multipart/form-data":
        for name, file in _parts(call.headers.get("Content-Type", ""), call.body):
            if file.name:
                files[name] = file
            else:
                pairs.append((name, file.data.decode()))
    else:
        pairs.extend(parse_qsl(call.body.decode(), keep_blank_values=True, errors="strict"))
    values: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        plain = name.removesuffix("[]")
        values[plain] = (*values.get(plain, ()), value)
    return Form(values=values, files=files)


def _json_pairs(value: object) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        raise ValueError("the body is not an object")  # noqa: TRY004 - the input is wrong, not the code
    for name, item in value.items():
        for one in item if isinstance(item, list) else [item]:
            if one is not None:
                yield name, _plain(one)


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else json.dumps(value)


def _parts(content_type: str, body: bytes) -> Iterator[tuple[str, File]]:
    """Split a multipart body (RFC 7578)."""
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str) or not boundary:
        raise ValueError("multipart without a boundary")
    mark = b"\r\n--" + boundary.encode()
    for piece in (b"\r\n" + body).split(mark)[1:]:
        if piece.startswith(b"--"):
            return
        head, found, data = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if not found:
            raise ValueError("a part without a body")
        yield _part(head.decode(), data)
    raise ValueError("the body ends before its last part")


def _part(head: str, data: bytes) -> tuple[str, File]:
    part = Message()
    for line in head.split("\r\n"):
        name, _, value = line.partition(":")
        part[name] = value.strip()
    field_name = part.get_param("name", header="Content-Disposition")
    if not isinstance(field_name, str):
        raise ValueError("a part without a name")  # noqa: TRY004 - the input is wrong, not the code
    return field_name, File(
        name=part.get_filename() or "", content_type=part.get_content_type(), data=data
    )
