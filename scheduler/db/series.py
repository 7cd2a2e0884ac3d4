"""Queries on series and the posts that stand for their days."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import func, select
from sqlmodel import col

from scheduler.db.missions import in_scope
from scheduler.db.tables import Mission, Occurrence, Post, Series
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor, Permission
from scheduler.domain.post_flow import PostState
from scheduler.errors import NotFoundError

#: Of a post that nothing has ended yet.
_OPEN = (PostState.DRAFT, PostState.IN_REVIEW, PostState.APPROVED, PostState.SCHEDULED)


async def get(
    uow: UnitOfWork, actor: Actor, series_id: UUID, *, needs: Permission = Permission.READ
) -> Series:
    """The series in the actor's scope; one of another mission does not exist."""
    query = (
        select(Series, col(Mission.path))
        .join(Mission, col(Mission.id) == col(Series.mission_id))
        .where(col(Series.id) == series_id)
    )
    row = (await uow.session.execute(query)).one_or_none()
    if row is None:
        raise NotFoundError(f"no series {series_id}")
    series, path = row
    actor.require(needs, path, now=uow.now)
    return series


async def find_page(
    uow: UnitOfWork, actor: Actor, *, before: UUID | None, limit: int
) -> Sequence[Series]:
    """The newest series in the actor's scope."""
    query = (
        select(Series)
        .join(Mission, col(Mission.id) == col(Series.mission_id))
        .where(in_scope(actor, Permission.READ))
        .order_by(col(Series.id).desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(col(Series.id) < before)
    return (await uow.session.scalars(query)).all()


async def find_posts(uow: UnitOfWork, series_id: UUID) -> Sequence[tuple[str, Post]]:
    """The day and the post of each occurrence, in order."""
    query = (
        select(col(Occurrence.day), Post)
        .join(Post, col(Post.id) == col(Occurrence.post_id))
        .where(col(Occurrence.series_id) == series_id)
        .order_by(col(Occurrence.day))
    )
    return (await uow.session.execute(query)).all()


async def count_states(uow: UnitOfWork, series_ids: Iterable[UUID]) -> dict[UUID, dict[str, int]]:
    """How many posts of each series are in each state."""
    query = (
        select(col(Occurrence.series_id), col(Post.state), func.count().label("amount"))
        .join(Post, col(Post.id) == col(Occurrence.post_id))
        .where(col(Occurrence.series_id).in_(list(series_ids)))
        .group_by(col(Occurrence.series_id), col(Post.state))
        .order_by(col(Occurrence.series_id), col(Post.state))
    )
    found: dict[UUID, dict[str, int]] = {}
    for row in await uow.session.execute(query):
        found.setdefault(row.series_id, {})[row.state] = row.amount
    return found


async def find_ahead(uow: UnitOfWork, series_id: UUID) -> Sequence[UUID]:
    """Posts of the series that are still to come and that nothing has ended."""
    query = (
        select(col(Post.id))
        .join(Occurrence, col(Occurrence.post_id) == col(Post.id))
        .where(
            col(Occurrence.series_id) == series_id,
            col(Post.due_at) > uow.now,
            col(Post.state).in_(_OPEN),
        )
        .order_by(col(Post.due_at))
    )
    return (await uow.session.scalars(query)).all()


async def find_of_post(uow: UnitOfWork, post_id: UUID) -> UUID | None:
    query = select(col(Occurrence.series_id)).where(col(Occurrence.post_id) == post_id)
    return (await uow.session.scalars(query)).one_or_none()
