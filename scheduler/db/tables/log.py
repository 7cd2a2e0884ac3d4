"""The audit log: outbox, leaves, nodes, head and checkpoints."""

from datetime import datetime

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Index,
    Integer,
    text,
)
from sqlmodel import Field

from scheduler.db.tables.base import Base, bytes_, json_, time


class AuditOutbox(Base, table=True):
    """Records of committed changes; `seq` is empty until the sequencer has sealed them."""

    __tablename__ = "audit_outbox"

    id: int | None = Field(
        default=None,
        sa_column=Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    )
    body: bytes = bytes_()
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
    line: bytes = bytes_()
    hash: bytes = bytes_()
    subject: str = Field(index=True)


class AuditNode(Base, table=True):
    __tablename__ = "audit_node"

    level: int = Field(primary_key=True)
    position: int = Field(
        sa_column=Column(BigInteger, primary_key=True, autoincrement=False, key="position")
    )
    hash: bytes = bytes_()


class AuditHead(Base, table=True):
    """One row: the size and frontier of the tree, and which sequencer may extend it."""

    __tablename__ = "audit_head"

    id: int = Field(default=1, sa_column=Column(Integer, primary_key=True, autoincrement=False))
    size: int = Field(sa_column=Column(BigInteger, nullable=False))
    frontier: list[str] = json_()
    epoch: int = Field(sa_column=Column(BigInteger, nullable=False))
    owner: str = ""
    lease_until: datetime = time()

    __table_args__ = (CheckConstraint("id = 1", "one_row"),)


class Checkpoint(Base, table=True):
    size: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    note: str
    signed_at: datetime = time()
