"""The contract between the engine and a platform: values, request templates and the `Adapter` protocol."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from adapters.http import PlatformHttp

Json = None | bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"]
JsonObject = Mapping[str, Json]


class LinkCards(StrEnum):
    """Who makes the preview of a link: nobody, the server, or we, with the post."""

    NONE = "none"
    SERVER = "server"
    SUPPLIED = "supplied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    limit: int  #: posts
    per: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """A platform as data; where a server has limits of its own, `Profile.limits` goes before these."""

    platform: str
    title: str
    max_length: int  #: graphemes, counted as the platform counts
    max_bytes: int | None
    max_media: int
    media_types: frozenset[str]
    max_image_bytes: int
    max_image_pixels: int
    max_alt_length: int  #: code points
    alt_required: bool
    threads: bool
    link_card: LinkCards
    max_languages: int
    edit: bool
    delete: bool
    read_back: bool
    lookup: bool  #: `find` can prove that a post is absent
    idempotent_for: timedelta
    settle: timedelta  #: how long after the timeout an effect may still appear
    publish_timeout: timedelta
    media_lifetime: timedelta  #: how long an uploaded, unused media reference stays good
    quotas: tuple[Quota, ...]  #: of each account
    shared_quotas: tuple[Quota, ...] = ()  #: of all our accounts on one server together


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRef:
    sha256: str  #: hex, of the bytes to upload
    mime: str
    length: int  #: bytes
    width: int
    height: int
    alt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    text: str
    media: tuple[MediaRef, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkCard:
    uri: str
    title: str
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    segments: tuple[Segment, ...]  #: one for each post of a thread
    language: str  #: BCP 47
    card: LinkCard | None = None  #: stands under the first segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    external_id: str
    handle: str
    display_name: str
    url: str
    software: str  #: name and version, as the server tells them
    limits: Mapping[str, int]  #: the server's own: max_length, url_length, max_media, …
    ends_at: datetime | None = None  #: when the token ends for good, where the server tells


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    code: str
    message: str
    segment: int  #: index into `Content.segments`
    blocks: bool = True  #: False: it can be published, but people should know


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    used: int
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    base_url: str
    external_id: str  #: empty before the first `verify`
    identifier: str  #: login name where the platform has one
    secret: str = field(repr=False)
    session: str | None = field(repr=False)  #: JSON that only the adapter reads


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """What is known only at the time of sending; `parent` and `root` are `Published.ref` values."""

    media: Mapping[str, Json]  #: by SHA-256
    parent: Json
    root: Json
    record_key: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    remote_id: str
    url: str
    ref: Json  #: what a reply to it, or a later look at it, needs


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    found: bool
    differences: tuple[str, ...]  #: stable codes; empty means: stands as approved
    evidence_sha256: str  #: of the platform's answer


def rfc3339(moment: datetime) -> str:
    """Return UTC with milliseconds and `Z`; raises ValueError for a naive time."""
    if moment.tzinfo is None:
        raise ValueError("the time has no zone")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def fill(template: JsonObject, slots: Slots) -> bytes:
    """Return the exact request body: sorted, compact UTF-8 JSON with every slot filled.

    Raises:
        ValueError: for an unknown or misspelt slot, or one without a value.
    """
    filled = _fill(template, slots)
    return json.dumps(
        filled, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def _fill(value: Json, slots: Slots) -> Json:
    match value:
        case Mapping():
            if "$slot" in value:
                return _slot(value, slots)
            return {key: _fill(child, slots) for key, child in value.items()}
        case str():
            return value
        case Sequence():
            return [_fill(child, slots) for child in value]
        case _:
            return value


def _slot(spelled: JsonObject, slots: Slots) -> Json:
    found: Json
    match dict(spelled):
        case {"$slot": "media", "sha256": str(sha256), **rest} if not rest:
            found = slots.media.get(sha256)
        case {"$slot": "parent", **rest} if not rest:
            found = slots.parent
        case {"$slot": "root", **rest} if not rest:
            found = slots.root
        case {"$slot": "record_key", **rest} if not rest:
            found = slots.record_key
        case {"$slot": "created_at", **rest} if not rest:
            found = rfc3339(slots.created_at)
        case _:
            raise ValueError(f"no such slot: {spelled.get('$slot')}")
    if found is None or found == "":
        raise ValueError(f"the slot {spelled['$slot']} has no value")
    return found


class Adapter(Protocol):
    """One platform; every method raises the errors of `adapters.errors` and nothing else by design."""

    platform: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    def __init__(self, http: "PlatformHttp") -> None: ...

    def length(self, text: str, limits: Mapping[str, int]) -> Length: ...

    def problems(self, content: Content, limits: Mapping[str, int]) -> tuple[Problem, ...]:
        """Return all that keeps the platform from carrying `content` faithfully; empty means it can."""
        ...

    def render(
        self, content: Content, external_id: str, limits: Mapping[str, int]
    ) -> tuple[JsonObject, ...]:
        """Return one request template for each segment; raises ValueError if there are problems."""
        ...

    def record_key(self, created_at: datetime, key: str) -> str:
        """Return the same record key for the same arguments, always."""
        ...

    async def verify(self, credentials: Credentials) -> Profile: ...

    def needs_refresh(self, credentials: Credentials, now: datetime) -> bool: ...

    async def refresh(self, credentials: Credentials) -> Credentials:
        """Return credentials with a new session, to be saved before they are used."""
        ...

    async def upload(self, credentials: Credentials, media: MediaRef, data: bytes) -> Json:
        """Return the media slot's value once the platform is done with the picture.

        Raises:
            ValueError: `data` are not the bytes that `media` names.
        """
        ...

    async def publish(self, credentials: Credentials, body: bytes, key: str) -> Published:
        """Send `body` once, as it is; `key` is the same at every attempt of this post."""
        ...

    async def find(
        self,
        credentials: Credentials,
        body: bytes,
        key: str,
        since: datetime,
        taken: frozenset[str] = frozenset(),
    ) -> Published | None:
        """Look for a post whose sending ended unclear; None means proven absent.

        `taken` are remote ids that belong to other posts: one of them is never the answer.

        Raises:
            UnavailableError: also when the platform's answer leaves it open.
        """
        ...

    async def read_back(
        self, credentials: Credentials, body: bytes, published: Published
    ) -> ReadBack: ...
