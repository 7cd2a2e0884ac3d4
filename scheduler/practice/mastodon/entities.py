"""Mastodon's JSON entities, https://docs.joinmastodon.org/entities/."""

from typing import Final

from scheduler.practice.book import Book
from scheduler.practice.mastodon.text import tags, to_html
from scheduler.practice.model import Account, JsonObject, Media, Post, Version, millis

VERSION: Final = "4.5.0"
MAX_MEDIA: Final = 4
MAX_ALT: Final = 1500
IMAGE_BYTES: Final = 16_777_216
IMAGE_PIXELS: Final = 33_177_600
VIDEO_BYTES: Final = 103_809_024
VIDEO_PIXELS: Final = 8_294_400
IMAGE_TYPES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
VIDEO_TYPES: Final = ("video/mp4",)


def account_url(account: Account, origin: str) -> str:
    return f"{origin}/@{account.handle}"


def account(book: Book, who: Account, origin: str) -> JsonObject:
    post_ids = book.posts_of.get(who.id, {})
    last = next(book.newest(who.id), None)
    return {
        "id": who.id,
        "username": who.handle,
        "acct": who.handle,
        "display_name": who.display_name,
        "locked": False,
        "bot": False,
        "discoverable": True,
        "indexable": False,
        "group": False,
        "created_at": millis(who.created_ns),
        "note": to_html(who.note, origin=origin),
        "url": account_url(who, origin),
        "uri": f"{origin}/users/{who.handle}",
        "avatar": f"{origin}/practice/static/avatar.svg",
        "avatar_static": f"{origin}/practice/static/avatar.svg",
        "header": f"{origin}/practice/static/avatar.svg",
        "header_static": f"{origin}/practice/static/avatar.svg",
        "followers_count": 0,
        "following_count": 0,
        "statuses_count": len(post_ids),
        "last_status_at": millis(last.received_ns)[:10] if last else None,
        "emojis": [],
        "fields": [],
        "roles": [],
    }


def own_account(book: Book, who: Account, origin: str) -> JsonObject:
    source = {
        "privacy": "public",
        "sensitive": False,
        "language": who.language,
        "note": who.note,
        "fields": [],
        "discoverable": True,
        "indexable": False,
        "follow_requests_count": 0,
    }
    role = {"id": "-99", "name": "", "color": "", "permissions": "0", "highlighted": False}
    return account(book, who, origin) | {"source": source, "role": role}


def media(one: Media, origin: str, *, is_ready: bool = True) -> JsonObject:
    url = f"{origin}/media/{one.sha256}" if is_ready else None
    size = {
        "width": one.width,
        "height": one.height,
        "size": f"{one.width}x{one.height}",
        "aspect": one.width / one.height if one.height else 0,
    }
    return {
        "id": one.id,
        "type": "image" if one.is_image else "video",
        "url": url,
        "preview_url": url,
        "remote_url": None,
        "preview_remote_url": None,
        "text_url": None,
        "meta": {"original": size, "small": size} if one.is_image else {},
        "description": one.alt or None,
        "blurhash": None,
    }


def status(book: Book, post: Post, origin: str) -> JsonObject:
    who = book.accounts[post.account_id]
    parent = book.posts.get(post.reply_to)
    return {
        "id": post.id,
        "created_at": millis(post.versions[0].at_ns),
        "in_reply_to_id": parent.id if parent else None,
        "in_reply_to_account_id": parent.account_id if parent else None,
        "sensitive": post.current.sensitive,
        "spoiler_text": post.current.spoiler,
        "visibility": post.visibility,
        "language": post.languages[0],
        "uri": f"{origin}/users/{who.handle}/statuses/{post.id}",
        "url": f"{account_url(who, origin)}/{post.id}",
        "replies_count": len(book.replies_to.get(post.id, {})),
        "reblogs_count": 0,
        "favourites_count": 0,
        "quotes_count": 0,
        "edited_at": millis(post.current.at_ns) if len(post.versions) > 1 else None,
        "favourited": False,
        "reblogged": False,
        "muted": False,
        "bookmarked": False,
        "pinned": False,
        "content": to_html(post.current.text, origin=origin),
        "filtered": [],
        "reblog": None,
        "application": {"name": "Practice", "website": None},
        "account": account(book, who, origin),
        "media_attachments": [media(one, origin) for one in post.current.media],
        "mentions": [],
        "tags": [{"name": tag, "url": f"{origin}/tags/{tag}"} for tag in tags(post.current.text)],
        "emojis": [],
        "card": None,
        "poll": None,
    }


def version(book: Book, post: Post, one: Version, origin: str) -> JsonObject:
    return {
        "content": to_html(one.text, origin=origin),
        "spoiler_text": one.spoiler,
        "sensitive": one.sensitive,
        "created_at": millis(one.at_ns),
        "account": account(book, book.accounts[post.account_id], origin),
        "media_attachments": [media(item, origin) for item in one.media],
        "emojis": [],
        "poll": None,
    }
