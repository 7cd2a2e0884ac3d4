"""Between aiohttp and the platforms: read the call whole, count it, play the fault, answer."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from aiohttp import web

from scheduler.practice.knobs import CallKind, Fault, Knobs, When
from scheduler.practice.limits import Demand, Limiter, Standing
from scheduler.practice.model import Account, Platform
from scheduler.practice.wire import Answer, Call, RefusalError
from scheduler.practice.world import World

Handler = Callable[[Call], Answer]
WebHandler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_DEFAULT_WAIT_S: Final = 300
_HTML_AFTER_EFFECT: Final = (
    b"<!doctype html><title>Welcome</title><p>This proxy has an opinion of its own."
)


class Face(Protocol):
    """What the two platforms do differently at the door."""

    platform: Platform

    def identify(self, call: Call) -> Account | None:
        """Whose token this is; None for a stranger or a bad token, which the endpoint refuses itself."""

    def add_routes(self, app: web.Application, edge: "Edge") -> None: ...

    def demand(self, call: Call, account: Account | None) -> Demand: ...

    def rate_headers(self, standing: Standing) -> dict[str, str]: ...

    def fault_answer(self, status: int) -> Answer:
        """The platform's own error body for a status that a knob asked for, or a limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Play:
    """One call under its fault."""

    request: web.Request
    fault: Fault
    headers: dict[str, str]
    refusal: Answer | None  #: when the fault has a status


class Edge:
    """Endpoints run without a pause between look and effect, so two calls with one key cannot both take effect."""

    def __init__(
        self, *, world: World, face: Face, origin: str, knobs: Knobs, limiter: Limiter | None
    ) -> None:
        self._origin = origin
        self._world = world
        self._face = face
        self._knobs = knobs
        self._limiter = limiter
        self._late: set[asyncio.TimerHandle] = set()

    def endpoint(self, handle: Handler, kind: CallKind = CallKind.OTHER) -> WebHandler:
        async def serve(request: web.Request) -> web.StreamResponse:
            received_ns = self._world.now_ns()
            call = self._read(request, await request.read(), received_ns)
            account = self._face.identify(call)
            demand = self._face.demand(call, account)
            headers: dict[str, str] = {}
            if self._limiter is not None:
                standing = self._limiter.take(demand)
                headers = self._face.rate_headers(standing)
                if standing.is_exceeded:
                    return _respond(self._face.fault_answer(429), headers)
            fault = self._knobs.take(kind, account)
            call = replace(call, account=account, fault=fault)
            play = _Play(
                request=request,
                fault=fault,
                headers=headers,
                refusal=self._refusal(fault, demand),
            )
            return await self._play(play, lambda: _run(handle, call))

        return serve

    def cancel_late_effects(self) -> None:
        for timer in self._late:
            timer.cancel()
        self._late.clear()

    def _read(self, request: web.Request, body: bytes, received_ns: int) -> Call:
        return Call(
            method=request.method,
            path=request.path,
            params=dict(request.match_info),
            query=request.query,
            pairs=tuple(request.query.items()),
            headers=request.headers,
            body=body,
            received_ns=received_ns,
            origin=self._origin,
            account=None,
            fault=Fault(),
        )

    def _refusal(self, fault: Fault, demand: Demand) -> Answer | None:
        """The answer with the status that a knob asked for; a 429 carries the headers of a used-up limit."""
        if fault.status is None:
            return None
        answer = self._face.fault_answer(fault.status)
        headers = dict(answer.headers)
        if fault.status == 429:  # noqa: PLR2004 - Too Many Requests
            wait_s = _DEFAULT_WAIT_S if fault.retry_after is None else fault.retry_after
            reset_ns = self._world.now_ns() + wait_s * 1_000_000_000
            headers |= self._face.rate_headers(
                Standing(window=demand.windows[0], remaining=0, reset_ns=reset_ns, is_exceeded=True)
            )
        if fault.retry_after is not None:
            headers["Retry-After"] = str(fault.retry_after)
        return replace(answer, headers=headers)

    async def _play(self, play: _Play, run: Callable[[], Answer]) -> web.StreamResponse:
        fault = play.fault
        if fault.late_effect_ms is not None:
            self._run_later(fault.late_effect_ms, run)
            return _cut(play.request)
        if fault.when is When.BEFORE:
            await asyncio.sleep(fault.latency_ms / 1000)
            if play.refusal is not None:
                return _respond(play.refusal, play.headers)
        answer = run()
        if fault.when is When.AFTER:
            await asyncio.sleep(fault.latency_ms / 1000)
        return await _spoilt(play, answer)

    def _run_later(self, delay_ms: int, run: Callable[[], Answer]) -> None:
        def effect() -> None:
            self._late.discard(timer)
            run()

        timer = asyncio.get_running_loop().call_later(delay_ms / 1000, effect)
        self._late.add(timer)


async def _spoilt(play: _Play, answer: Answer) -> web.StreamResponse:
    """Give the answer, or what a knob makes of it once the effect is there."""
    if play.fault.lose_answer:
        return _cut(play.request)
    if play.refusal is not None:
        return _respond(play.refusal, play.headers)
    if play.fault.html:
        page = Answer(body=_HTML_AFTER_EFFECT, content_type="text/html; charset=utf-8")
        return _respond(page, play.headers)
    if play.fault.truncate:
        return await _break_off(play.request, answer)
    return _respond(answer, play.headers)


def _run(handle: Handler, call: Call) -> Answer:
    try:
        return handle(call)
    except RefusalError as refusal:
        return refusal.answer


def _respond(answer: Answer, headers: dict[str, str]) -> web.Response:
    return web.Response(
        status=answer.status,
        body=answer.body,
        headers={
            "Content-Type": answer.content_type,
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
            **headers,
            **answer.headers,
        },
    )


def _cut(request: web.Request) -> web.Response:
    """Reset the connection; the response that aiohttp wants goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response()


async def _break_off(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(
        status=answer.status,
        headers={"Content-Type": answer.content_type, "Content-Length": str(len(answer.body))},
    )
    await response.prepare(request)
    await response.write(answer.body[: len(answer.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
