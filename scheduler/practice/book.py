"""The state of one platform, made only by applying effects: at start from the log, then one by one."""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from scheduler.practice.model import (
    Account,
    Effect,
    Kind,
    Media,
    Platform,
    Post,
    Record,
    Version,
)


class Collection:
    """The records of one Bluesky collection, in the order of their keys."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.records: dict[str, Record] = {}

    def put(self, rkey: str, record: Record) -> None:
        if rkey not in self.records:
            insort(self.keys, rkey)
        self.records[rkey] = record

    def remove(self, rkey: str) -> None:
        if self.records.pop(rkey, None) is not None:
            del self.keys[bisect_left(self.keys, rkey)]


class Book:
    """Reads are plain look-ups in its dictionaries; only `apply` changes them."""

    def __init__(self, platform: Platform) -> None:
        self.platform: Final = platform
        self.clear()

    def clear(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.ids_by_handle: dict[str, str] = {}
        self.ids_by_secret: dict[str, str] = {}
        self.media: dict[tuple[str, str], Media] = {}  #: (account id, media id)
        self.mime_of: dict[str, str] = {}  #: by SHA-256
        self.attached: set[tuple[str, str]] = set()
        self.posts: dict[str, Post] = {}
        self.posts_of: dict[str, dict[str, None]] = {}  #: post ids of an account, oldest first
        self.public_posts: Counter[str] = Counter()  #: by account id
        self.replies_to: dict[str, dict[str, None]] = {}
        self.keys: dict[tuple[str, str], tuple[str, int]] = {}  #: (account id, key): (post id, at)
        self.collections: dict[tuple[str, str], Collection] = {}  #: (DID, collection)
        self.heads: dict[str, str] = {}  #: DID: CID of the last commit
        self.rotated: dict[str, int] = {}  #: refresh token id: when it was first used
        self.ended: set[str] = set()  #: refresh token ids
        self.last_id = 0

    def account_by_handle(self, handle: str) -> Account | None:
        account_id = self.ids_by_handle.get(handle.lower())
        return None if account_id is None else self.accounts[account_id]

    def newest(self, account_id: str) -> Iterator[Post]:
        for post_id in reversed(self.posts_of.get(account_id, {})):
            yield self.posts[post_id]

    def replies(self, post_id: str) -> Iterator[Post]:
        for reply_id in self.replies_to.get(post_id, {}):
            yield self.posts[reply_id]

    def collection(self, did: str, name: str) -> Collection:
        return self.collections.setdefault((did, name), Collection())

    def apply(self, effect: Effect) -> None:
        steps: dict[Kind, Callable[[Effect], None]] = {
            Kind.ACCOUNT: self._add_account,
            Kind.REVOKE: self._revoke,
            Kind.EXPIRE_SESSIONS: self._expire_sessions,
            Kind.SESSION_ROTATED: self._rotate_session,
            Kind.SESSION_ENDED: self._end_session,
            Kind.MEDIA: self._add_media,
            Kind.MEDIA_EDIT: self._edit_media,
            Kind.MEDIA_DELETE: self._delete_media,
            Kind.POST: self._add_post,
            Kind.EDIT: self._edit_post,
            Kind.DELETE: self._delete,
            Kind.RECORD: self._put_record,
        }
        steps[effect.kind](effect)
        if effect.remote_id.isdecimal():
            self.last_id = max(self.last_id, int(effect.remote_id))

    def _account(self, effect: Effect) -> Account:
        return self.accounts[self.ids_by_handle[effect.account.lower()]]

    def _add_account(self, effect: Effect) -> None:
        """Add an account, or give an existing one a further secret."""
        secret = str(effect.extra["secret"])
        known = self.accounts.get(effect.remote_id)
        account = Account(
            platform=self.platform,
            id=effect.remote_id,
            handle=effect.account,
            display_name=effect.extra["display_name"],
            note=effect.extra["note"],
            language=effect.extra["language"],
            created_ns=known.created_ns if known else effect.at_ns,
            secrets=(known.secrets if known else frozenset()) | {secret},
            revoked=known.revoked if known else frozenset(),
            sessions=known.sessions if known else 0,
            logins=known.logins if known else 0,
        )
        self.accounts[account.id] = account
        self.ids_by_handle[account.handle.lower()] = account.id
        self.ids_by_secret[secret] = account.id

    def _revoke(self, effect: Effect) -> None:
        account = self._account(effect)
        self.accounts[account.id] = replace(
            account,
            secrets=frozenset(),
            revoked=account.revoked | account.secrets,
            sessions=account.sessions + 1,
            logins=account.logins + 1,
        )

    def _expire_sessions(self, effect: Effect) -> None:
        account = self._account(effect)
        self.accounts[account.id] = replace(account, sessions=account.sessions + 1)

    def _rotate_session(self, effect: Effect) -> None:
        self.rotated.setdefault(effect.remote_id, effect.effect_at_ns)

    def _end_session(self, effect: Effect) -> None:
        self.ended.add(effect.remote_id)

    def _add_media(self, effect: Effect) -> None:
        account = self._account(effect)
        media = Media(
            id=effect.remote_id,
            account_id=account.id,
            sha256=effect.media[0],
            alt=effect.alt[0],
            mime=effect.extra["mime"],
            length=effect.extra["length"],
            width=effect.extra["width"],
            height=effect.extra["height"],
            ready_ns=effect.extra["ready_ns"],
        )
        self.media[account.id, media.id] = media
        self.mime_of[media.sha256] = media.mime

    def _edit_media(self, effect: Effect) -> None:
        at = self._account(effect).id, effect.remote_id
        self.media[at] = replace(self.media[at], alt=effect.alt[0])

    def _delete_media(self, effect: Effect) -> None:
        self.media.pop((self._account(effect).id, effect.remote_id), None)

    def _version(self, effect: Effect, account: Account) -> Version:
        attached = [self.media[account.id, media_id] for media_id in effect.extra["media_ids"]]
        self.attached.update((account.id, media.id) for media in attached)
        return Version(
            at_ns=effect.effect_at_ns,
            text=effect.text,
            spoiler=effect.extra["spoiler"],
            sensitive=effect.extra["sensitive"],
            media=tuple(
                replace(media, alt=alt) for media, alt in zip(attached, effect.alt, strict=True)
            ),
        )

    def _add_post(self, effect: Effect) -> None:
        account = self._account(effect)
        post = Post(
            platform=self.platform,
            id=effect.remote_id,
            account_id=account.id,
            key=effect.key,
            received_ns=effect.at_ns,
            reply_to=effect.reply_to,
            languages=tuple(effect.extra["languages"]),
            visibility=effect.extra["visibility"],
            versions=(self._version(effect, account),),
            record=effect.extra.get("record", {}),
            cid=effect.extra.get("cid", ""),
        )
        self.posts[post.id] = post
        self.posts_of.setdefault(account.id, {})[post.id] = None
        self.public_posts[account.id] += post.is_public
        if post.reply_to:
            self.replies_to.setdefault(post.reply_to, {})[post.id] = None
        if post.key:
            self.keys[account.id, post.key] = (post.id, effect.effect_at_ns)
        self._put_record(effect)

    def _edit_post(self, effect: Effect) -> None:
        post = self.posts[effect.remote_id]
        version = self._version(effect, self.accounts[post.account_id])
        self.posts[post.id] = replace(
            post,
            versions=(*post.versions, version),
            languages=tuple(effect.extra["languages"]),
            record=effect.extra.get("record", {}),
            cid=effect.extra.get("cid", ""),
        )
        self._put_record(effect)

    def _delete(self, effect: Effect) -> None:
        post = self.posts.pop(effect.remote_id, None)
        if post is not None:
            del self.posts_of[post.account_id][post.id]
            self.public_posts[post.account_id] -= post.is_public
            self.replies_to.get(post.reply_to, {}).pop(post.id, None)
        if "collection" in effect.extra:
            did = self._account(effect).id
            self.collection(did, effect.extra["collection"]).remove(effect.key)
            self.heads[did] = effect.extra["commit"]

    def _put_record(self, effect: Effect) -> None:
        if "collection" not in effect.extra:
            return
        did = self._account(effect).id
        self.collection(did, effect.extra["collection"]).put(
            effect.key,
            Record(uri=effect.remote_id, cid=effect.extra["cid"], value=effect.extra["record"]),
        )
        self.heads[did] = effect.extra["commit"]
