"""Missions, people with their grants and tokens, accounts with sealed secrets, and what is in force for all."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    UniqueConstraint,
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
from scheduler.domain.people import Role


class Mission(Base, table=True):
    """A node of the organisation; `path` holds the ids from the root down, `/…/…/`."""

    id: UUID = new_key()
    code: str = Field(unique=True)
    name: str
    kind: str
    parent_id: UUID | None = ref("mission.id", null=True)
    path: str = Field(unique=True)
    city: str = ""
    country: str = ""
    zone: str
    languages: list[str] = json_()
    created_at: datetime = time()
    seal: str = seal()


class Person(Base, table=True):
    id: UUID = new_key()
    code: str = Field(unique=True)
    name: str
    languages: list[str] = json_()
    active: bool = True
    approvals_suspended_until: datetime | None = time_or_none()
    created_at: datetime = time()
    seal: str = seal()


class Grant(Base, table=True):
    """A dated role on a mission and all below it; in force once confirmed, or when made at set-up.

    `office` is what a workflow asks, such as `protocol`; empty: none but the role.
    """

    id: UUID = new_key()
    person_id: UUID = ref("person.id", index=True)
    mission_id: UUID = ref("mission.id")
    role: str
    office: str = ""
    not_before: datetime = time()
    not_after: datetime | None = time_or_none()
    bootstrap: bool = False
    proposed_by: UUID | None = ref("person.id", null=True)
    proposed_at: datetime = time()
    confirmed_by: UUID | None = ref("person.id", null=True)
    confirmed_at: datetime | None = time_or_none()
    revoked_at: datetime | None = time_or_none()
    seal: str = seal()

    __table_args__ = (
        CheckConstraint(f"role IN ({values(Role)})", "role"),
        CheckConstraint("confirmed_by IS NULL OR confirmed_by <> proposed_by", "two_admins"),
        CheckConstraint("confirmed_by IS NULL OR confirmed_by <> person_id", "not_own"),
    )


class Enrolment(Base, table=True):
    """A one-time code that a person turns into a token nobody else ever sees."""

    id: UUID = new_key()
    person_id: UUID = ref("person.id", index=True)
    code_sha256: str = Field(unique=True)
    issued_by: UUID | None = ref("person.id", null=True)
    issued_at: datetime = time()
    expires_at: datetime = time()
    redeemed_at: datetime | None = time_or_none()
    seal: str = seal()


class ApiToken(Base, table=True):
    __tablename__ = "api_token"

    id: UUID = new_key()
    person_id: UUID = ref("person.id", index=True)
    token_sha256: str = Field(unique=True)
    scopes: list[str] = json_()
    created_at: datetime = time()
    expires_at: datetime = time()
    revoked_at: datetime | None = time_or_none()
    seal: str = seal()


class Account(Base, table=True):
    """One profile on one platform, owned by a mission; `limits` are its server's own."""

    id: UUID = new_key()
    mission_id: UUID = ref("mission.id", index=True)
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
    limits: dict[str, int] = json_()
    spacing_s: int = Field(default=0, sa_column=Column(Integer, nullable=False, server_default="0"))
    state: str = "active"
    state_reason: str = ""
    created_at: datetime = time()
    checked_at: datetime = time()

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
    wrapped: bytes = bytes_()
    created_at: datetime = time()


class SealedToken(Base, table=True):
    """A platform secret or session, sealed for exactly this row, account and generation."""

    __tablename__ = "sealed_token"

    id: UUID = new_key()
    account_id: UUID = ref("account.id")
    kind: str
    generation: int
    data_key_id: int = Field(sa_column=Column(ForeignKey("data_key.id"), nullable=False))
    blob: bytes = bytes_()
    updated_at: datetime = time()

    __table_args__ = (
        UniqueConstraint("account_id", "kind"),
        CheckConstraint("kind IN ('secret', 'session')", "kind"),
    )


class Media(Base, table=True):
    """A cleaned picture in the content-addressed store."""

    sha256: str = Field(primary_key=True)
    mission_id: UUID = ref("mission.id")
    mime: str
    length: int
    width: int
    height: int
    uploaded_by: UUID = ref("person.id")
    created_at: datetime = time()


class Campaign(Base, table=True):
    """Posts of several missions with one aim; a closed one takes no more posts."""

    id: UUID = new_key()
    code: str = Field(unique=True)
    title: str
    mission_id: UUID = ref("mission.id", index=True)
    created_by: UUID = ref("person.id")
    created_at: datetime = time()
    closed_at: datetime | None = time_or_none()


class Posture(Base, table=True):
    """What may not leave, set by a person and ended by time or by another person.

    Empty scope columns mean everything. `starts_at` None means from the commit on; `set_from_id` is the mission at
    which its setter held the permission: it is lifted from there or above (None: the headquarters).
    """

    id: UUID = new_key()
    kind: str
    reason: str
    mission_id: UUID | None = ref("mission.id", null=True)
    account_id: UUID | None = ref("account.id", null=True)
    campaign_id: UUID | None = ref("campaign.id", null=True)
    language: str | None = None
    allowed_classes: list[str] = json_()
    starts_at: datetime | None = time_or_none()
    ends_at: datetime | None = time_or_none()
    set_from_id: UUID | None = ref("mission.id", null=True)
    started_by: UUID | None = ref("person.id", null=True)
    started_at: datetime = time()
    end_proposed_by: UUID | None = ref("person.id", null=True)
    end_proposed_at: datetime | None = time_or_none()
    ended_by: UUID | None = ref("person.id", null=True)
    ended_at: datetime | None = time_or_none()
    seal: str = seal()

    __table_args__ = (
        CheckConstraint("length(kind) BETWEEN 1 AND 40", "kind"),
        CheckConstraint(
            "ends_at IS NULL OR ends_at > coalesce(starts_at, started_at)", "ends_after_start"
        ),
        Index(
            "ix_posture_open",
            "started_at",
            sqlite_where=text("ended_at IS NULL"),
            postgresql_where=text("ended_at IS NULL"),
        ),
    )


class PolicyVersion(Base, table=True):
    """A policy file as it was activated; the newest is in force."""

    __tablename__ = "policy_version"

    id: UUID = new_key()
    version: str
    digest: str
    body: bytes = bytes_()
    activated_by: UUID | None = ref("person.id", null=True)
    activated_at: datetime = time()
    seal: str = seal()


class PolicyProposal(Base, table=True):
    """A policy that one admin wants in force; it never changes, and a policy activated after it makes it void."""

    __tablename__ = "policy_proposal"

    id: UUID = new_key()
    version: str
    digest: str
    body: bytes = bytes_()
    proposed_by: UUID = ref("person.id")
    proposed_at: datetime = time()
    seal: str = seal()


class IdempotencyRecord(Base, table=True):
    """The stored answer to a POST that carried an `Idempotency-Key`."""

    __tablename__ = "idempotency_record"

    person_id: UUID = Field(sa_column=Column(ForeignKey("person.id"), primary_key=True))
    key_sha256: str = Field(primary_key=True)
    request_sha256: str
    status: int
    body: str
    headers: dict[str, str] = json_()
    created_at: datetime = time()
