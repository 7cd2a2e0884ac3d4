"""Pages for people: who is here, what each account has published, and one post with its thread."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import dropwhile, islice
from pathlib import Path
from typing import Final

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from scheduler.practice.accounts import page_url
from scheduler.practice.admin import post_path
from scheduler.practice.book import Book
from scheduler.practice.model import Account, Media, Platform, Post, millis, moment
from scheduler.practice.world import World

_HERE: Final = Path(__file__).parent
_PAGE: Final = 50
_MAX_THREAD: Final = 200
_HEADERS: Final = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; media-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_TITLES: Final = {Platform.MASTODON: "Mastodon", Platform.BLUESKY: "Bluesky"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PostView:
    """A post as the templates read it."""

    account: Account
    account_path: str
    path: str
    anchor: str
    text: str
    spoiler: str
    language: str
    media: tuple[Media, ...]
    at: str
    at_text: str
    is_edited: bool
    is_reply: bool
    parent_path: str
    replies: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    account: Account
    platform: str
    url: str
    posts: int


class Pages:
    def __init__(self, world: World, platform: Platform, origins: dict[Platform, str]) -> None:
        self._world = world
        self._book = world.books[platform]
        self._title = _TITLES[platform]
        self._origins = origins
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def add_routes(self, app: web.Application) -> None:
        app.router.add_static("/practice/static/", _HERE / "static")
        app.router.add_get("/media/{sha256:[0-9a-f]{64}}", self._media)
        routes: list[tuple[str, Callable[[web.Request], Awaitable[web.Response]]]] = [
            ("/", self._index),
            ("/@{name}", self._timeline),
            ("/profile/{name}", self._timeline),
            ("/@{name}/{key}", self._post),
            ("/profile/{name}/post/{key}", self._post),
        ]
        for path, handle in routes:
            app.router.add_get(path, handle)

    async def _index(self, request: web.Request) -> web.Response:
        del request
        accounts = [
            AccountView(
                account=account,
                platform=_TITLES[book.platform],
                url=page_url(account, self._origins[book.platform]),
                posts=book.public_posts[account.id],
            )
            for book in self._world.books.values()
            for account in sorted(book.accounts.values(), key=lambda one: one.handle)
        ]
        return self._page("index.html", accounts=accounts)

    def _named(self, name: str) -> Account | None:
        """By handle or by id: addresses that last carry the id."""
        return self._book.account_by_handle(name) or self._book.accounts.get(name)

    async def _timeline(self, request: web.Request) -> web.Response:
        """Newest first, 50 a page; `before` is the key of the last post shown."""
        account = self._named(request.match_info["name"])
        if account is None:
            return self._missing("There is no such account here.")
        before = request.query.get("before", "")
        newest = self._book.newest(account.id)
        if before:
            newest = islice(dropwhile(lambda post: _key(post) != before, newest), 1, None)
        shown = list(islice((post for post in newest if post.is_public), _PAGE + 1))
        return self._page(
            "timeline.html",
            account=account,
            account_path=page_url(account, ""),
            posts=self._views(shown[:_PAGE]),
            older=_key(shown[_PAGE - 1]) if len(shown) > _PAGE else "",
        )

    async def _post(self, request: web.Request) -> web.Response:
        account = self._named(request.match_info["name"])
        post = self._find(account, request.match_info["key"]) if account else None
        if post is None or not post.is_public:
            return self._missing("There is no such post here, or it was deleted.")
        thread = [one for one in self._thread(post) if one.is_public]
        views = self._views(thread)
        return self._page("thread.html", shown=self._views([post])[0], posts=views)

    async def _media(self, request: web.Request) -> web.StreamResponse:
        digest = request.match_info["sha256"]
        mime = next(
            (b.mime_of[digest] for b in self._world.books.values() if digest in b.mime_of), ""
        )
        if not mime.startswith(("image/", "video/")) or mime.startswith("image/svg"):
            raise web.HTTPNotFound
        headers = {"Content-Type": mime, "Content-Security-Policy": "default-src 'none'; sandbox"}
        headers["X-Content-Type-Options"] = "nosniff"
        return web.FileResponse(self._world.media_path(digest), headers=headers)

    def _find(self, account: Account, key: str) -> Post | None:
        if self._book.platform is Platform.MASTODON:
            post = self._book.posts.get(key)
            return post if post is not None and post.account_id == account.id else None
        return self._book.posts.get(f"at://{account.id}/app.bsky.feed.post/{key}")

    def _thread(self, post: Post) -> list[Post]:
        """The whole thread in reading order, at most 200 posts."""
        root = post
        for _ in range(_MAX_THREAD):
            parent = self._book.posts.get(root.reply_to)
            if parent is None:
                break
            root = parent
        thread: list[Post] = []
        waiting = [root]
        while waiting and len(thread) < _MAX_THREAD:
            one = waiting.pop()
            thread.append(one)
            waiting.extend(reversed(list(self._book.replies(one.id))))
        return thread

    def _views(self, posts: Iterable[Post]) -> list[PostView]:
        return [_view(self._book, post) for post in posts]

    def _page(self, template: str, *, status: int = 200, **context: object) -> web.Response:
        html = self._templates.get_template(template).render(platform=self._title, **context)
        return web.Response(status=status, body=html.encode(), headers=_HEADERS)

    def _missing(self, message: str) -> web.Response:
        return self._page("missing.html", status=404, message=message)


def _key(post: Post) -> str:
    return post.id if post.platform is Platform.MASTODON else post.key


def _view(book: Book, post: Post) -> PostView:
    account = book.accounts[post.account_id]
    parent = book.posts.get(post.reply_to)
    parent_account = book.accounts[parent.account_id] if parent else None
    return PostView(
        account=account,
        account_path=page_url(account, ""),
        path=post_path(post, account),
        anchor=f"post-{_key(post)}",
        text=post.current.text,
        spoiler=post.current.spoiler,
        language=post.languages[0] if post.languages else "",
        media=post.current.media,
        at=millis(post.received_ns),
        at_text=moment(post.received_ns).strftime("%Y-%m-%d %H:%M:%S UTC"),
        is_edited=len(post.versions) > 1,
        is_reply=bool(post.reply_to),
        parent_path=post_path(parent, parent_account) if parent and parent_account else "",
        replies=len(book.replies_to.get(post.id, {})),
    )
