"""Posts, their texts and decisions, deliveries and their attempts."""

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
    UniqueConstraint,
    Uuid,
    text,
)
from sqlmodel import Field

from scheduler.db.tables.base import (
    Base,
    bytes_,
    json_,
    new_key,
    ref,
    seal,
    time,
    time_or_none,
    values,
)
from scheduler.domain.delivery_flow import DeliveryState
from scheduler.domain.post_flow import PostState
from scheduler.policy.clearance import Mode


class Post(Base, table=True):
    """One message; `due_at` is computed from the wall time a person chose, None means at once."""

    id: UUID = new_key()
    mission_id: UUID = ref("mission.id", index=True)
    author_id: UUID = ref("person.id")
    campaign_id: UUID | None = ref("campaign.id", null=True, index=True)
    title: str = ""
    post_class: str
    state: str = PostState.DRAFT.value
    revision: int = 1
    local_time: str | None = None
    zone: str
    choice: str | None = None
    due_at: datetime | None = time_or_none()
    late_minutes: int
    not_after: datetime | None = time_or_none()
    schedule_on_approval: bool = True
    link_card: dict[str, str] | None = Field(default=None, sa_column=Column(JSON, nullable=True))
    #: What its authors declare for the policy's rules, by fact: JSON values, or None where they declare nothing.
    facts: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON, nullable=True))
    #: Why its author goes on in spite of a finding, by rule: part of what is approved.
    accepted: dict[str, str] | None = Field(default=None, sa_column=Column(JSON, nullable=True))
    policy: str | None = None
    digest: str | None = None
    #: From when the time of an office counts, where one has any: part of what is approved.
    submitted_at: datetime | None = time_or_none()
    #: When the first office that has not decided yet is late.
    answer_by: datetime | None = time_or_none()
    #: What the list that it was imported from calls it: the same row makes no second post.
    import_ref: str | None = None
    created_at: datetime = time()
    updated_at: datetime = time()

    __table_args__ = (
        CheckConstraint(f"state IN ({values(PostState)})", "state"),
        CheckConstraint("state IN ('draft', 'cancelled') OR digest IS NOT NULL", "digest"),
        CheckConstraint("late_minutes >= 0", "late_minutes"),
        Index("ix_post_state", "state", "due_at"),
        Index("uq_post_import_ref", "mission_id", "import_ref", unique=True),
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
    segments: list[dict[str, Any]] = json_()


class Variant(Base, table=True):
    """The text for one account where it differs from its language's common text; same form."""

    post_id: UUID = Field(sa_column=Column(ForeignKey("post.id"), primary_key=True))
    account_id: UUID = Field(sa_column=Column(ForeignKey("account.id"), primary_key=True))
    segments: list[dict[str, Any]] = json_()


class Delivery(Base, table=True):
    """One post on one account: the unit of publishing.

    `payload` is the canonical JSON of the rendered templates, one per part of a thread; `progress` keeps what earlier
    steps got from the platform, so that no step is done twice.
    """

    id: UUID = new_key()
    post_id: UUID = ref("post.id", index=True)
    account_id: UUID = ref("account.id")
    language: str = ""  #: of the text chosen for this account; empty: the account's own
    state: str = DeliveryState.PLANNED.value
    due_at: datetime | None = time_or_none()
    wake_at: datetime | None = time_or_none()
    late_at: datetime | None = time_or_none()
    expires_at: datetime | None = time_or_none()
    payload: bytes = bytes_()
    fence: int = Field(default=0, sa_column=Column(BigInteger, nullable=False))
    lease_until: datetime | None = time_or_none()
    worker: str = ""
    attempts: int = 0
    next_part: int = 0
    progress: dict[str, Any] = json_()
    reason: str = ""
    remote_id: str | None = None
    remote_url: str | None = None
    sent_at: datetime | None = time_or_none()
    created_at: datetime = time()
    updated_at: datetime = time()

    __table_args__ = (
        UniqueConstraint("post_id", "account_id"),
        CheckConstraint(f"state IN ({values(DeliveryState)})", "state"),
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
            "uq_delivery_remote",
            "account_id",
            "remote_id",
            unique=True,
            sqlite_where=text("remote_id IS NOT NULL"),
            postgresql_where=text("remote_id IS NOT NULL"),
        ),
        Index(
            "ix_delivery_wake",
            "wake_at",
            sqlite_where=text("state IN ('ready', 'sent', 'unknown')"),
            postgresql_where=text("state IN ('ready', 'sent', 'unknown')"),
        ),
        Index(
            "ix_delivery_lane",
            "account_id",
            "wake_at",
            "id",
            sqlite_where=text("state = 'ready'"),
            postgresql_where=text("state = 'ready'"),
        ),
        Index(
            "ix_delivery_in_hand",
            "account_id",
            sqlite_where=text("state IN ('claimed', 'preparing', 'sending')"),
            postgresql_where=text("state IN ('claimed', 'preparing', 'sending')"),
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

    id: UUID = new_key()
    delivery_id: UUID = ref("delivery.id", index=True)
    number: int
    part: int
    fence: int = Field(sa_column=Column(BigInteger, nullable=False))
    idempotency_key: str
    request: bytes = bytes_()
    request_sha256: str
    started_at: datetime = time()
    deadline: datetime = time()
    #: The delivery's, beside the time, so that counting what an account has used asks one index.
    account_id: UUID | None = Field(default=None, sa_column=Column(Uuid()))
    outcome: str | None = None
    code: str = ""
    message: str = ""
    evidence: dict[str, Any] = json_()
    ended_at: datetime | None = time_or_none()

    __table_args__ = (
        UniqueConstraint("delivery_id", "number"),
        CheckConstraint(
            "outcome IN ('sent', 'not_sent', 'rejected', 'unknown', 'found', 'absent')", "outcome"
        ),
        CheckConstraint("(outcome IS NULL) = (ended_at IS NULL)", "ended"),
        Index("ix_attempt_pace", "account_id", "started_at"),
    )


class Approval(Base, table=True):
    """A person's decision on one digest: cleared or approved; a trigger keeps authors and editors out."""

    id: UUID = new_key()
    post_id: UUID = ref("post.id")
    revision: int
    digest: str
    policy: str
    person_id: UUID = ref("person.id")
    decided_at: datetime = time()
    mode: str = Mode.APPROVE.value
    reason: str = ""
    seal: str = seal()

    __table_args__ = (
        UniqueConstraint("post_id", "revision", "person_id"),
        CheckConstraint(f"mode IN ({values(Mode)})", "mode"),
    )


class Comment(Base, table=True):
    id: UUID = new_key()
    post_id: UUID = ref("post.id", index=True)
    revision: int
    person_id: UUID = ref("person.id")
    kind: str
    text: str
    created_at: datetime = time()
