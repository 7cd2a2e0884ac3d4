"""What an approval binds: one statement over everything that will be public, and its digest."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from scheduler.canonical import JsonObject, JsonValue, canonical, sha256_hex
from scheduler.clock import iso

_DOMAIN: Final = b"chancery/approval/v1\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One account's part: the templates as rendered, whose only open places are declared slots."""

    account_id: str
    external_id: str  #: the platform's own id of the account: another profile is another content
    platform: str
    base_url: str
    language: str  #: chosen for this account, by which rules judge it; empty: the account's own
    payload: bytes  #: canonical JSON of the templates, one per part of a thread
    due_at: datetime | None  #: None: at once when approved


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Everything that a supervisor's decision covers.

    `sources` are the texts and variants as the officer wrote them; `editors` are who wrote or changed them, the author
    too, so that none of them is left out of the separation of duties; `policy` is the digest of the policy that was in
    force when it was submitted; a delivery leaves no later than `late_minutes` after its time and never after
    `not_after`.
    """

    post_id: str
    revision: int
    post_class: str
    items: tuple[Item, ...]
    editors: tuple[str, ...]
    sources: JsonValue
    policy: str
    late_minutes: int
    not_after: datetime | None

    def as_json(self) -> JsonObject:
        items = [{**_describe(item), "language": item.language} for item in self._sorted()]
        return {**self._former(), "v": 2, "items": items, "editors": sorted(self.editors)}

    def digest(self) -> str:
        """`sha256:` and 64 hex digits over the domain-separated canonical statement."""
        return _digest(self.as_json())

    def digest_like(self, known: str | None) -> str:
        """`known`, if it is of this content in today's form or in the former one; else today's digest.

        What was approved in the former form waits for its time all the same; whoever changes an editor or a language
        does not turn a digest of today's form into one of the former.
        """
        today = self.digest()
        is_former = known not in {None, today} and known == _digest(self._former())
        return str(known) if is_former else today

    def _sorted(self) -> list[Item]:
        return sorted(self.items, key=lambda item: item.account_id)

    def _former(self) -> dict[str, JsonValue]:
        """The statement of version 1, without languages and editors."""
        return {
            "v": 1,
            "kind": "publish",
            "post": self.post_id,
            "rev": self.revision,
            "class": self.post_class,
            "items": [_describe(item) for item in self._sorted()],
            "sources_sha256": sha256_hex(canonical(self.sources)),
            "policy": self.policy,
            "late_minutes": self.late_minutes,
            "not_after": None if self.not_after is None else iso(self.not_after),
        }


def _describe(item: Item) -> dict[str, JsonValue]:
    return {
        "account": item.account_id,
        "external": item.external_id,
        "platform": item.platform,
        "server": item.base_url,
        "payload_sha256": sha256_hex(item.payload),
        "due": None if item.due_at is None else iso(item.due_at),
    }


def _digest(statement: JsonObject) -> str:
    return "sha256:" + hashlib.sha256(_DOMAIN + canonical(statement)).hexdigest()


def idempotency_key(delivery_id: str, revision: int, part: int) -> str:
    """The key that stays the same over all attempts at one part of one delivery (R10)."""
    material = f"chancery/idem/v1\0{delivery_id}\0{revision}\0{part}".encode()
    return hashlib.sha256(material).hexdigest()[:40]
