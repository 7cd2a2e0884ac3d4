"""What every table shares: names of constraints, ids, references and instants."""

from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    ForeignKey,
    LargeBinary,
    MetaData,
    String,
)
from sqlmodel import Field, SQLModel

from scheduler.db.types import UtcDateTime
from scheduler.domain.delivery_flow import DeliveryState
from scheduler.domain.people import Role
from scheduler.domain.post_flow import PostState
from scheduler.ids import new_id
from scheduler.policy.clearance import Mode

NAMING = {
    "pk": "pk_%(table_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "ix": "ix_%(table_name)s_%(column_0_name)s",
}


class Base(SQLModel):
    metadata = MetaData(naming_convention=NAMING)


def values(states: type[DeliveryState | Mode | PostState | Role]) -> str:
    return ", ".join(f"'{state.value}'" for state in states)


def new_key() -> Any:  # noqa: ANN401 - SQLModel's Field is typed so
    return Field(default_factory=new_id, primary_key=True)


def ref(target: str, *, null: bool = False, index: bool = False) -> Any:  # noqa: ANN401
    column: Column[Any] = Column(ForeignKey(target), nullable=null, index=index)
    return Field(sa_column=column) if not null else Field(default=None, sa_column=column)


def time() -> Any:  # noqa: ANN401
    return Field(sa_column=Column(UtcDateTime, nullable=False))


def time_or_none() -> Any:  # noqa: ANN401
    return Field(default=None, sa_column=Column(UtcDateTime, nullable=True))


def seal() -> Any:  # noqa: ANN401
    """A keyed digest of the row, checked when it is used (`scheduler.db.seals`)."""
    column: Column[Any] = Column(String, nullable=False, server_default="")
    return Field(default="", sa_column=column)


def json_() -> Any:  # noqa: ANN401
    return Field(sa_column=Column(JSON, nullable=False))


def bytes_() -> Any:  # noqa: ANN401
    return Field(sa_column=Column(LargeBinary, nullable=False))
