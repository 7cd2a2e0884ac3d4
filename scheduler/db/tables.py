"""The tables: dumb rows, named constraints, no methods and no relationships.

A `table=True` model validates nothing: requests are parsed elsewhere (`scheduler.web.api`). States are text with CHECK
constraints; the invariants that no code may break stand here as well, by name.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    UniqueConstraint,
    text,
)
from sqlmodel import Field, SQLModel

from scheduler.db.types import UtcDateTime
from scheduler.domain.delivery_flow import DeliveryState
from scheduler.domain.people import Role
from scheduler.domain.post_flow import PostState
from scheduler.ids import new_id

NAMING = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(column_0_name)s",
}


class Base(SQLModel):
    metadata = MetaData(naming_convention=NAMING)


def _values(states: type[DeliveryState] | type[PostState] | type[Role]) -> str:
    return ", ".join(f"'{state.value}'" for state in states)


def _id() -> Any:  # noqa: ANN401 - SQLModel's Field is typed so
    return Field(default_factory=new_id, primary_key=True)


def _ref(target: str, *, null: bool = False, index: bool = False) -> Any:  # noqa: ANN401
    column: Column[Any] = Column(ForeignKey(target), nullable=null, index=index)
    return Field(sa_column=column) if not null else Field(default=None, sa_column=column)


def _time() -> Any:  # noqa: ANN401
    return Field(sa_column=Column(UtcDateTime, nullable=False))


def _time_or_none() -> Any:  # noqa: ANN401
    return Field(default=None, sa_column=Column(UtcDateTime, nullable=True))


def _json() -> Any:  # noqa: ANN401
    return Field(sa_column=Column(JSON, nullable=False))


def _bytes() -> Any:  # noqa: ANN401
    return Field(sa_column=Column(LargeBinary, nullable=False))


class Mission(Base, table=True):
    """A node of the organisation; `path` holds the ids from the root down, `/…/…/`."""

    id: UUID = _id()
    code: str = Field(unique=True)
    name: str
    kind: str
    parent_id: UUID | None = _ref("mission.id", null=True)
    path: str = Field(unique=True)
    city: str = ""
    country: str = ""
    zone: str
    languages: list[str] = _json()
    created_at: datetime = _time()


class Person(Base, table=True):
    id: UUID = _id()
    code: str = Field(unique=True)
    name: str
    languages: list[str] = _json()
    active: bool = True
    approvals_suspended_until: datetime | None = _time_or_none()
    created_at: datetime = _time()


class Grant(Base, table=True):
    """A dated role on a mission and all below it; in force once confirmed, or when made at set-up."""

    id: UUID = _id()
    person_id: UUID = _ref("person.id", index=True)
    mission_id: UUID = _ref("mission.id")
    role: str
    not_before: datetime = _time()
    not_after: datetime | None = _time_or_none()
    bootstrap: bool = False
    proposed_by: UUID | None = _ref("person.id", null=True)
    proposed_at: datetime = _time()
    confirmed_by: UUID | None = _ref("person.id", null=True)
    confirmed_at: datetime | None = _time_or_none()
    revoked_at: datetime | None = _time_or_none()

    __table_args__ = (
        CheckConstraint(f"role IN ({_values(Role)})", "role"),
        CheckConstraint("confirmed_by IS NULL OR confirmed_by <> proposed_by", "two_admins"),
        CheckConstraint("confirmed_by IS NULL OR confirmed_by <> person_id", "not_own"),
    )


class Enrolment(Base, table=True):
    """A one-time code that a person turns into a token nobody else ever sees."""

    id: UUID = _id()
    person_id: UUID = _ref("person.id", index=True)
    code_sha256: str = Field(unique=True)
    issued_by: UUID | None = _ref("person.id", null=True)
    issued_at: datetime = _time()
    expires_at: datetime = _time()
    redeemed_at: datetime | None = _time_or_none()


class ApiToken(Base, table=True):
    __tablename__ = "api_token"

    id: UUID = _id()
    person_id: UUID = _ref("person.id", index=True)
    token_sha256: str = Field(unique=True)
    scopes: list[str] = _json()
    created_at: datetime = _time()
    expires_at: datetime = _time()
    revoked_at: datetime | None = _time_or_none()


class Account(Base, table=True):
    """One profile on one platform, owned by a mission; `limits` are its server's own."""

    id: UUID = _id()
    mission_id: UUID = _ref("mission.id", index=True)
    code: str = Field(unique=True)
    platform: str
    base_url: str
    identifier: str = ""
    external_id: str
    handle: str
    display_name: str
    url: str
    software: str
    language: str
    limits: dict[str, int] = _json()
    state: str = "active"
    state_reason: str = ""
    created_at: datetime = _time()
    checked_at: datetime = _time()

    __table_args__ = (
        CheckConstraint("state IN ('active', 'paused', 'removed')", "state"),
        Index(
            "uq_account_profile",
            "platform",
            "base_url",
            "external_id",
            unique=True,
            sqlite_where=text("state <> 'removed'"),
            postgresql_where=text("state <> 'removed'"),
        ),
    )


