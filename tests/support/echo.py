"""A platform that repeats every secret it is told: a server between worker and practice network that keeps what it saw."""

import json
from collections import Counter
from typing import Final, Self

from aiohttp import ClientSession, web

_KEPT_HEADERS: Final = ("Content-Type", "Authorization", "Idempotency-Key", "Accept")
_SECRET_FIELDS: Final = ("accessJwt", "refreshJwt", "password")


class EchoingPlatform:
    """Passes calls on to `target`; the first calls of each endpoint answer an error with the caller's secrets in it."""

    def __init__(self, target: str, *, statuses: tuple[int, ...]) -> None:
        self._target = target
        self._statuses = statuses
        self._asked = Counter[str]()
        self._runner: web.AppRunner | None = None
        self._session: ClientSession | None = None
        self.is_hostile = False
        self.seen: set[str] = set()  #: every secret that went through
        self.echoed = 0
        self.url = ""

    async def __aenter__(self) -> Self:
        self._session = ClientSession(auto_decompress=False)
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        assert self._session is not None
        await self._runner.cleanup()
        await self._session.close()

    async def _serve(self, request: web.Request) -> web.Response:
        body = await request.read()
        told = {request.headers.get("Authorization", "").removeprefix("Bearer ")} | _secrets_in(
            body
        )
        self.seen |= told - {""}
        status = self._next_error(request)
        if status is not None:
            self.echoed += 1
            return _echo(status, sorted(told - {""}))
        assert self._session is not None
        headers = {name: value for name in _KEPT_HEADERS if (value := request.headers.get(name))}
        async with self._session.request(
            request.method, self._target + request.raw_path, data=body or None, headers=headers
        ) as answer:
            content = await answer.read()
            self.seen |= _secrets_in(content)
            return web.Response(
                status=answer.status,
                body=content,
                headers={"Content-Type": answer.headers.get("Content-Type", "text/plain")},
            )

    def _next_error(self, request: web.Request) -> int | None:
        """The status of an error instead of the answer, one after the other for each endpoint; then no more."""
        if not self.is_hostile:
            return None
        endpoint = f"{request.method} {request.path.rstrip('0123456789')}"
        number = self._asked[endpoint]
        self._asked[endpoint] += 1
        return self._statuses[number] if number < len(self._statuses) else None


def _echo(status: int, secrets: list[str]) -> web.Response:
    """The error of a careless server: the secrets in its body, its reason and its headers."""
    said = " ".join(f"token '{secret}' ({secret[:18]}... {secret[-18:]})" for secret in secrets)
    body = {
        "error": f"InvalidThing {said}",
        "message": f"refused: {said}",
        "error_description": said,
    }
    return web.Response(
        status=status,
        text=json.dumps(body),
        content_type="application/json",
        headers={"X-Request": " ".join(secrets), "Retry-After": "1"},
    )


def _secrets_in(body: bytes) -> set[str]:
    try:
        value = json.loads(body)
    except ValueError:
        return set()
    if not isinstance(value, dict):
        return set()
    return {str(value[name]) for name in _SECRET_FIELDS if value.get(name)}
