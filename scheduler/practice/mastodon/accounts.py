"""Accounts, https://docs.joinmastodon.org/methods/accounts/."""

from collections.abc import Iterator
from itertools import islice

from scheduler.practice.mastodon import entities
from scheduler.practice.mastodon.refusals import fields, not_found, require
from scheduler.practice.model import Account, Platform, Post
from scheduler.practice.wire import Answer, Call, Form, json_answer
from scheduler.practice.world import World

_DEFAULT_PAGE = 20
_MAX_PAGE = 40


class Accounts:
    def __init__(self, world: World) -> None:
        self._book = world.books[Platform.MASTODON]

    def verify_credentials(self, call: Call) -> Answer:
        account = require(call.account)
        return json_answer(entities.own_account(self._book, account, call.origin))

    def lookup(self, call: Call) -> Answer:
        username, _, domain = call.query.get("acct", "").removeprefix("@").partition("@")
        account = self._book.account_by_handle(username)
        if account is None or (domain and domain != call.origin.partition("://")[2]):
            raise not_found()
        return json_answer(entities.account(self._book, account, call.origin))

    def get(self, call: Call) -> Answer:
        return json_answer(entities.account(self._book, self._named(call), call.origin))

    def statuses(self, call: Call) -> Answer:
        """Newest first, with the next and previous pages in the `Link` header."""
        account = self._named(call)
        form = fields(call)
        posts = list(islice(self._selected(call, account, form), _page_size(form)))
        headers: dict[str, str] = {}
        if posts:
            base = f"{call.origin}{call.path}"
            headers["Link"] = (
                f'<{base}?max_id={posts[-1].id}>; rel="next", '
                f'<{base}?min_id={posts[0].id}>; rel="prev"'
            )
        body = [entities.status(self._book, post, call.origin) for post in posts]
        return json_answer(body, headers=headers)

    def nothing(self, call: Call) -> Answer:
        """Notifications, relationships: nobody else lives here."""
        require(call.account)
        return json_answer([])

    def _selected(self, call: Call, account: Account, form: Form) -> Iterator[Post]:
        newest = _number(form, "max_id")
        oldest = max(_number(form, "since_id"), _number(form, "min_id"))
        if form.flag("pinned"):
            return
        for post in self._book.newest(account.id):
            number = int(post.id)
            if number <= oldest:
                return
            if newest and number >= newest:
                continue
            if self._is_wanted(call, post, form):
                yield post

    def _is_wanted(self, call: Call, post: Post, form: Form) -> bool:
        is_own = call.account is not None and call.account.id == post.account_id
        if not (post.is_public or is_own):
            return False
        if form.flag("only_media") and not post.current.media:
            return False
        parent = self._book.posts.get(post.reply_to)
        is_reply = parent is not None and parent.account_id != post.account_id
        return not (form.flag("exclude_replies") and is_reply)

    def _named(self, call: Call) -> Account:
        account = self._book.accounts.get(call.params["id"])
        if account is None:
            raise not_found()
        return account


def _page_size(form: Form) -> int:
    return min(_MAX_PAGE, _number(form, "limit") or _DEFAULT_PAGE)


def _number(form: Form, name: str) -> int:
    text = form.get(name)
    return int(text) if text.isascii() and text.isdecimal() else 0
