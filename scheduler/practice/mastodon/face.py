"""The simulated Mastodon server: its paths, its tokens and its rate limits."""

from typing import Final

from aiohttp import web

from scheduler.canonical import sha256_hex
from scheduler.clock import iso
from scheduler.practice.edge import Edge, Handler
from scheduler.practice.knobs import CallKind
from scheduler.practice.limits import Demand, Standing, Window
from scheduler.practice.mastodon.accounts import Accounts
from scheduler.practice.mastodon.instance import Instance
from scheduler.practice.mastodon.media import MediaUploads
from scheduler.practice.mastodon.refusals import fault_answer, refusal, unauthorized
from scheduler.practice.mastodon.statuses import Statuses
from scheduler.practice.model import Account, Platform, moment
from scheduler.practice.wire import Answer, Call
from scheduler.practice.world import World

_API: Final = Window(name="api", limit=300, per_s=300)
_STATUSES: Final = Window(name="statuses", limit=300, per_s=3 * 3600)
_MEDIA: Final = Window(name="media", limit=30, per_s=1800)
_DELETES: Final = Window(name="deletes", limit=30, per_s=1800)


class MastodonFace:
    """https://docs.joinmastodon.org/api/rate-limits/."""

    platform = Platform.MASTODON

    def __init__(self, world: World) -> None:
        self._world = world
        self._book = world.books[Platform.MASTODON]

    def identify(self, call: Call) -> Account | None:
        digest = sha256_hex(call.bearer.encode())
        account = self._book.accounts.get(self._book.ids_by_secret.get(digest, ""))
        return account if account is not None and digest in account.secrets else None

    def demand(self, call: Call, account: Account | None) -> Demand:
        key = account.id if account else "nobody"
        match call.method, call.path.split("/"):
            case "POST", [_, "api", "v1", "statuses"]:
                return Demand(key=key, windows=(_STATUSES, _API))
            case "DELETE", [_, "api", "v1", "statuses", _]:
                return Demand(key=key, windows=(_DELETES, _API))
            case "POST", [_, "api", _, "media"]:
                return Demand(key=key, windows=(_MEDIA, _API))
            case _:
                return Demand(key=key, windows=(_API,), points=1 if account else 0)

    def rate_headers(self, standing: Standing) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(standing.window.limit),
            "X-RateLimit-Remaining": str(standing.remaining),
            "X-RateLimit-Reset": iso(moment(standing.reset_ns)),
        }

    def fault_answer(self, status: int) -> Answer:
        return fault_answer(status)

    def add_routes(self, app: web.Application, edge: Edge) -> None:
        for path, handle in _descriptions(self._world):
            for variant in (path, path + "/"):
                app.router.add_get(variant, edge.endpoint(handle))
        for path, handle in _reads(self._world):
            app.router.add_get(path, edge.endpoint(self._unless_revoked(handle)))
        for method, path, handle, kind in _user_routes(self._world):
            app.router.add_route(method, path, edge.endpoint(self._signed(handle), kind))
        app.router.add_route("*", "/api/{rest:.*}", edge.endpoint(_unknown))

    def _unless_revoked(self, handle: Handler) -> Handler:
        """Anyone may read; an unknown token is nobody's, but a revoked one is refused."""

        def checked(call: Call) -> Answer:
            if (
                call.account is None
                and sha256_hex(call.bearer.encode()) in self._book.ids_by_secret
            ):
                raise unauthorized("The access token was revoked")
            return handle(call)

        return checked

    def _signed(self, handle: Handler) -> Handler:
        def signed(call: Call) -> Answer:
            self._refuse_bad_token(call)
            return handle(call)

        return signed

    def _refuse_bad_token(self, call: Call) -> None:
        if call.account is not None:
            return
        digest = sha256_hex(call.bearer.encode())
        if digest in self._book.ids_by_secret:
            raise unauthorized("The access token was revoked")
        raise unauthorized("The access token is invalid")


def _unknown(call: Call) -> Answer:
    raise refusal(404, f"No route matches {call.method} {call.path}"[:200])


def _descriptions(world: World) -> list[tuple[str, Handler]]:
    instance = Instance(world)
    return [
        ("/api/v1/instance", instance.v1),
        ("/api/v2/instance", instance.v2),
        ("/.well-known/nodeinfo", instance.nodeinfo_links),
        ("/nodeinfo/2.0", instance.nodeinfo),
    ]


def _reads(world: World) -> list[tuple[str, Handler]]:
    statuses, accounts = Statuses(world), Accounts(world)
    return [
        ("/api/v1/statuses", statuses.get_many),
        (r"/api/v1/statuses/{id:\d+}", statuses.get),
        (r"/api/v1/statuses/{id:\d+}/context", statuses.context),
        (r"/api/v1/statuses/{id:\d+}/history", statuses.history),
        ("/api/v1/accounts/lookup", accounts.lookup),
        (r"/api/v1/accounts/{id:\d+}", accounts.get),
        (r"/api/v1/accounts/{id:\d+}/statuses", accounts.statuses),
    ]


def _user_routes(world: World) -> list[tuple[str, str, Handler, CallKind]]:
    statuses, media, accounts = Statuses(world), MediaUploads(world), Accounts(world)
    return [
        ("POST", "/api/v1/statuses", statuses.post, CallKind.PUBLISH),
        ("PUT", r"/api/v1/statuses/{id:\d+}", statuses.edit, CallKind.OTHER),
        ("DELETE", r"/api/v1/statuses/{id:\d+}", statuses.delete, CallKind.OTHER),
        ("GET", r"/api/v1/statuses/{id:\d+}/source", statuses.source, CallKind.OTHER),
        ("POST", "/api/v1/media", media.upload, CallKind.MEDIA),
        ("POST", "/api/v2/media", media.upload, CallKind.MEDIA),
        ("GET", r"/api/v1/media/{id:\d+}", media.get, CallKind.OTHER),
        ("PUT", r"/api/v1/media/{id:\d+}", media.edit, CallKind.OTHER),
        ("DELETE", r"/api/v1/media/{id:\d+}", media.delete, CallKind.OTHER),
        ("GET", "/api/v1/accounts/verify_credentials", accounts.verify_credentials, CallKind.OTHER),
        ("GET", "/api/v1/notifications", accounts.nothing, CallKind.OTHER),
    ]