class DataKey(Base, table=True):
    """A data key, wrapped by a key that is not in this database."""

    __tablename__ = "data_key"

    id: int | None = Field(default=None, sa_column=Column(Integer, primary_key=True))
    purpose: str
    subject: str = Field(index=True)
    kek_uri: str
    kek_version: int
    wrapped: bytes = _bytes()
    created_at: datetime = _time()


class SealedToken(Base, table=True):
    """A platform secret or session, sealed for exactly this row, account and generation."""

    __tablename__ = "sealed_token"

    id: UUID = _id()
    account_id: UUID = _ref("account.id")
    kind: str
    generation: int
    data_key_id: int = Field(sa_column=Column(ForeignKey("data_key.id"), nullable=False))
    blob: bytes = _bytes()
    updated_at: datetime = _time()

    __table_args__ = (
        UniqueConstraint("account_id", "kind"),
        CheckConstraint("kind IN ('secret', 'session')", "kind"),
    )


class Media(Base, table=True):
    """A cleaned picture in the content-addressed store."""

    sha256: str = Field(primary_key=True)
    mission_id: UUID = _ref("mission.id")
    mime: str
    length: int
    width: int
    height: int
    uploaded_by: UUID = _ref("person.id")
    created_at: datetime = _time()


class Post(Base, table=True):
    """One message; `due_at` is computed from the wall time a person chose, None means at once."""

    id: UUID = _id()
    mission_id: UUID = _ref("mission.id", index=True)
    author_id: UUID = _ref("person.id")
    title: str = ""
    post_class: str
    state: str = PostState.DRAFT.value
    revision: int = 1
    local_time: str | None = None
    zone: str
    choice: str | None = None
    due_at: datetime | None = _time_or_none()
    late_minutes: int
    not_after: datetime | None = _time_or_none()
    schedule_on_approval: bool = True
    link_card: dict[str, str] | None = Field(default=None, sa_column=Column(JSON, nullable=True))
    policy: str | None = None
    digest: str | None = None
    created_at: datetime = _time()
    updated_at: datetime = _time()

    __table_args__ = (
        CheckConstraint(f"state IN ({_values(PostState)})", "state"),
        CheckConstraint("state IN ('draft', 'cancelled') OR digest IS NOT NULL", "digest"),
        CheckConstraint("late_minutes >= 0", "late_minutes"),
        Index("ix_post_state", "state", "due_at"),
    )


class PostEditor(Base, table=True):
    """Who wrote or changed the post: they never approve it."""

    __tablename__ = "post_editor"

    post_id: UUID = Field(sa_column=Column(ForeignKey("post.id"), primary_key=True))
    person_id: UUID = Field(sa_column=Column(ForeignKey("person.id"), primary_key=True))


class PostText(Base, table=True):
    """The common text of one language: a list of `{"text", "media": [{"sha256", "alt"}]}`."""

    __tablename__ = "post_text"

    post_id: UUID = Field(sa_column=Column(ForeignKey("post.id"), primary_key=True))
    language: str = Field(primary_key=True)
    segments: list[dict[str, Any]] = _json()


class Variant(Base, table=True):
    """The text for one account where it differs from its language's common text; same form."""

    post_id: UUID = Field(sa_column=Column(ForeignKey("post.id"), primary_key=True))
    account_id: UUID = Field(sa_column=Column(ForeignKey("account.id"), primary_key=True))
    segments: list[dict[str, Any]] = _json()


class Delivery(Base, table=True):
    """One post on one account: the unit of publishing.

    `payload` is the canonical JSON of the rendered templates, one per part of a thread; `progress` keeps what earlier
    steps got from the platform, so that no step is done twice.
    """

    id: UUID = _id()
    post_id: UUID = _ref("post.id", index=True)
    account_id: UUID = _ref("account.id")
    language: str = ""  #: of the text chosen for this account; empty: the account's own
    state: str = DeliveryState.PLANNED.value
    due_at: datetime | None = _time_or_none()
    wake_at: datetime | None = _time_or_none()
    expires_at: datetime | None = _time_or_none()
    payload: bytes = _bytes()
    fence: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    lease_until: datetime | None = _time_or_none()
    worker: str = ""
    attempts: int = 0
    next_part: int = 0
    progress: dict[str, Any] = _json()
    reason: str = ""
    remote_id: str | None = None
    remote_url: str | None = None
    sent_at: datetime | None = _time_or_none()
    created_at: datetime = _time()
    updated_at: datetime = _time()

    __table_args__ = (
        UniqueConstraint("post_id", "account_id"),
        CheckConstraint(f"state IN ({_values(DeliveryState)})", "state"),
        CheckConstraint(
            "state NOT IN ('sent', 'verified', 'drifted') OR remote_id IS NOT NULL", "remote_id"
        ),
        CheckConstraint(
            "state NOT IN ('claimed', 'preparing', 'sending') OR lease_until IS NOT NULL", "lease"
        ),
        CheckConstraint("state <> 'ready' OR wake_at IS NOT NULL", "wake_at"),
        Index(
            "uq_delivery_sending",
            "account_id",
            unique=True,
            sqlite_where=text("state = 'sending'"),
            postgresql_where=text("state = 'sending'"),
        ),
        Index(
            "ix_delivery_wake",
            "wake_at",
            sqlite_where=text("state IN ('ready', 'sent', 'unknown')"),
            postgresql_where=text("state IN ('ready', 'sent', 'unknown')"),
        ),
        Index(
            "ix_delivery_lease",
            "lease_until",
            sqlite_where=text("state IN ('claimed', 'preparing', 'sending')"),
            postgresql_where=text("state IN ('claimed', 'preparing', 'sending')"),
        ),
    )


