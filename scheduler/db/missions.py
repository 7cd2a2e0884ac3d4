"""Queries on missions: the tree that is every permission's scope."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import ColumnElement, false, or_, select
from sqlmodel import col

from scheduler.db.tables import Mission
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor, Permission
from scheduler.errors import NotFoundError


async def get(uow: UnitOfWork, actor: Actor, mission_id: UUID) -> Mission:
    mission = await uow.session.get(Mission, mission_id)
    if mission is None or not actor.sees(mission.path):
        raise NotFoundError(f"no mission {mission_id}")
    return mission


async def get_by_code(uow: UnitOfWork, actor: Actor, code: str) -> Mission:
    found = await uow.session.scalars(select(Mission).where(col(Mission.code) == code))
    mission = found.one_or_none()
    if mission is None or not actor.sees(mission.path):
        raise NotFoundError(f"no mission {code}")
    return mission


async def get_by_path(uow: UnitOfWork, path: str) -> Mission:
    """The mission of a path that a grant has named."""
    return (await uow.session.scalars(select(Mission).where(col(Mission.path) == path))).one()


async def find_root(uow: UnitOfWork) -> Mission | None:
    found = await uow.session.scalars(select(Mission).where(col(Mission.parent_id).is_(None)))
    return found.one_or_none()


async def find_all(uow: UnitOfWork, actor: Actor) -> Sequence[Mission]:
    """Every mission the actor sees, in the order of the tree."""
    found = await uow.session.scalars(select(Mission).order_by(col(Mission.path)))
    paths = actor.paths(Permission.READ)
    return [each for each in found if any(each.path.startswith(path) for path in paths)]


def in_scope(actor: Actor, permission: Permission) -> ColumnElement[bool]:
    """The condition that keeps a query, joined with the mission, to where the permission is held."""
    return or_(false(), *(col(Mission.path).startswith(path) for path in actor.paths(permission)))
