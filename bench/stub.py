"""A platform that takes every post at once and keeps when it came: `python -m bench.stub`; it prints its address.

`GET /arrivals` tells the arrivals as JSON, `[[Unix seconds, Idempotency-Key], …]`, and forgets them. It is as little as
can be, so that what is measured is whoever posts to it.
"""

import asyncio
import json
import time
from typing import Final, cast

import uvloop

_END: Final = b"\r\n\r\n"
_ANSWER: Final = b'{"id":"1","name":"Lipovec"}'


class Connection(asyncio.Protocol):
    """One client's connection, one request at a time."""

    arrivals: Final[list[tuple[float, str]]] = []  # of the whole process

    def __init__(self) -> None:
        self._data = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's own kind

    def data_received(self, data: bytes) -> None:
        self._data += data
        while (end := self._data.find(_END)) >= 0:
            start, *lines = self._data[:end].decode("latin-1").split("\r\n")
            headers = {name.lower(): value for name, _, value in (x.partition(": ") for x in lines)}
            size = end + len(_END) + int(headers.get("content-length", "0"))
            if len(self._data) < size:
                return
            self._data = self._data[size:]
            self._answer(start, headers.get("idempotency-key", ""))

    def _answer(self, start: str, key: str) -> None:
        body = _ANSWER
        if start.startswith("POST "):
            self.arrivals.append((time.time(), key))
        elif start.startswith("GET /arrivals"):
            body = json.dumps(self.arrivals).encode()
            self.arrivals.clear()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        self._transport.write(head.encode() + _END + body)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(
        Connection, "127.0.0.1", 0, backlog=4096
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
