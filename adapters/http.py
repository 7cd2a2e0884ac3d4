"""The one way out: HTTP with an egress guard, no redirects, and an exact account of whether a request left the host.

aiohttp repeats PUT, DELETE and GET after a lost connection, even after a fresh one. So a trace hook refuses to send the
headers of a publishing request a second time.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from types import SimpleNamespace
from typing import Final, Self

import aiohttp
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from adapters.egress import EgressPolicy, EgressRefusedError, guarded_socket
from adapters.errors import AdapterError, Evidence, OutcomeUnknownError, UnavailableError

MAX_ANSWER_BYTES: Final = 2_000_000  # after decompression
_CHUNK_BYTES: Final = 65_536
_PUBLISH_IDLE_S: Final = 4.5  # a server rarely drops a connection that was idle for less than 5 s


class Lane(StrEnum):
    """Connections are not shared between lanes."""

    READ = "read"
    PUBLISH = "publish"
    FRESH = "fresh"  #: a connection is used once


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    url: URL
    timeout: timedelta
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes | aiohttp.FormData | None = field(default=None, repr=False)
    publishes: bool = False  #: a repeat could make a second post

    @property
    def lane(self) -> Lane:
        if not self.publishes:
            return Lane.READ
        return Lane.PUBLISH if self.method == "POST" else Lane.FRESH


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole answer of any status; redirects arrive as they are."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    path: str
    elapsed_ms: int

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    @property
    def evidence(self) -> Evidence:
        return {
            "status": self.status,
            "path": self.path,
            "ms": self.elapsed_ms,
            "sha256": self.sha256,
        }


@dataclass(slots=True, kw_only=True)
class _Progress:
    once: bool
    headers_sent: bool = False


class _AnswerTooLargeError(Exception):
    pass


class _SecondSendError(Exception):
    pass


# All that a broken network or server makes aiohttp raise; anything else is a bug and may crash.
_FAILURES: Final = (
    aiohttp.ClientError,
    HttpProcessingError,
    OSError,
    ValueError,
    _AnswerTooLargeError,
    _SecondSendError,
)


class PlatformHttp:
    """Use as an async context manager; answers of every status are returned, lost ones raise."""

    def __init__(
        self, egress: EgressPolicy, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._egress = egress
        self._sleep = sleep
        self._open = AsyncExitStack()
        self._sessions: dict[tuple[Lane, bool], aiohttp.ClientSession] = {}

    async def __aenter__(self) -> Self:
        for lane in Lane:
            for trusted in (False, True):
                session = await self._open.enter_async_context(_session(lane, trusted=trusted))
                self._sessions[lane, trusted] = session
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def pause(self, seconds: float) -> None:
        await self._sleep(seconds)

    async def send(self, request: Request) -> Reply:
        """Send one request, without redirects; a publishing request is written at most once.

        Raises:
            UnavailableError: nothing was published; `egress_refused`, `unreachable`, or `no_answer` if repeatable.
            OutcomeUnknownError: a publishing request left the host and no whole answer came back.
        """
        self._egress.check(request.url)
        session = self._sessions[request.lane, self._egress.trusts(request.url)]
        progress = _Progress(once=request.publishes)
        started = time.monotonic()
        try:
            async with (
                asyncio.timeout(request.timeout.total_seconds()),
                session.request(
                    request.method,
                    request.url,
                    headers=request.headers,
                    data=request.body,
                    allow_redirects=False,
                    trace_request_ctx=progress,
                ) as response,
            ):
                body = await _read(response)
        except _FAILURES as error:
            # No cause is chained: aiohttp's errors carry the request's headers, and those the token.
            raise _lost(request, progress, error, _ms_since(started)) from None
        return Reply(
            status=response.status,
            headers=response.headers,
            body=body,
            path=request.url.path,
            elapsed_ms=_ms_since(started),
        )


def endpoint(base_url: str, path: str, **query: str) -> URL:
    """Join a server's address and an API path.

    Raises:
        UnavailableError: `egress_refused`, when the address holds more than scheme, host and port.
    """
    try:
        base = URL(base_url)
        if base == base.origin():
            return base.with_path(path).with_query(query or None)
    except ValueError:
        pass  # said below, like every other bad address
    raise UnavailableError(
        "the server's address must be https://host and nothing more", code="egress_refused"
    )


def _session(lane: Lane, *, trusted: bool) -> aiohttp.ClientSession:
    fresh = lane is Lane.FRESH
    idle_s = _PUBLISH_IDLE_S if lane is Lane.PUBLISH else 15.0
    connector = aiohttp.TCPConnector(
        limit=500,
        socket_factory=None if trusted else guarded_socket,
        force_close=fresh,
        keepalive_timeout=None if fresh else idle_s,
    )
    trace = aiohttp.TraceConfig()
    trace.on_request_headers_sent.append(_note_headers)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": "Chancery", "Accept-Encoding": "gzip"},
        timeout=aiohttp.ClientTimeout(total=None),
        trace_configs=[trace],
        trust_env=False,
    )


async def _note_headers(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _params: aiohttp.TraceRequestHeadersSentParams,
) -> None:
    # aiohttp calls this just before the first byte is written.
    progress: _Progress = context.trace_request_ctx
    if progress.once and progress.headers_sent:
        raise _SecondSendError
    progress.headers_sent = True


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise _AnswerTooLargeError
    return bytes(body)


def _ms_since(started: float) -> int:
    return round((time.monotonic() - started) * 1000)


def _lost(request: Request, progress: _Progress, error: Exception, elapsed_ms: int) -> AdapterError:
    evidence: Evidence = {
        "path": request.url.path,
        "ms": elapsed_ms,
        "cause": type(error).__name__,
    }
    if isinstance(getattr(error, "os_error", None), EgressRefusedError):
        message = "refused to connect: the name leads to a private address"
        return UnavailableError(message, code="egress_refused", evidence=evidence)
    if not progress.headers_sent:
        return UnavailableError(
            "the server could not be reached", code="unreachable", evidence=evidence
        )
    if not request.publishes:
        return UnavailableError("no whole answer came back", code="no_answer", evidence=evidence)
    return OutcomeUnknownError(
        "the request left, but no whole answer came back", code="no_answer", evidence=evidence
    )
