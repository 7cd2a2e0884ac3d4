"""Statuses: post, edit, delete, read, https://docs.joinmastodon.org/methods/statuses/."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from scheduler.practice.mastodon import entities
from scheduler.practice.mastodon.refusals import (
    fields,
    invalid,
    not_found,
    refusal,
    require,
    unprocessable,
)
from scheduler.practice.mastodon.text import MAX_CHARACTERS, count
from scheduler.practice.model import Account, Effect, JsonObject, Kind, Media, Platform, Post
from scheduler.practice.wire import Answer, Call, Form, json_answer
from scheduler.practice.world import World

KEY_LIFE_NS: Final = 3600 * 1_000_000_000
_VISIBILITIES: Final = frozenset({"public", "unlisted", "private", "direct"})
_LANGUAGE: Final = re.compile(r"zh-(?:CN|HK|TW|YUE)|[a-z]{2,3}(?=[_-]|$)")  #: what is kept of a tag
_NOT_OFFERED: Final = ("poll", "scheduled_at", "quoted_status_id")
_MAX_DEPTH: Final = 4096


class Statuses:
    def __init__(self, world: World) -> None:
        self._world = world
        self._book = world.books[Platform.MASTODON]

    def post(self, call: Call) -> Answer:
        """Post, or return the status that the same key made within the last hour."""
        account = require(call.account)
        form = fields(call)
        key = call.headers.get("Idempotency-Key", "")
        parent = self._parent(form)
        known = self._known(account, key) if key and call.fault.honour_key else None
        if known is not None:
            return self._shown(call, known)
        media = self._media(account, form)
        extra = self._checked(account, form, media)
        effect = self._world.commit(
            Effect(
                platform=Platform.MASTODON,
                kind=Kind.POST,
                at_ns=call.received_ns,
                account=account.handle,
                remote_id=self._world.next_id(Platform.MASTODON),
                request_sha256=call.sha256,
                text=_text(form),
                media=tuple(one.sha256 for one in media),
                alt=tuple(one.alt for one in media),
                key=key,
                reply_to=parent,
                extra=extra,
            )
        )
        return self._shown(call, self._book.posts[effect.remote_id])

    def edit(self, call: Call) -> Answer:
        post = self._own(call)
        account = require(call.account)
        form = fields(call)
        media = self._media(account, form, of=post) if "media_ids" in form else post.current.media
        extra = self._checked(account, form, media) | {"visibility": post.visibility}
        self._world.commit(
            Effect(
                platform=Platform.MASTODON,
                kind=Kind.EDIT,
                at_ns=call.received_ns,
                account=account.handle,
                remote_id=post.id,
                request_sha256=call.sha256,
                text=_text(form),
                media=tuple(one.sha256 for one in media),
                alt=tuple(one.alt for one in media),
                key=post.key,
                reply_to=post.reply_to,
                extra=extra,
            )
        )
        return self._shown(call, self._book.posts[post.id])

    def delete(self, call: Call) -> Answer:
        """Delete, and answer with the source text, so that a client can draft it again."""
        post = self._own(call)
        entity = entities.status(self._book, post, call.origin) | {"text": post.current.text}
        self._world.commit(
            Effect(
                platform=Platform.MASTODON,
                kind=Kind.DELETE,
                at_ns=call.received_ns,
                account=require(call.account).handle,
                remote_id=post.id,
                request_sha256=call.sha256,
            )
        )
        return json_answer(entity)

    def get(self, call: Call) -> Answer:
        return self._shown(call, self._visible(call))

    def get_many(self, call: Call) -> Answer:
        wanted = (self._book.posts.get(post_id) for post_id in fields(call).all("id"))
        shown = [post for post in wanted if post is not None and _may_see(post, call.account)]
        return json_answer([entities.status(self._book, post, call.origin) for post in shown])

    def source(self, call: Call) -> Answer:
        post = self._own(call)
        version = post.current
        return json_answer({"id": post.id, "text": version.text, "spoiler_text": version.spoiler})

    def history(self, call: Call) -> Answer:
        post = self._visible(call)
        return json_answer(
            [entities.version(self._book, post, one, call.origin) for one in post.versions]
        )

    def context(self, call: Call) -> Answer:
        post = self._visible(call)
        ancestors = [one for one in self._ancestors(post) if _may_see(one, call.account)]
        below = [one for one in self._descendants(post) if _may_see(one, call.account)]
        return json_answer(
            {
                "ancestors": [entities.status(self._book, one, call.origin) for one in ancestors],
                "descendants": [entities.status(self._book, one, call.origin) for one in below],
            }
        )

    def _shown(self, call: Call, post: Post) -> Answer:
        return json_answer(entities.status(self._book, post, call.origin))

    def _known(self, account: Account, key: str) -> Post | None:
        post_id, at_ns = self._book.keys.get((account.id, key), ("", 0))
        if not post_id or self._world.now_ns() - at_ns >= KEY_LIFE_NS:
            return None
        if post_id not in self._book.posts:
            raise not_found()  # deleted since; the key still points at it
        return self._book.posts[post_id]

    def _parent(self, form: Form) -> str:
        parent = form.get("in_reply_to_id")
        if parent and parent not in self._book.posts:
            raise refusal(404, "The post you are trying to reply to does not appear to exist.")
        return parent

    def _media(self, account: Account, form: Form, of: Post | None = None) -> Sequence[Media]:
        wanted = tuple(dict.fromkeys(form.all("media_ids")))
        if len(wanted) > entities.MAX_MEDIA:
            raise unprocessable(f"Cannot attach more than {entities.MAX_MEDIA} files")
        kept = {one.id for one in of.current.media} if of else set()
        missing = [one for one in wanted if one not in kept and not self._is_free(account, one)]
        if missing:
            raise unprocessable(
                f"Media {', '.join(missing)} not found or already attached to another post"
            )
        media = [self._book.media[account.id, one] for one in wanted]
        if len(media) > 1 and not all(one.is_image for one in media):
            raise unprocessable("Cannot attach a video to a post that already contains images")
        if any(one.ready_ns > self._world.now_ns() for one in media):
            raise unprocessable(
                "Cannot attach files that have not finished processing. Try again in a moment!"
            )
        return media

    def _is_free(self, account: Account, media_id: str) -> bool:
        at = account.id, media_id
        return at in self._book.media and at not in self._book.attached

    def _checked(self, account: Account, form: Form, media: Sequence[Media]) -> JsonObject:
        for name in _NOT_OFFERED:
            if form.get(name):
                raise unprocessable(f"The practice network does not offer {name}")
        text, spoiler = _text(form), form.get("spoiler_text")
        if not text and not media:
            raise invalid("Text can't be blank")
        if count(text, spoiler=spoiler) > MAX_CHARACTERS:
            raise invalid(f"Text character limit of {MAX_CHARACTERS} exceeded")
        visibility = form.get("visibility") or "public"
        if visibility not in _VISIBILITIES:
            raise invalid("Visibility is not included in the list")
        language = _LANGUAGE.match(form.get("language"))
        return {
            "languages": [language[0] if language else account.language],
            "visibility": visibility,
            "spoiler": spoiler,
            "sensitive": form.flag("sensitive") or bool(spoiler),
            "media_ids": [one.id for one in media],
        }

    def _visible(self, call: Call) -> Post:
        post = self._book.posts.get(call.params["id"])
        if post is None or not _may_see(post, call.account):
            raise not_found()
        return post

    def _own(self, call: Call) -> Post:
        post = self._book.posts.get(call.params["id"])
        if post is None or post.account_id != require(call.account).id:
            raise not_found()
        return post

    def _ancestors(self, post: Post) -> list[Post]:
        found: list[Post] = []
        while (parent := self._book.posts.get(post.reply_to)) and len(found) < _MAX_DEPTH:
            found.append(parent)
            post = parent
        return found[::-1]

    def _descendants(self, post: Post) -> Iterator[Post]:
        waiting = [post]
        shown = 0
        while waiting and shown < _MAX_DEPTH:
            one = waiting.pop()
            if one is not post:
                shown += 1
                yield one
            waiting.extend(reversed(list(self._book.replies(one.id))))


def _text(form: Form) -> str:
    """The text as posted; one of spaces only is none."""
    text = form.get("status")
    if "\x00" in text:
        raise refusal(400, "Bad Request")
    return text if text.strip() else ""


def _may_see(post: Post, account: Account | None) -> bool:
    return post.is_public or (account is not None and account.id == post.account_id)
