"""Reading: records, blobs, and the few views of posts and profiles that clients ask for."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import Any

from scheduler.practice.bluesky import lexicon
from scheduler.practice.bluesky.sessions import did_document
from scheduler.practice.bluesky.xrpc import find_account, invalid, page_size, param, refusal
from scheduler.practice.model import Account, JsonObject, Platform, Post, Record, millis
from scheduler.practice.wire import Answer, Call, json_answer
from scheduler.practice.world import World

_MAX_URIS = 25
_MAX_DEPTH = 20


class Records:
    def __init__(self, world: World) -> None:
        self._world = world
        self._book = world.books[Platform.BLUESKY]

    def get(self, call: Call) -> Answer:
        account = self._repo(call)
        collection, rkey = param(call, "collection"), param(call, "rkey")
        record = self._book.collection(account.id, collection).records.get(rkey)
        if record is None or call.query.get("cid", record.cid) != record.cid:
            uri = f"at://{account.id}/{collection}/{rkey}"
            raise refusal("RecordNotFound", f"Could not locate record: {uri}")
        return json_answer(_record(record))

    def list(self, call: Call) -> Answer:
        """Newest key first, unless `reverse`; the cursor is the last key."""
        account, size = self._repo(call), page_size(call)
        collection = self._book.collection(account.id, param(call, "collection"))
        cursor = call.query.get("cursor", "")
        if call.query.get("reverse") == "true":
            start = bisect_right(collection.keys, cursor) if cursor else 0
            keys = collection.keys[start : start + size]
        else:
            end = bisect_left(collection.keys, cursor) if cursor else len(collection.keys)
            keys = collection.keys[max(0, end - size) : end][::-1]
        body: JsonObject = {"records": [_record(collection.records[key]) for key in keys]}
        if keys:
            body["cursor"] = keys[-1]
        return json_answer(body)

    def describe(self, call: Call) -> Answer:
        account = self._repo(call)
        names = [
            name
            for (did, name), one in self._book.collections.items()
            if did == account.id and one.keys
        ]
        return json_answer(
            {
                "handle": account.handle,
                "did": account.id,
                "didDoc": did_document(account, call.origin),
                "collections": names,
                "handleIsCorrect": True,
            }
        )

    def blob(self, call: Call) -> Answer:
        media = self._book.media.get((param(call, "did"), param(call, "cid")))
        if media is None:
            raise refusal("BlobNotFound", "Blob not found")
        data = self._world.media_path(media.sha256).read_bytes()
        return Answer(body=data, content_type=media.mime)

    def _repo(self, call: Call) -> Account:
        name = param(call, "repo")
        account = find_account(self._book, name)
        if account is None:
            raise refusal("RepoNotFound", f"Could not find repo: {name}")
        return account


class Views:
    def __init__(self, world: World) -> None:
        self._book = world.books[Platform.BLUESKY]

    def server(self, call: Call) -> Answer:
        host = call.origin.partition("://")[2]
        return json_answer(
            {
                "did": "did:web:" + host.replace(":", "%3A"),
                "availableUserDomains": [".karvenia.example"],
                "inviteCodeRequired": True,
                "phoneVerificationRequired": False,
                "links": {},
                "contact": {},
            }
        )

    def health(self, call: Call) -> Answer:
        del call  # the same for everyone
        return json_answer({"version": "0.4.217"})

    def resolve_handle(self, call: Call) -> Answer:
        account = self._book.account_by_handle(param(call, "handle"))
        if account is None:
            raise invalid("Unable to resolve handle")
        return json_answer({"did": account.id})

    def profile(self, call: Call) -> Answer:
        account = self._actor(call)
        counts = {
            "followersCount": 0,
            "followsCount": 0,
            "postsCount": len(self._book.posts_of.get(account.id, {})),
        }
        created = millis(account.created_ns)
        details = {"description": account.note, "indexedAt": created}
        return json_answer(_author(account) | counts | details)

    def posts(self, call: Call) -> Answer:
        """The posts that are there, at most 25; the others are left out."""
        uris = [value for name, value in call.pairs if name in {"uris", "uris[]"}]
        if not uris or len(uris) > _MAX_URIS:
            raise invalid(f"uris must have between 1 and {_MAX_URIS} items")
        found = (self._book.posts.get(self._by_did(uri)) for uri in uris)
        return json_answer({"posts": [self._view(call, post) for post in found if post]})

    def author_feed(self, call: Call) -> Answer:
        account, size = self._actor(call), page_size(call)
        posts = list(islice(self._feed(call, account), size))
        body: JsonObject = {"feed": [{"post": self._view(call, post)} for post in posts]}
        if len(posts) == size:
            body["cursor"] = str(posts[-1].versions[0].at_ns)
        return json_answer(body)

    def thread(self, call: Call) -> Answer:
        uri = param(call, "uri")
        post = self._book.posts.get(self._by_did(uri))
        if post is None:
            raise refusal("NotFound", f"Post not found: {uri}")
        node = self._node(call, post, depth=6) | self._parent(call, post, depth=_MAX_DEPTH)
        return json_answer({"thread": node})

    def _feed(self, call: Call, account: Account) -> Iterator[Post]:
        cursor = call.query.get("cursor", "")
        chosen = call.query.get("filter", "posts_with_replies")
        for post in self._book.newest(account.id):
            if cursor.isdecimal() and post.versions[0].at_ns >= int(cursor):
                continue
            if chosen == "posts_no_replies" and post.reply_to:
                continue
            if chosen == "posts_with_media" and not post.current.media:
                continue
            yield post

    def _node(self, call: Call, post: Post, *, depth: int) -> JsonObject:
        replies = list(self._book.replies(post.id)) if depth else []
        return {
            "$type": "app.bsky.feed.defs#threadViewPost",
            "post": self._view(call, post),
            "replies": [self._node(call, reply, depth=depth - 1) for reply in replies],
        }

    def _parent(self, call: Call, post: Post, *, depth: int) -> JsonObject:
        parent = self._book.posts.get(post.reply_to)
        if parent is None or not depth:
            return {}
        node = {"$type": "app.bsky.feed.defs#threadViewPost", "post": self._view(call, parent)}
        return {"parent": node | self._parent(call, parent, depth=depth - 1)}

    def _actor(self, call: Call) -> Account:
        account = find_account(self._book, param(call, "actor"))
        if account is None:
            raise invalid("Profile not found")
        return account

    def _by_did(self, uri: str) -> str:
        name, _, rest = uri.removeprefix("at://").partition("/")
        account = find_account(self._book, name)
        return f"at://{account.id}/{rest}" if account else uri

    def _view(self, call: Call, post: Post) -> JsonObject:
        view: JsonObject = {
            "uri": post.id,
            "cid": post.cid,
            "author": _author(self._book.accounts[post.account_id]),
            "record": post.record,
            "replyCount": len(self._book.replies_to.get(post.id, {})),
            "repostCount": 0,
            "likeCount": 0,
            "quoteCount": 0,
            "indexedAt": millis(post.versions[0].at_ns),
            "labels": [],
        }
        embed = _embed_view(post, call.origin)
        return view | {"embed": embed} if embed else view


def _record(record: Record) -> JsonObject:
    return {"uri": record.uri, "cid": record.cid, "value": record.value}


def _author(account: Account) -> JsonObject:
    return {
        "did": account.id,
        "handle": account.handle,
        "displayName": account.display_name,
        "labels": [],
        "createdAt": millis(account.created_ns),
    }


def _embed_view(post: Post, origin: str) -> JsonObject | None:
    if post.current.media:
        views = [
            _image_view(one, f"{origin}/media/{media.sha256}")
            for one, media in zip(lexicon.images(post.record), post.current.media, strict=True)
        ]
        return {"$type": "app.bsky.embed.images#view", "images": views}
    embed = post.record.get("embed")
    if isinstance(embed, dict) and embed.get("$type") == "app.bsky.embed.external":
        card = {k: v for k, v in embed["external"].items() if k in {"uri", "title", "description"}}
        return {"$type": "app.bsky.embed.external#view", "external": card}
    return None


def _image_view(image: dict[str, Any], url: str) -> JsonObject:
    view: JsonObject = {"thumb": url, "fullsize": url, "alt": image["alt"]}
    if "aspectRatio" in image:
        view["aspectRatio"] = image["aspectRatio"]
    return view
