"""Refusals as `application/problem+json` (RFC 9457) with the stable code."""

import json
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from scheduler.errors import ChanceryError

CONTENT_TYPE: Final = "application/problem+json"
_RETRY_S: Final = 1


def describe(error: ChanceryError) -> dict[str, Any]:
    """The members of the problem; the refusal's own details can add members, not change one."""
    return {
        **error.details,
        "type": "about:blank",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "code": error.code,
        "detail": str(error),
    }


def respond(error: ChanceryError) -> web.Response:
    headers = {}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
        headers["Retry-After"] = str(error.details.get("retry_after_s", _RETRY_S))
    return web.Response(
        status=error.status,
        text=json.dumps(describe(error), ensure_ascii=False, default=str),
        content_type=CONTENT_TYPE,
        headers=headers,
    )
