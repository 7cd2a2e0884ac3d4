"""The simulated Bluesky server (a PDS with the few views of posts): its methods, tokens and rate limits."""

from pathlib import Path
from typing import Final

from aiohttp import web

from scheduler.canonical import sha256_hex
from scheduler.practice.bluesky.reads import Records, Views
from scheduler.practice.bluesky.repo import Repo
from scheduler.practice.bluesky.sessions import Sessions
from scheduler.practice.bluesky.xrpc import fault_answer, refusal
from scheduler.practice.edge import Edge, Handler
from scheduler.practice.knobs import CallKind
from scheduler.practice.limits import Demand, Standing, Window
from scheduler.practice.model import Account, Platform
from scheduler.practice.wire import Answer, Call, RefusalError, json_answer, read_json
from scheduler.practice.world import World

BLOB_BYTES: Final = 52_428_800
_API: Final = Window(name="api", limit=3000, per_s=300)
_WRITES: Final = (
    Window(name="writes-hour", limit=5000, per_s=3600),
    Window(name="writes-day", limit=35_000, per_s=86_400),
)
_SESSIONS: Final = (
    Window(name="sessions", limit=30, per_s=300),
    Window(name="sessions-day", limit=300, per_s=86_400),
)
_POINTS: Final = {"createRecord": 3, "putRecord": 2, "deleteRecord": 1}


class BlueskyFace:
    """https://docs.bsky.app/docs/advanced-guides/rate-limits; the limit by address is left out."""

    platform = Platform.BLUESKY

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._sessions = Sessions(world, folder)

    def identify(self, call: Call) -> Account | None:
        try:
            return self._sessions.open(call)
        except RefusalError:
            return None

    def demand(self, call: Call, account: Account | None) -> Demand:
        method = call.path.rpartition(".")[2]
        if method == "createSession":
            return Demand(key=_login_key(call), windows=_SESSIONS)
        if account is None:
            return Demand(key="nobody", windows=(_API,), points=0)
        if method in _POINTS:
            return Demand(key=account.id, windows=_WRITES, points=_POINTS[method])
        if method == "applyWrites":
            return Demand(key=account.id, windows=_WRITES, points=_batch_points(call))
        return Demand(key=account.id, windows=(_API,))

    def rate_headers(self, standing: Standing) -> dict[str, str]:
        headers = {
            "RateLimit-Limit": str(standing.window.limit),
            "RateLimit-Remaining": str(standing.remaining),
            "RateLimit-Reset": str(standing.reset_ns // 1_000_000_000),
            "RateLimit-Policy": f"{standing.window.limit};w={standing.window.per_s}",
        }
        if standing.is_exceeded:
            wait_s = (standing.reset_ns - self._world.now_ns()) // 1_000_000_000
            headers["Retry-After"] = str(max(1, wait_s))
        return headers

    def fault_answer(self, status: int) -> Answer:
        return fault_answer(status)

    def add_routes(self, app: web.Application, edge: Edge) -> None:
        queries, procedures = self._queries(), self._procedures()
        for name, handle in queries.items():
            app.router.add_route("GET", f"/xrpc/{name}", edge.endpoint(handle))
            app.router.add_route("POST", f"/xrpc/{name}", edge.endpoint(_wrong_method))
        for name, (handle, kind) in procedures.items():
            app.router.add_route("POST", f"/xrpc/{name}", edge.endpoint(handle, kind))
            app.router.add_route("GET", f"/xrpc/{name}", edge.endpoint(_wrong_method))
        app.router.add_route("*", "/xrpc/{name:.*}", edge.endpoint(_not_implemented))

    def _queries(self) -> dict[str, Handler]:
        records, views = Records(self._world), Views(self._world)
        return {
            "_health": views.health,
            "com.atproto.server.describeServer": views.server,
            "com.atproto.server.getSession": self._sessions.get,
            "com.atproto.identity.resolveHandle": views.resolve_handle,
            "com.atproto.repo.getRecord": records.get,
            "com.atproto.repo.listRecords": records.list,
            "com.atproto.repo.describeRepo": records.describe,
            "com.atproto.sync.getBlob": records.blob,
            "app.bsky.actor.getProfile": self._signed(views.profile),
            "app.bsky.feed.getPosts": self._signed(views.posts),
            "app.bsky.feed.getAuthorFeed": self._signed(views.author_feed),
            "app.bsky.feed.getPostThread": self._signed(views.thread),
            "app.bsky.notification.listNotifications": self._signed(_no_notifications),
        }

    def _procedures(self) -> dict[str, tuple[Handler, CallKind]]:
        repo = Repo(self._world)
        return {
            "com.atproto.server.createSession": (self._sessions.create, CallKind.OTHER),
            "com.atproto.server.refreshSession": (self._sessions.refresh, CallKind.OTHER),
            "com.atproto.server.deleteSession": (self._sessions.delete, CallKind.OTHER),
            "com.atproto.repo.createRecord": (self._signed(repo.create), CallKind.PUBLISH),
            "com.atproto.repo.putRecord": (self._signed(repo.put), CallKind.PUBLISH),
            "com.atproto.repo.applyWrites": (self._signed(repo.apply_writes), CallKind.PUBLISH),
            "com.atproto.repo.deleteRecord": (self._signed(repo.delete), CallKind.OTHER),
            "com.atproto.repo.uploadBlob": (
                self._signed(_sized(repo.upload_blob)),
                CallKind.MEDIA,
            ),
        }

    def _signed(self, handle: Handler) -> Handler:
        def signed(call: Call) -> Answer:
            if call.account is None:
                self._sessions.open(call)  # says what is wrong with the token
            return handle(call)

        return signed


def _sized(handle: Handler) -> Handler:
    def sized(call: Call) -> Answer:
        if len(call.body) > BLOB_BYTES:
            raise RefusalError(fault_answer(413))
        return handle(call)

    return sized


def _no_notifications(call: Call) -> Answer:
    del call  # nobody else lives here
    return json_answer({"notifications": []})


def _wrong_method(call: Call) -> Answer:
    expected = "GET" if call.method == "POST" else "POST"
    message = f"Incorrect HTTP method ({call.method}) expected {expected}"
    raise refusal("InvalidRequest", message, status=405)


def _not_implemented(call: Call) -> Answer:
    del call
    raise RefusalError(fault_answer(501))


def _login_key(call: Call) -> str:
    """Log-ins are counted by the name that is tried, good or not."""
    try:
        body = read_json(call.body)
    except ValueError:
        return ""
    return sha256_hex(str(body.get("identifier") if isinstance(body, dict) else "").encode())


def _batch_points(call: Call) -> int:
    try:
        body = read_json(call.body)
    except ValueError:
        return 0
    writes = body.get("writes") if isinstance(body, dict) else None
    if not isinstance(writes, list):
        return 0
    kinds = [str(one.get("$type")) for one in writes if isinstance(one, dict)]
    points = {"create": 3, "update": 2, "delete": 1}
    return sum(points.get(kind.partition("#")[2], 0) for kind in kinds)
