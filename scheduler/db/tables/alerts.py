"""Alerts on their way to people, and the signs of life of the workers."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, LargeBinary, text
from sqlmodel import Field

from scheduler.db.tables.base import Base, json_, new_key, time, time_or_none


class OutboundEvent(Base, table=True):
    """Something to tell people, written in the transaction that made it true.

    `situation` is unique: what is found by looking is told once for each time it comes true.
    """

    __tablename__ = "outbound_event"

    id: UUID = new_key()
    kind: str
    subject: str  #: delivery, post, account, posture, worker or alert
    subject_id: UUID
    post_id: UUID | None = None
    detail: dict[str, Any] = json_()
    situation: str = Field(unique=True)
    created_at: datetime = time()

    __table_args__ = (
        Index("ix_outbound_event_created_at", "created_at"),
        Index("ix_outbound_event_subject", "subject_id", "kind"),
    )


class OutboundSend(Base, table=True):
    """An event on its way to one target.

    Several events may travel in one message: `carrier` is the event whose row holds its `body`. The number of attempts
    is the fence of whoever sends.
    """

    __tablename__ = "outbound_send"

    event_id: UUID = Field(sa_column=Column(ForeignKey("outbound_event.id"), primary_key=True))
    target: str = Field(primary_key=True)
    carrier: UUID
    receiver: str  #: hash of the address, so that a changed one starts anew
    body: bytes | None = Field(default=None, sa_column=Column(LargeBinary, nullable=True))
    state: str = "pending"
    attempts: int = 0
    wake_at: datetime | None = time_or_none()
    error: str = ""
    created_at: datetime = time()
    ended_at: datetime | None = time_or_none()

    __table_args__ = (
        CheckConstraint("target IN ('email', 'webhook')", "target"),
        CheckConstraint("state IN ('pending', 'sent', 'failed', 'gone')", "state"),
        CheckConstraint("(body IS NOT NULL) = (carrier = event_id)", "carrier"),
        Index("ix_outbound_send_carrier", "carrier"),
        Index("ix_outbound_send_newest", "target", "created_at"),
        Index(
            "ix_outbound_send_wake",
            "wake_at",
            sqlite_where=text("state = 'pending'"),
            postgresql_where=text("state = 'pending'"),
        ),
    )


class SignOfLife(Base, table=True):
    """A worker that runs, renewed every few seconds; one that ends in order takes its row along."""

    __tablename__ = "sign_of_life"

    id: UUID = new_key()
    worker: str
    started_at: datetime = time()
    seen_at: datetime = time()
