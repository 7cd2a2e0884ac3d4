"""Queries on campaigns: each belongs to a mission, and posts of it and below may take part."""

from collections.abc import Iterable, Sequence
from uuid import UUID

from sqlalchemy import Select, select
from sqlmodel import col

from scheduler.db.tables import Campaign, Mission
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor, Permission
from scheduler.errors import NotFoundError

#: A campaign and the mission it belongs to.
Owned = tuple[Campaign, Mission]


async def get_by_code(uow: UnitOfWork, actor: Actor, code: str) -> Owned:
    """The campaign; one of another mission does not exist, unless the actor's missions are below that."""
    found = await find_by_code(uow, code)
    if found is None or not sees(actor, found[1]):
        raise NotFoundError(f"no campaign {code}")
    return found


async def find_by_code(uow: UnitOfWork, code: str) -> Owned | None:
    query = _owned().where(col(Campaign.code) == code)
    row = (await uow.session.execute(query)).one_or_none()
    return None if row is None else (row[0], row[1])


async def lock(uow: UnitOfWork, campaign_id: UUID, *, shared: bool) -> Campaign:
    """The campaign as it stays until this unit has committed; shared, others may join it beside this one."""
    return await uow.session.get_one(
        Campaign, campaign_id, populate_existing=True, with_for_update={"read": shared}
    )


async def find_all(uow: UnitOfWork, actor: Actor) -> Sequence[Owned]:
    """Every campaign that the actor's posts may take part in, or that is of their missions; newest first."""
    rows = await uow.session.execute(_owned().order_by(col(Campaign.id).desc()))
    return [(campaign, mission) for campaign, mission in rows if sees(actor, mission)]


async def find_code(uow: UnitOfWork, campaign_id: UUID) -> str:
    return (await uow.session.get_one(Campaign, campaign_id)).code


async def find_codes(uow: UnitOfWork, ids: Iterable[UUID]) -> dict[UUID, str]:
    query = select(col(Campaign.id), col(Campaign.code)).where(col(Campaign.id).in_(ids))
    return {row.id: row.code for row in await uow.session.execute(query)}


def sees(actor: Actor, owner: Mission) -> bool:
    """At the owner, above it or below it: a campaign is of everybody who may take part."""
    paths = actor.paths(Permission.READ)
    return any(owner.path.startswith(path) or path.startswith(owner.path) for path in paths)


def _owned() -> Select[Campaign, Mission]:
    return select(Campaign, Mission).join(Mission, col(Mission.id) == col(Campaign.mission_id))
