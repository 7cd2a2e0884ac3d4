"""Writing to a repository: createRecord, putRecord, deleteRecord and applyWrites, https://atproto.com/specs/record-key."""

import re
from dataclasses import dataclass, replace
from typing import Any, Final

from scheduler.practice.bluesky import lexicon
from scheduler.practice.bluesky.dag import blob_cid, record_cid
from scheduler.practice.bluesky.xrpc import (
    find_account,
    invalid,
    read_input,
    refusal,
    require,
    unauthorized,
)
from scheduler.practice.model import Account, Effect, JsonObject, Kind, Platform
from scheduler.practice.wire import Answer, Call, json_answer
from scheduler.practice.world import World

_SORTABLE: Final = "234567abcdefghijklmnopqrstuvwxyz"
_TID: Final = re.compile(r"[234567abcdefghij][234567a-z]{12}")
_KEY: Final = re.compile(r"(?!\.\.?$)[a-zA-Z0-9._~:-]{1,512}")
_NSID: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9-]*(?:\.[a-zA-Z0-9-]+)+\.[a-zA-Z][a-zA-Z0-9]*")
_TID_KEYED: Final = frozenset({lexicon.POST, "app.bsky.feed.threadgate", "app.bsky.feed.postgate"})
_MAX_WRITES: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One change, checked and ready; `record` is None for a deletion."""

    collection: str
    rkey: str
    record: dict[str, Any] | None
    cid: str = ""
    status: str = "unknown"


class Repo:
    def __init__(self, world: World) -> None:
        self._world = world
        self._book = world.books[Platform.BLUESKY]
        self._last_tid = 0

    def create(self, call: Call) -> Answer:
        """Create a record; a key that is taken is a 500, even for the same record."""
        body = read_input(call, "repo", "collection", "record")
        account = self._own_repo(call, body["repo"])
        write = self._prepared(account, body, rkey=body.get("rkey"))
        self._refuse_taken(account, write)
        self._check_commit(account, body)
        return json_answer(self._commit(call, account, write))

    def put(self, call: Call) -> Answer:
        """Create or replace; the same record again changes nothing, and then `swapRecord` is not looked at."""
        body = read_input(call, "repo", "collection", "rkey", "record")
        account = self._own_repo(call, body["repo"])
        write = self._prepared(account, body, rkey=body["rkey"])
        current = self._current(account, write.collection, write.rkey)
        if current == write.cid:
            return json_answer(self._unchanged(account, write))
        self._check_swap(body, current)
        self._check_commit(account, body)
        return json_answer(self._commit(call, account, write))

    def delete(self, call: Call) -> Answer:
        body = read_input(call, "repo", "collection", "rkey")
        account = self._own_repo(call, body["repo"])
        current = self._current(account, body["collection"], body["rkey"])
        if current is None:
            return json_answer({})
        self._check_swap(body, current)
        self._check_commit(account, body)
        write = Write(collection=body["collection"], rkey=body["rkey"], record=None)
        return json_answer({"commit": self._commit(call, account, write)["commit"]})

    def apply_writes(self, call: Call) -> Answer:
        """Check every write before the first one happens."""
        body = read_input(call, "repo", "writes")
        account = self._own_repo(call, body["repo"])
        items = body["writes"]
        if not isinstance(items, list) or len(items) > _MAX_WRITES:
            raise invalid(f"Too many writes. Max: {_MAX_WRITES}")
        writes = [self._batched(account, item, body) for item in items]
        if len({(write.collection, write.rkey) for write in writes}) < len(writes):
            raise refusal("InternalServerError", "Internal Server Error", status=500)
        self._check_commit(account, body)
        done = [self._commit(call, account, write) for write in writes]
        results = [
            {"$type": f"{item['$type']}Result"} | {k: v for k, v in one.items() if k != "commit"}
            for item, one in zip(items, done, strict=True)
        ]
        return json_answer({"commit": done[-1]["commit"] if done else None, "results": results})

    def upload_blob(self, call: Call) -> Answer:
        account = require(call.account)
        mime = _sniffed(call.body) or call.content_type
        if not mime or "*" in mime:
            mime = "application/octet-stream"
        cid = blob_cid(call.body)
        self._world.commit(
            Effect(
                platform=Platform.BLUESKY,
                kind=Kind.MEDIA,
                at_ns=call.received_ns,
                account=account.handle,
                remote_id=cid,
                request_sha256=call.sha256,
                media=(self._world.keep_media(call.body),),
                alt=("",),
                extra={
                    "mime": mime,
                    "length": len(call.body),
                    "width": 0,
                    "height": 0,
                    "ready_ns": 0,
                },
            )
        )
        size = len(call.body)
        blob = {"$type": "blob", "ref": {"$link": cid}, "mimeType": mime, "size": size}
        return json_answer({"blob": blob})

    def _own_repo(self, call: Call, name: str) -> Account:
        account = find_account(self._book, name)
        if account is None:
            raise invalid(f"Could not find repo: {name}")
        if account.id != require(call.account).id:
            raise unauthorized()
        return account

    def _current(self, account: Account, collection: str, rkey: str) -> str | None:
        record = self._book.collection(account.id, collection).records.get(rkey)
        return record.cid if record else None

    def _refuse_taken(self, account: Account, write: Write) -> None:
        if self._current(account, write.collection, write.rkey) is not None:
            raise refusal("InternalServerError", "Internal Server Error", status=500)

    def _check_swap(self, body: dict[str, Any], current: str | None) -> None:
        if "swapRecord" in body and body["swapRecord"] != current:
            raise refusal("InvalidSwap", f"Record was at {current or 'null'}")

    def _check_commit(self, account: Account, body: dict[str, Any]) -> None:
        head = self._book.heads.get(account.id)
        if body.get("swapCommit") not in {None, head}:
            raise refusal("InvalidSwap", f"Commit was at {head or 'null'}")

    def _prepared(self, account: Account, body: dict[str, Any], *, rkey: object) -> Write:
        """Check collection, key and record, in the order of a PDS."""
        collection, record = body["collection"], body["record"]
        if not isinstance(collection, str) or not _NSID.fullmatch(collection):
            raise invalid("Input/collection must be a valid nsid")
        if not isinstance(record, dict):
            raise invalid("Input/record must be an object")
        key = self._new_key() if rkey is None else _checked_key(collection, rkey)
        if record.setdefault("$type", collection) != collection:
            raise invalid(f"Invalid $type: expected {collection}, got {record['$type']}")
        status = _validated(collection, record, validate=body.get("validate"))
        self._check_blobs(account, record)
        try:
            cid = record_cid(record)
        except ValueError as error:
            raise invalid(f"Invalid record: {error}") from None
        return Write(collection=collection, rkey=key, record=record, cid=cid, status=status)

    def _batched(self, account: Account, item: object, body: dict[str, Any]) -> Write:
        if not isinstance(item, dict) or not isinstance(item.get("collection"), str):
            raise invalid("Input/writes must be creates, updates or deletes")
        prefix, _, action = str(item.get("$type")).partition("#")
        if prefix != "com.atproto.repo.applyWrites" or action not in {"create", "update", "delete"}:
            raise invalid("Input/writes must be creates, updates or deletes")
        if action == "delete":
            return Write(collection=item["collection"], rkey=str(item.get("rkey")), record=None)
        inner = {**item, "record": item.get("value"), "validate": body.get("validate")}
        write = self._prepared(account, inner, rkey=item.get("rkey"))
        if action == "create":
            self._refuse_taken(account, write)
        elif self._current(account, write.collection, write.rkey) is None:
            raise invalid(f"Could not locate record: {_uri(account, write)}")
        return write

    def _check_blobs(self, account: Account, record: dict[str, Any]) -> None:
        """A blob must have been uploaded by this account, and be what the record says it is."""
        for blob in lexicon.blobs(record):
            reference = blob.get("ref")
            link = reference.get("$link") if isinstance(reference, dict) else None
            media = self._book.media.get((account.id, str(link)))
            if media is None:
                raise refusal("BlobNotFound", f"Could not find blob: {link}")
            if (blob.get("mimeType"), blob.get("size")) != (media.mime, media.length):
                raise refusal(
                    "InvalidMimeType",
                    f"Referenced Mimetype does not match stored blob. Expected: {media.mime}, "
                    f"Got: {blob.get('mimeType')}",
                )

    def _unchanged(self, account: Account, write: Write) -> JsonObject:
        uri = _uri(account, write)
        return {"uri": uri, "cid": write.cid, "validationStatus": write.status}

    def _commit(self, call: Call, account: Account, write: Write) -> JsonObject:
        rev = self._new_key()
        previous = self._book.heads.get(account.id, "")
        commit = record_cid({"did": account.id, "rev": rev, "prev": previous, "data": write.cid})
        extra: JsonObject = {"collection": write.collection, "commit": commit, "rev": rev}
        effect = Effect(
            platform=Platform.BLUESKY,
            kind=self._kind(account, write),
            at_ns=call.received_ns,
            account=account.handle,
            remote_id=_uri(account, write),
            request_sha256=call.sha256,
            key=write.rkey,
            extra=extra,
        )
        if write.record is not None:
            extra |= {"record": write.record, "cid": write.cid}
            if write.collection == lexicon.POST:
                effect = self._described(account, effect, write.record)
        self._world.commit(effect)
        return self._unchanged(account, write) | {"commit": {"cid": commit, "rev": rev}}

    def _kind(self, account: Account, write: Write) -> Kind:
        if write.record is None:
            return Kind.DELETE
        if write.collection != lexicon.POST:
            return Kind.RECORD
        return Kind.EDIT if _uri(account, write) in self._book.posts else Kind.POST

    def _described(self, account: Account, effect: Effect, record: dict[str, Any]) -> Effect:
        """Add what people read: text, pictures, languages, the post it answers."""
        pictures = lexicon.images(record)
        media_ids = [one["image"]["ref"]["$link"] for one in pictures]
        reply = record.get("reply")
        return replace(
            effect,
            text=record["text"],
            media=tuple(self._book.media[account.id, one].sha256 for one in media_ids),
            alt=tuple(one["alt"] for one in pictures),
            reply_to=reply["parent"]["uri"] if reply else "",
            extra=effect.extra
            | {
                "languages": list(record.get("langs", ())),
                "visibility": "public",
                "spoiler": "",
                "sensitive": False,
                "media_ids": media_ids,
            },
        )

    def _new_key(self) -> str:
        """A timestamp identifier (https://atproto.com/specs/tid), above all that were made here before."""
        self._last_tid = max(self._last_tid + 1, self._world.now_ns() // 1000 << 10)
        return "".join(_SORTABLE[self._last_tid >> shift & 31] for shift in range(60, -1, -5))


def _uri(account: Account, write: Write) -> str:
    return f"at://{account.id}/{write.collection}/{write.rkey}"


def _checked_key(collection: str, rkey: object) -> str:
    if not isinstance(rkey, str) or not _KEY.fullmatch(rkey):
        raise invalid("Input/rkey must be a valid Record Key")
    if collection in _TID_KEYED and not _TID.fullmatch(rkey):
        raise invalid(f'Invalid record key for {collection}: Invalid TID string (got "{rkey}")')
    return rkey


def _validated(collection: str, record: dict[str, Any], *, validate: object) -> str:
    """Whether the record was checked: `valid`, or `unknown`; here `validate: false` spares no post."""
    if collection != lexicon.POST:
        if validate is True and collection not in _TID_KEYED:
            raise invalid(f"Lexicon not found: lex:{collection}")
        return "unknown"
    try:
        lexicon.check_post(record)
    except lexicon.InvalidRecordError as error:
        raise invalid(f"Invalid {collection} record: {error}") from None
    return "valid"


def _sniffed(data: bytes) -> str:
    """The MIME type by the first bytes, which a PDS believes more than the header."""
    starts = {
        b"\x89PNG\r\n\x1a\n": "image/png",
        b"\xff\xd8\xff": "image/jpeg",
        b"GIF8": "image/gif",
    }
    for start, mime in starts.items():
        if data.startswith(start):
            return mime
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return "video/mp4" if data[4:8] == b"ftyp" else ""
