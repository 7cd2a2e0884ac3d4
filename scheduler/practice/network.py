"""The practice network as a whole: one world, two servers."""

import secrets
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from scheduler.practice.accounts import NewAccount, open_account
from scheduler.practice.admin import Admin, Turn
from scheduler.practice.bluesky.face import BlueskyFace
from scheduler.practice.edge import Edge, Face
from scheduler.practice.knobs import Knobs
from scheduler.practice.limits import Limiter
from scheduler.practice.mastodon.face import MastodonFace
from scheduler.practice.model import Effect, JsonObject, Platform
from scheduler.practice.pages import Pages
from scheduler.practice.world import World

_BACKLOG: Final = 1024
_BODY_BYTES: Final = 128 * 1024 * 1024
_SHUTDOWN_S: Final = 0.5


class PracticeNetwork:
    """Two servers on addresses `host:port` (port 0: any free one) over one folder; start, stop and start again."""

    def __init__(
        self,
        data: Path,
        *,
        addresses: dict[Platform, str] | None = None,
        admin_token: str | None = None,
        limits: bool = True,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.admin_token = admin_token or secrets.token_urlsafe(24)
        self._data = data
        self._addresses = dict.fromkeys(Platform, "127.0.0.1:0") | (addresses or {})
        self._has_limits = limits
        self._now_ns = now_ns
        self._origins: dict[Platform, str] = {}
        self._world: World | None = None
        self._admins: dict[Platform, Admin] = {}
        self._runners: list[web.AppRunner] = []
        self._edges: list[Edge] = []

    @property
    def mastodon_url(self) -> str:
        return self._origins[Platform.MASTODON]

    @property
    def bluesky_url(self) -> str:
        return self._origins[Platform.BLUESKY]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Rebuild the state from the log and listen.

        Raises:
            OSError: an address is taken, or the folder cannot be written.
            ValueError: an address is not `host:port`, or the log is not ours.
        """
        self._data.mkdir(parents=True, exist_ok=True)
        self._world = world = World(self._data, self._now_ns)
        sockets = {platform: _listening(self._addresses[platform]) for platform in Platform}
        self._origins = {platform: _origin(one) for platform, one in sockets.items()}
        knobs = {platform: Knobs() for platform in Platform}
        limiter = Limiter(self._now_ns) if self._has_limits else None
        faces: list[Face] = [MastodonFace(world), BlueskyFace(world, self._data)]
        for face in faces:
            edge = Edge(
                world=world,
                face=face,
                origin=self._origins[face.platform],
                knobs=knobs[face.platform],
                limiter=limiter,
            )
            admin = Admin(
                world=world,
                platform=face.platform,
                origins=self._origins,
                knobs=knobs,
                limiter=limiter,
            )
            self._edges.append(edge)
            self._admins[face.platform] = admin
            await self._serve(face, edge, admin, sockets[face.platform])

    async def stop(self) -> None:
        """Answer what is under way, drop effects that a knob put off, and close."""
        for edge in self._edges:
            edge.cancel_late_effects()
        for runner in self._runners:
            await runner.cleanup()
        self._edges.clear()
        self._runners.clear()
        if self._world is not None:
            self._world.close()
            self._world = None

    def open_account(self, platform: Platform, new: NewAccount) -> JsonObject:
        """Open an account; the answer holds its secret, and is the same as over HTTP."""
        return open_account(self._running, platform, new, self._origins[platform])

    def turn(self, platform: Platform, turn: Turn) -> None:
        self._admins[platform].turn(turn)

    def knobs(self, platform: Platform) -> list[JsonObject]:
        """The knobs that are turned now, those with a count with what is left of it."""
        return self._admins[platform].knobs()

    def clear_knobs(self) -> None:
        for admin in self._admins.values():
            admin.clear_knobs()

    def log(self, *, since: int = 0) -> list[Effect]:
        return list(self._running.effects(since=since))

    def posts(self) -> list[JsonObject]:
        return self._admins[Platform.MASTODON].posts()

    def reset(self) -> int:
        """Forget everything but the log file; returns the number of its line that says so."""
        return self._admins[Platform.MASTODON].reset()

    @property
    def _running(self) -> World:
        if self._world is None:
            raise RuntimeError("the practice network is not running")
        return self._world

    async def _serve(self, face: Face, edge: Edge, admin: Admin, listening: socket.socket) -> None:
        app = web.Application(client_max_size=_BODY_BYTES)
        face.add_routes(app, edge)
        admin.add_routes(app, self.admin_token)
        Pages(self._running, face.platform, self._origins).add_routes(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S)
        await runner.setup()
        self._runners.append(runner)
        await web.SockSite(runner, listening, backlog=_BACKLOG).start()


def _listening(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ValueError(f"{address!r} is not host:port")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=_BACKLOG)


def _origin(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