class Attempt(Base, table=True):
    """One try of one part: committed with the filled bytes before the first byte leaves."""

    id: UUID = _id()
    delivery_id: UUID = _ref("delivery.id", index=True)
    number: int
    part: int
    fence: int = Field(sa_column=Column(BigInteger, nullable=False))
    idempotency_key: str
    request: bytes = _bytes()
    request_sha256: str
    started_at: datetime = _time()
    deadline: datetime = _time()
    outcome: str | None = None
    code: str = ""
    message: str = ""
    evidence: dict[str, Any] = _json()
    ended_at: datetime | None = _time_or_none()

    __table_args__ = (
        UniqueConstraint("delivery_id", "number"),
        CheckConstraint(
            "outcome IN ('sent', 'not_sent', 'rejected', 'unknown', 'found', 'absent')", "outcome"
        ),
        CheckConstraint("(outcome IS NULL) = (ended_at IS NULL)", "ended"),
    )


class Approval(Base, table=True):
    """A person's decision on one digest; a trigger keeps authors and editors out."""

    id: UUID = _id()
    post_id: UUID = _ref("post.id")
    revision: int
    digest: str
    policy: str
    person_id: UUID = _ref("person.id")
    decided_at: datetime = _time()

    __table_args__ = (UniqueConstraint("post_id", "revision", "person_id"),)


class Comment(Base, table=True):
    id: UUID = _id()
    post_id: UUID = _ref("post.id", index=True)
    revision: int
    person_id: UUID = _ref("person.id")
    kind: str
    text: str
    created_at: datetime = _time()


class Posture(Base, table=True):
    """A stop over the whole installation; in force until `ended_at`."""

    id: UUID = _id()
    kind: str
    reason: str
    started_by: UUID | None = _ref("person.id", null=True)
    started_at: datetime = _time()
    ended_by: UUID | None = _ref("person.id", null=True)
    ended_at: datetime | None = _time_or_none()

    __table_args__ = (
        CheckConstraint("kind IN ('stop')", "kind"),
        Index(
            "uq_posture_open",
            "kind",
            unique=True,
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )


class PolicyVersion(Base, table=True):
    """A policy file as it was activated; the newest is in force."""

    __tablename__ = "policy_version"

    id: UUID = _id()
    version: str
    digest: str
    body: bytes = _bytes()
    activated_by: UUID | None = _ref("person.id", null=True)
    activated_at: datetime = _time()


class AuditOutbox(Base, table=True):
    """Records of committed changes; `seq` is empty until the sequencer has sealed them."""

    __tablename__ = "audit_outbox"

    id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    )
    body: bytes = _bytes()
    seq: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))

    __table_args__ = (
        Index(
            "ix_audit_outbox_unsealed",
            "id",
            sqlite_where=text("seq IS NULL"),
            postgresql_where=text("seq IS NULL"),
        ),
    )


class AuditLeaf(Base, table=True):
    """The exact leaf bytes of the log: the stored bytes are the truth."""

    __tablename__ = "audit_leaf"

    seq: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    line: bytes = _bytes()
    hash: bytes = _bytes()
    subject: str = Field(index=True)


class AuditNode(Base, table=True):
    __tablename__ = "audit_node"

    level: int = Field(primary_key=True)
    position: int = Field(
        sa_column=Column(BigInteger, primary_key=True, autoincrement=False, key="position")
    )
    hash: bytes = _bytes()


class AuditHead(Base, table=True):
    """One row: the size and frontier of the tree, and which sequencer may extend it."""

    __tablename__ = "audit_head"

    id: int = Field(default=1, primary_key=True)
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    frontier: list[str] = _json()
    epoch: int = Field(sa_column=Column(BigInteger, nullable=False))
    owner: str = ""
    lease_until: datetime = _time()

    __table_args__ = (CheckConstraint("id = 1", "one_row"),)


class Checkpoint(Base, table=True):
    size: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    note: str
    signed_at: datetime = _time()


class IdempotencyRecord(Base, table=True):
    """The stored answer to a POST that carried an `Idempotency-Key`."""

    __tablename__ = "idempotency_record"

    person_id: UUID = Field(sa_column=Column(ForeignKey("person.id"), primary_key=True))
    key_sha256: str = Field(primary_key=True)
    request_sha256: str
    status: int
    body: str
    headers: dict[str, str] = _json()
    created_at: datetime = _time()
