"""Who and where, for people: names of persons and missions, whose grants, and who am I."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col

from scheduler.db import campaigns, persons
from scheduler.db.tables import ApiToken, Grant, Mission, Person
from scheduler.db.uow import UnitOfWork
from scheduler.domain import people
from scheduler.domain.people import (
    ROLE_PERMISSIONS,
    Actor,
    Permission,
    PermissionDeniedError,
    Role,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The person behind a token, and what the token is good for now."""

    person: Person
    grants: tuple[tuple[Role, str, str, datetime | None], ...]
    """Role, office, the code of the mission, and from when it decides where that is still to come."""
    token_expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Names:
    """Persons, and the codes of missions and campaigns, by id."""

    persons: dict[UUID, Person]
    missions: dict[UUID, str]
    campaigns: dict[UUID, str]


async def identify(uow: UnitOfWork, actor: Actor) -> Identity:
    codes = await uow.session.execute(
        select(col(Mission.path), col(Mission.code)).where(
            col(Mission.path).in_({grant.mission_path for grant in actor.grants})
        )
    )
    code_of = {row.path: row.code for row in codes}
    token = None if actor.token_id is None else await uow.session.get(ApiToken, actor.token_id)
    return Identity(
        person=await persons.get(uow, actor.person_id),
        grants=tuple(
            (grant.role, grant.office, code_of[grant.mission_path], _ripens_at(grant, uow.now))
            for grant in sorted(actor.grants, key=lambda each: (each.role, each.mission_path))
        ),
        token_expires_at=None if token is None else token.expires_at,
    )


def _ripens_at(grant: people.Grant, now: datetime) -> datetime | None:
    decides = Permission.CLEAR in ROLE_PERMISSIONS[grant.role]
    return grant.may_approve_from if decides and grant.may_approve_from > now else None


async def find_persons(uow: UnitOfWork, actor: Actor) -> Sequence[Person]:
    """Everybody, for those who manage or audit somewhere.

    Raises:
        PermissionDeniedError: the person does neither.
    """
    if not (actor.paths(Permission.MANAGE) | actor.paths(Permission.AUDIT)):
        raise PermissionDeniedError("only admins and auditors see all persons", needs="manage")
    return await persons.find_all(uow)


async def find_grants(uow: UnitOfWork, actor: Actor) -> Sequence[tuple[Grant, Mission, Person]]:
    """One's own grants, and those on the missions that one manages or audits; proposed ones too."""
    paths = tuple(actor.paths(Permission.MANAGE) | actor.paths(Permission.AUDIT))
    return [
        (grant, mission, person)
        for grant, mission, person in await persons.find_grants(uow)
        if person.id == actor.person_id or mission.path.startswith(paths)
    ]


async def find_names(
    uow: UnitOfWork,
    *,
    person_ids: Iterable[UUID | None] = (),
    mission_ids: Iterable[UUID] = (),
    campaign_ids: Iterable[UUID | None] = (),
) -> Names:
    """Names to show beside ids; no permission is asked, because whoever sees the thing sees these."""
    wanted = {each for each in person_ids if each is not None}
    found = await uow.session.scalars(select(Person).where(col(Person.id).in_(wanted)))
    codes = await uow.session.execute(
        select(col(Mission.id), col(Mission.code)).where(col(Mission.id).in_(set(mission_ids)))
    )
    return Names(
        persons={person.id: person for person in found},
        missions={row.id: row.code for row in codes},
        campaigns=await campaigns.find_codes(uow, {each for each in campaign_ids if each}),
    )
