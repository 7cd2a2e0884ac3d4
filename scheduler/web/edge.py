"""The outermost layer: every request has an id, an answer in one form, a line in the log, and safe headers."""

import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web
from aiohttp.hdrs import METH_ALL

from scheduler.clock import monotonic_s
from scheduler.errors import ChanceryError
from scheduler.ids import new_id
from scheduler.web import problems
from scheduler.web.metrics import Metrics
from scheduler.web.refusals import InternalFaultError, MethodNotAllowedError, RouteUnknownError

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
REQUEST_ID: Final = "X-Request-Id"
_SAFE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "chancery",
}
_HSTS: Final = "max-age=31536000; includeSubDomains"


def build_middleware(
    metrics: Metrics, *, is_https: bool
) -> Callable[..., Awaitable[web.StreamResponse]]:
    headers = {**_SAFE, "Strict-Transport-Security": _HSTS} if is_https else _SAFE

    @web.middleware
    async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer, whatever happens; the log line has neither query nor body nor token."""
        started_s = monotonic_s()
        request_id = str(new_id())
        with structlog.contextvars.bound_contextvars(request=request_id):
            response = await _answer(request, handler)
            seconds = monotonic_s() - started_s
            route = _name(request)
            log.info(
                "http.request",
                method=request.method if request.method in METH_ALL else "?",
                route=route,
                status=response.status,
                duration_ms=round(seconds * 1000, 1),
            )
        metrics.count(route=route, status=response.status, seconds=seconds)
        response.headers.update(headers)
        response.headers[REQUEST_ID] = request_id
        return response

    return edge


_UNKNOWN: Final = "unknown"


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ChanceryError as exc:
        return problems.respond(exc)
    except web.HTTPMethodNotAllowed as exc:
        allowed = ", ".join(sorted(exc.allowed_methods))
        response = problems.respond(MethodNotAllowedError(f"the methods here are {allowed}"))
        response.headers["Allow"] = allowed
        return response
    except web.HTTPNotFound:
        return problems.respond(RouteUnknownError("there is nothing at this address"))
    except Exception as exc:  # noqa: BLE001 - a fault of ours is told to the log, not to the caller
        # Where, not what: the words and values of an exception may hold what was sent.
        frames = traceback.extract_tb(exc.__traceback__)
        where = [f"{Path(each.filename).name}:{each.lineno} {each.name}" for each in frames]
        log.error("http.failed", error=type(exc).__name__, where=where)  # noqa: TRY400
        return problems.respond(InternalFaultError("a fault of ours; the log has it by request id"))


def _name(request: web.Request) -> str:
    """The route's pattern, never the address: an address may hold anything."""
    resource = request.match_info.route.resource
    return _UNKNOWN if resource is None else resource.canonical
