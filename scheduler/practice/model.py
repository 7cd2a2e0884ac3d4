"""What the practice network remembers: effects in the order they happened, and the accounts and posts they made."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from scheduler.clock import iso

JsonObject = dict[str, Any]

PUBLIC = frozenset({"public", "unlisted"})
_NS = 1_000_000_000


class Platform(StrEnum):
    MASTODON = "mastodon"
    BLUESKY = "bluesky"


class Kind(StrEnum):
    """What an effect did; one public post more is exactly one `post`."""

    ACCOUNT = "account"
    REVOKE = "revoke"
    EXPIRE_SESSIONS = "expire_sessions"
    SESSION_ROTATED = "session_rotated"
    SESSION_ENDED = "session_ended"
    MEDIA = "media"
    MEDIA_EDIT = "media_edit"
    MEDIA_DELETE = "media_delete"
    POST = "post"
    EDIT = "edit"
    DELETE = "delete"
    RECORD = "record"
    RESET = "reset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One line of the log; `extra` holds what only the platform itself needs to rebuild its state."""

    seq: int = 0
    at_ns: int = 0  #: when the request arrived
    effect_at_ns: int = 0  #: when it took effect, later than `at_ns` under a latency knob
    platform: Platform
    kind: Kind
    account: str = ""  #: handle
    remote_id: str = ""
    request_sha256: str = ""
    text: str = ""
    media: tuple[str, ...] = ()  #: SHA-256 of each file as received
    alt: tuple[str, ...] = ()
    key: str = ""  #: Mastodon: Idempotency-Key; Bluesky: record key
    reply_to: str = ""
    extra: JsonObject = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        fields = {name: getattr(self, name) for name in self.__slots__}
        return fields | {"at": iso(moment(self.at_ns))}


def read_effect(line: JsonObject) -> Effect:
    """Read one line of the log back.

    Raises:
        ValueError, TypeError, KeyError: not a line of this log.
    """
    known = {name: value for name, value in line.items() if name != "at"}
    known["platform"] = Platform(known["platform"])
    known["kind"] = Kind(known["kind"])
    known["media"] = tuple(known["media"])
    known["alt"] = tuple(known["alt"])
    return Effect(**known)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    platform: Platform
    id: str  #: Mastodon: number as text; Bluesky: DID
    handle: str
    display_name: str
    note: str
    language: str
    created_ns: int
    secrets: frozenset[str] = frozenset()  #: SHA-256 of each token or app password that opens it
    revoked: frozenset[str] = frozenset()
    sessions: int = 0  #: access tokens of an earlier number have expired
    logins: int = 0  #: refresh tokens of an earlier number are revoked


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    id: str  #: Mastodon: number as text; Bluesky: CID of the blob
    account_id: str
    sha256: str
    mime: str
    length: int
    width: int = 0
    height: int = 0
    alt: str = ""
    ready_ns: int = 0

    @property
    def is_image(self) -> bool:
        return self.mime.startswith("image/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The public text of a post from `at_ns` on."""

    at_ns: int
    text: str
    spoiler: str
    sensitive: bool
    media: tuple[Media, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    platform: Platform
    id: str  #: Mastodon: number as text; Bluesky: at-uri
    account_id: str
    key: str
    received_ns: int
    reply_to: str
    languages: tuple[str, ...]
    visibility: str
    versions: tuple[Version, ...]  #: oldest first, never empty
    record: JsonObject = field(default_factory=dict)
    cid: str = ""

    @property
    def current(self) -> Version:
        return self.versions[-1]

    @property
    def is_public(self) -> bool:
        return self.visibility in PUBLIC


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record of a Bluesky repository as it stands now."""

    uri: str
    cid: str
    value: JsonObject


def moment(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns // _NS, UTC).replace(microsecond=at_ns % _NS // 1000)


def millis(at_ns: int) -> str:
    """An instant as both platforms write it: UTC, three decimals, `Z`."""
    return moment(at_ns).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ns % _NS // 1_000_000:03d}Z"
