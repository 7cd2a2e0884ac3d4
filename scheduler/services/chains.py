"""Rows of today against the digests that records give of them, each as a chain from the row's first record on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from scheduler.db.seals import RULES, name_of
from scheduler.db.tables import Base
from scheduler.db.uow import UnitOfWork


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A row of today that is not what its record says."""

    subject: str  #: kind and id of the row
    seq: int | None  #: the record it contradicts; None when there is none, or it is not sealed yet
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Link:
    """The newest digest of a row; none once it was lawfully deleted."""

    seq: int | None
    digest: str | None


@dataclass(frozen=True, slots=True)
class Chains:
    """What the records say of each row, by its name."""

    links: dict[str, Link] = field(default_factory=dict)
    broken: list[Mismatch] = field(default_factory=list)

    def add(self, seq: int | None, rows: Mapping[str, Any]) -> None:
        """Read what one record says: before it, each row has to be what the record before that left."""
        for name, (before, after) in rows.items():
            known = self.links.get(name, Link(None, None))
            if before != known.digest:
                message = "somebody changed the row by hand before this record"
                self.broken.append(
                    Mismatch(subject=name, seq=seq, code="row_changed_before", message=message)
                )
            self.links[name] = Link(seq, after)


async def compare_rows(uow: UnitOfWork, chains: Chains) -> list[Mismatch]:
    """Every row that is not what its newest record left, that no record knows, or that is gone."""
    found = list(chains.broken)
    left = dict(chains.links)
    for table in RULES:
        try:
            for row in await uow.session.scalars(select(table)):
                found += _compare(uow, left.pop(name_of(row), Link(None, None)), row)
        except (ValueError, TypeError, LookupError) as exc:
            name = str(table.__tablename__)
            message = f"a row cannot be read: {exc}"
            found.append(Mismatch(subject=name, seq=None, code="row_unreadable", message=message))
            left = {key: link for key, link in left.items() if not key.startswith(f"{name}:")}
    return [*found, *_gone(left)]


def _compare(uow: UnitOfWork, link: Link, row: Base) -> Iterator[Mismatch]:
    if link.digest == uow.seals.digest(row):
        return
    code, message = "row_changed", "the row is not what its newest record left"
    if link.digest is None:
        code, message = "row_unrecorded", "no record knows the row"
    yield Mismatch(subject=name_of(row), seq=link.seq, code=code, message=message)


def _gone(left: Mapping[str, Link]) -> Iterator[Mismatch]:
    for name, link in left.items():
        if link.digest is not None:
            message = "the row was deleted"
            yield Mismatch(subject=name, seq=link.seq, code="row_gone", message=message)
