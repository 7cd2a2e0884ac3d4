"""Requests to the API, eight clients at once: a post written, and a page of 50 posts read."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

import aiohttp

from adapters.registry import build
from bench import seed
from bench.line import Line
from bench.yard import Yard
from scheduler.app import application
from scheduler.db import persons
from scheduler.services import tokens
from tests.support.processes import WebProcess

_CLIENTS: Final = 8
_PATH: Final = "/api/v1/posts"
POST: Final = {
    "mission": "krv.hq",
    "texts": {"en": [{"text": seed.TEXT}]},
    "targets": ["lane1", "lane2"],
    "when": {"local": "2090-06-01T09:00", "zone": "UTC"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    url: str
    pid: int
    token: str = ""


async def measure(yard: Yard, count: int) -> tuple[Line, Line]:
    """Create so many posts and read as many pages; what is read is what was created."""
    async with chancery(yard) as server:
        ours = [await _ask(yard, server, method, count) for method in ("POST", "GET")]
    with _limit(yard) as server:
        least = [await _ask(yard, server, method, count) for method in ("POST", "GET")]
    create, read = (
        Line.of(name, rate, limit, unit, cpu_us)
        for name, unit, (rate, cpu_us), (limit, _) in zip(
            ("create", "list"), ("posts/s", "pages/s"), ours, least, strict=True
        )
    )
    return create, read


async def _ask(yard: Yard, server: Server, method: str, count: int) -> tuple[float, dict[str, int]]:
    """Requests a second, and the CPU time of each."""
    headers = {"Authorization": f"Bearer {server.token}"}
    async with aiohttp.ClientSession(server.url, headers=headers) as http:

        async def client() -> None:
            for _ in range(count // _CLIENTS):
                body = POST if method == "POST" else None
                key = {"Idempotency-Key": str(uuid4())} if body else {}
                async with http.request(method, _PATH, json=body, headers=key) as answer:
                    if answer.status not in {200, 201}:
                        raise RuntimeError(await answer.text())
                    await answer.read()

        await asyncio.gather(*(client() for _ in range(2)))  # everything is warm
        before, began = yard.cpu(server.pid), time.perf_counter()
        await asyncio.gather(*(client() for _ in range(_CLIENTS)))
        took_s = time.perf_counter() - began
    asked = count // _CLIENTS * _CLIENTS
    return asked / took_s, yard.cpu(server.pid).each_us(before, asked)


@asynccontextmanager
async def chancery(yard: Yard) -> AsyncIterator[Server]:
    order = seed.Order(count=0, due=0, rate=0, url=yard.url)
    await seed.seed(yard.settings, order)
    async with (
        application(yard.settings, service="bench", platforms=build, ringing=False) as app,
        app.open_uow() as uow,
    ):
        person = await persons.get_by_code(uow, "hocevar")
        code = await tokens.enrol(uow, person, issued_by=None)
        token = (await tokens.redeem(uow, code.code)).token
    with WebProcess(yard.settings, yard.folder / "web.log", CHANCERY_LOG_LEVEL="WARNING") as web:
        yield Server(url=web.url, pid=web.pid, token=token)


@contextmanager
def _limit(yard: Yard) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.limit_web", str(port)],
        env={**os.environ, "LIMIT_DSN": yard.limit_dsn},
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield Server(url=f"http://127.0.0.1:{port}", pid=process.pid)
    finally:
        process.kill()
        process.communicate()
