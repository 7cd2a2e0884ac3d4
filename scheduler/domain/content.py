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
    payload: bytes  #: canonical JSON of the templates, one per part of a thread
    due_at: datetime | None  #: None: at once when approved


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Everything that a supervisor's decision covers.

    `sources` are the texts and variants as the officer wrote them; `policy` is the digest of the policy that was in
    force when it was submitted; a delivery leaves no later than `late_minutes` after its time and never after
    `not_after`.
    """

    post_id: str
    revision: int
    post_class: str
    items: tuple[Item, ...]
    sources: JsonValue
    policy: str
    late_minutes: int
    not_after: datetime | None

    def as_json(self) -> JsonObject:
        return {
            "v": 1,
            "kind": "publish",
            "post": self.post_id,
            "rev": self.revision,
            "class": self.post_class,
            "items": [
                {
                    "account": item.account_id,
                    "external": item.external_id,
                    "platform": item.platform,
                    "server": item.base_url,
                    "payload_sha256": sha256_hex(item.payload),
                    "due": None if item.due_at is None else iso(item.due_at),
                }
                for item in sorted(self.items, key=lambda item: item.account_id)
            ],
            "sources_sha256": sha256_hex(canonical(self.sources)),
            "policy": self.policy,
            "late_minutes": self.late_minutes,
            "not_after": None if self.not_after is None else iso(self.not_after),
        }

    def digest(self) -> str:
        """`sha256:` and 64 hex digits over the domain-separated canonical statement."""
        return "sha256:" + hashlib.sha256(_DOMAIN + canonical(self.as_json())).hexdigest()


def idempotency_key(delivery_id: str, revision: int, part: int) -> str:
    """The key that stays the same over all attempts at one part of one delivery (R10)."""
    material = f"chancery/idem/v1\0{delivery_id}\0{revision}\0{part}".encode()
    return hashlib.sha256(material).hexdigest()[:40]
