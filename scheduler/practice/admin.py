"""The practice API: accounts, knobs, the log and the posts, for whoever holds the admin token."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web
from pydantic import ConfigDict, ValidationError

from scheduler.practice.accounts import NewAccount, open_account, page_url
from scheduler.practice.knobs import Knob, Knobs
from scheduler.practice.limits import Limiter
from scheduler.practice.model import Account, Effect, JsonObject, Kind, Platform, Post, millis
from scheduler.practice.wire import json_answer, read_json
from scheduler.practice.world import World

WebHandler = Callable[[web.Request], Awaitable[web.Response]]
_MAX_PAGE: Final = 100_000


class Turn(Knob):
    """A knob, or one of the two things that happen at once and stay."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    expire_sessions: bool = False  #: access tokens of `account`, or of all, expire now
    revoke: str | None = None  #: this account's tokens are revoked now


class AdminError(Exception):
    """The caller of the practice API asked for something that is not there."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Admin:
    """One platform's side of the practice API; log and reset are of both."""

    def __init__(
        self,
        *,
        world: World,
        platform: Platform,
        origins: dict[Platform, str],
        knobs: dict[Platform, Knobs],
        limiter: Limiter | None,
    ) -> None:
        self._world = world
        self._platform = platform
        self._origins = origins
        self._knobs = knobs
        self._limiter = limiter

    def add_routes(self, app: web.Application, token: str) -> None:
        def add(method: str, path: str, handle: Callable[[web.Request], Awaitable[object]]) -> None:
            app.router.add_route(method, f"/practice/{path}", _guarded(handle, token))

        add("POST", "accounts", self._open_account)
        add("POST", "knobs", self._turn)
        add("GET", "knobs", self._list_knobs)
        add("DELETE", "knobs", self._clear_knobs)
        add("POST", "reset", self._reset)
        add("GET", "log", self._log)
        app.router.add_get("/practice/posts", _answering(self._posts))

    def turn(self, turn: Turn) -> None:
        """Do what happens at once, and keep the rest as a knob.

        Raises:
            AdminError: there is no such account.
        """
        if turn.revoke is not None:
            self._commit(Kind.REVOKE, self._named(turn.revoke))
        if turn.expire_sessions:
            book = self._world.books[self._platform]
            one = [self._named(turn.account)] if turn.account else book.accounts.values()
            for account in list(one):
                self._commit(Kind.EXPIRE_SESSIONS, account)
        if not turn.revoke and not turn.expire_sessions:
            self._knobs[self._platform].turn(
                Knob.model_validate(turn.model_dump(exclude_unset=True))
            )

    def knobs(self) -> list[JsonObject]:
        return self._knobs[self._platform].listed()

    def clear_knobs(self) -> None:
        self._knobs[self._platform].clear()

    def reset(self) -> int:
        """Forget accounts, posts, knobs and counters; the log file keeps its past."""
        for knobs in self._knobs.values():
            knobs.clear()
        if self._limiter is not None:
            self._limiter.clear()
        return self._world.reset()

    def posts(self) -> list[JsonObject]:
        """All public posts of both platforms, in the order they took effect on each."""
        return [
            _public(post, book.accounts[post.account_id], self._origins[book.platform])
            for book in self._world.books.values()
            for post in book.posts.values()
            if post.is_public
        ]

    async def _open_account(self, request: web.Request) -> object:
        new = NewAccount.model_validate(read_json(await request.read()))
        origin = self._origins[self._platform]
        return open_account(self._world, self._platform, new, origin)

    async def _turn(self, request: web.Request) -> object:
        self.turn(Turn.model_validate(read_json(await request.read())))
        return await self._list_knobs(request)

    async def _list_knobs(self, request: web.Request) -> object:
        del request
        return {"knobs": self.knobs()}

    async def _clear_knobs(self, request: web.Request) -> object:
        self.clear_knobs()
        return await self._list_knobs(request)

    async def _reset(self, request: web.Request) -> object:
        del request
        return {"seq": self.reset()}

    async def _log(self, request: web.Request) -> object:
        since = _number(request, "since", 0)
        page = self._world.effects(since=since)[: _number(request, "limit", _MAX_PAGE)]
        return {"entries": [effect.to_json() for effect in page]}

    async def _posts(self, request: web.Request) -> object:
        del request
        return {"posts": self.posts()}

    def _named(self, name: str) -> Account:
        book = self._world.books[self._platform]
        account = book.accounts.get(name) or book.account_by_handle(name)
        if account is None:
            raise AdminError(404, f"no account {name!r} on {self._platform}")
        return account

    def _commit(self, kind: Kind, account: Account) -> None:
        self._world.commit(
            Effect(
                platform=self._platform,
                kind=kind,
                at_ns=self._world.now_ns(),
                account=account.handle,
                remote_id=account.id,
            )
        )


def post_path(post: Post, account: Account) -> str:
    """Where the page of a post is on its own port."""
    if post.platform is Platform.MASTODON:
        return f"/@{account.handle}/{post.id}"
    return f"/profile/{account.handle}/post/{post.key}"


def _public(post: Post, account: Account, origin: str) -> JsonObject:
    return {
        "platform": post.platform,
        "account": account.handle,
        "account_url": page_url(account, origin),
        "id": post.id,
        "url": origin + post_path(post, account),
        "text": post.current.text,
        "spoiler_text": post.current.spoiler,
        "languages": list(post.languages),
        "media": [
            {"sha256": one.sha256, "mime": one.mime, "alt": one.alt} for one in post.current.media
        ],
        "reply_to": post.reply_to,
        "key": post.key,
        "received_at_ns": post.received_ns,
        "received_at": millis(post.received_ns),
    }


def _guarded(handle: Callable[[web.Request], Awaitable[object]], token: str) -> WebHandler:
    answering = _answering(handle)

    async def guarded(request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "")
        if not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            return _json({"error": "the admin token is missing or wrong"}, 401)
        return await answering(request)

    return guarded


def _answering(handle: Callable[[web.Request], Awaitable[object]]) -> WebHandler:
    async def answering(request: web.Request) -> web.Response:
        try:
            return _json(await handle(request), 200)
        except AdminError as error:
            return _json({"error": str(error)}, error.status)
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
            return _json({"error": "; ".join(problems)}, 400)
        except ValueError as error:
            return _json({"error": str(error)}, 400)

    return answering


def _json(value: object, status: int) -> web.Response:
    answer = json_answer(value)
    return web.Response(
        status=status, body=answer.body, headers={"Content-Type": answer.content_type}
    )


def _number(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name, str(default))
    if not (text.isascii() and text.isdecimal()):
        raise AdminError(400, f"{name} is a number")
    return int(text)
