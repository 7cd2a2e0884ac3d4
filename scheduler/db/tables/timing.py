"""What happens around a post's time: series and their occurrences, pre-flight results, renewals of sign-ins."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, ForeignKey, UniqueConstraint, Uuid
from sqlmodel import Field

from scheduler.db.tables.base import Base, json_, new_key, ref, time, time_or_none


class Series(Base, table=True):
    """A rule by which copies of a post were drafted; what becomes of each copy is its own affair."""

    id: UUID = new_key()
    mission_id: UUID = ref("mission.id", index=True)
    source_id: UUID = ref("post.id")
    author_id: UUID = ref("person.id")
    rule: str
    every: int
    zone: str
    starts_on: str
    until: str | None = None
    amount: int | None = None
    exceptions: list[str] = json_()
    fold: str | None = None
    gap: str | None = None
    created_at: datetime = time()
    ended_at: datetime | None = time_or_none()
    ended_by: UUID | None = ref("person.id", null=True)
    end_reason: str = ""

    __table_args__ = (
        CheckConstraint("every >= 1", "every"),
        CheckConstraint("until IS NOT NULL OR amount IS NOT NULL", "bounded"),
        CheckConstraint("(ended_at IS NULL) = (ended_by IS NULL)", "ended"),
    )


class Occurrence(Base, table=True):
    """Which day of which series a post stands for."""

    post_id: UUID = Field(sa_column=Column(ForeignKey("post.id"), primary_key=True))
    series_id: UUID = ref("series.id")
    day: str

    __table_args__ = (UniqueConstraint("series_id", "day"),)


class Preflight(Base, table=True):
    """The one check of a delivery's revision before its time.

    Without a foreign key, on purpose: writing this row must not lock the delivery that a worker is about to claim.
    """

    delivery_id: UUID = Field(sa_column=Column(Uuid(), primary_key=True))
    revision: int = Field(primary_key=True)
    at: datetime = time()
    ok: bool
    problems: list[dict[str, Any]] = json_()  #: `{"code", "message", "next"}`


class SignIn(Base, table=True):
    """Who renews an account's sign-in now, when to try again, and when it ends for good."""

    __tablename__ = "sign_in"

    account_id: UUID = Field(sa_column=Column(ForeignKey("account.id"), primary_key=True))
    lease_owner: str = ""
    lease_until: datetime | None = time_or_none()
    retry_at: datetime | None = time_or_none()
    tries: int = 0
    ends_at: datetime | None = time_or_none()  #: None: not known, or renewed by itself
    warned_days: int | None = None
