"""A hostile server on loopback: it records what really arrives and answers with any bytes, or cuts the wire."""

import asyncio
import gzip
import json
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self
from urllib.parse import parse_qs, urlsplit


class Wire(StrEnum):
    """What happens to the connection instead of, or after, the answer."""

    KEEP = "keep"
    CLOSE = "close"  #: after the answer, which may be empty
    RESET = "reset"
    HANG = "hang"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    connection: int

    def json(self) -> dict[str, object]:
        return dict(json.loads(self.body))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    raw: bytes = b""
    wire: Wire = Wire.KEEP


def answer(
    status: int = 200,
    body: bytes | object = b"",
    *,
    headers: dict[str, str] | None = None,
    wire: Wire = Wire.KEEP,
) -> Answer:
    """Build a well-formed answer; anything but bytes is sent as JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"Content-Length": str(len(content)), "Content-Type": "application/json"}
    fields |= headers or {}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return Answer(raw=f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + content, wire=wire)


def truncated(body: object) -> Answer:
    whole = answer(200, body)
    return Answer(raw=whole.raw[:-5], wire=Wire.CLOSE)


def gzip_bomb(size: int = 30_000_000) -> Answer:
    packed = gzip.compress(b'{"id": "' + b"1" * size + b'"}')
    return answer(200, packed, headers={"Content-Encoding": "gzip"})


RESET = Answer(wire=Wire.RESET)
CLOSED = Answer(wire=Wire.CLOSE)
HANG = Answer(wire=Wire.HANG)

Handler = Callable[[Received], Answer]


@dataclass(slots=True)
class FakePlatform:
    """`routes` is looked up by (method, path); a path ending in `*` covers all that begins so."""

    routes: dict[tuple[str, str], Answer | Handler | list[Answer]] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    port: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def requests_to(self, method: str, path: str) -> list[Received]:
        return [item for item in self.received if (item.method, item.path) == (method, path)]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        number = self.connections
        try:
            while (request := await _read_request(reader, number)) is not None:
                self.received.append(request)
                if not await _reply(writer, self._answer_to(request)):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    def _answer_to(self, request: Received) -> Answer:
        found = self.routes.get((request.method, request.path))
        if found is None:
            for (method, path), route in self.routes.items():
                prefix = path.removesuffix("*")
                if method == request.method and path != prefix and request.path.startswith(prefix):
                    found = route
        match found:
            case None:
                return answer(404, {"error": "Record not found"})
            case Answer():
                return found
            case list():
                return found.pop(0) if len(found) > 1 else found[0]
            case _:
                return found(request)


async def _reply(writer: asyncio.StreamWriter, what: Answer) -> bool:
    """Write the answer; False when the connection has come to its end."""
    writer.write(what.raw)
    if what.wire is Wire.RESET:
        sock: socket.socket = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return False
    await writer.drain()
    if what.wire is Wire.HANG:
        await asyncio.Event().wait()
    return what.wire is Wire.KEEP


async def _read_request(reader: asyncio.StreamReader, connection: int) -> Received | None:
    start = await reader.readline()
    if not start:
        return None
    method, target, _ = start.decode().split(" ", 2)
    headers: dict[str, str] = {}
    while (line := await reader.readline()) not in {b"\r\n", b""}:
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = await _read_chunks(reader)
    else:
        body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    return Received(
        method=method,
        path=parts.path,
        query=query,
        headers=headers,
        body=body,
        connection=connection,
    )


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body
