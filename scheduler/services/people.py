"""Missions, persons and grants; a grant needs a second admin and 24 hours before it approves."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlmodel import col, select

from scheduler.audit.actions import Action
from scheduler.db import missions, persons, rules
from scheduler.db.tables import Grant, Mission, Person
from scheduler.db.uow import UnitOfWork
from scheduler.domain.calendar import get_zone
from scheduler.domain.people import ROLE_PERMISSIONS, Actor, Permission, Role
from scheduler.errors import ConflictError, ForbiddenError, InvalidError, NotFoundError
from scheduler.ids import new_id
from scheduler.services import tokens
from scheduler.services.scope import require_at_the_top
from scheduler.services.tokens import IssuedCode


class CodeTakenError(ConflictError):
    code = "code_taken"


class PersonInactiveError(ConflictError):
    code = "person_inactive"


class GrantDatesError(InvalidError):
    """A grant that ends before it begins, or has ended already, grants nothing."""

    code = "grant_dates_invalid"


class OfficeRoleError(InvalidError):
    """An office decides on posts: it goes with a role that clears or approves."""

    code = "office_role"


class SecondAdminError(ForbiddenError):
    """A grant is confirmed by an admin who neither proposed nor receives it."""

    code = "second_admin_needed"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMission:
    code: str
    name: str
    kind: str
    parent: str | None = None  #: the code of the mission above; None only for the first
    city: str = ""
    country: str = ""
    zone: str
    languages: tuple[str, ...]


async def insert_mission(
    uow: UnitOfWork, new: NewMission, parent: Mission | None, actor: Actor | None
) -> Mission:
    get_zone(new.zone)
    taken = await uow.session.scalars(select(Mission).where(col(Mission.code) == new.code))
    if taken.one_or_none() is not None:
        raise CodeTakenError(f"there is a mission {new.code} already")
    mission_id = new_id()
    mission = Mission(
        id=mission_id,
        code=new.code,
        name=new.name,
        kind=new.kind,
        parent_id=None if parent is None else parent.id,
        path=f"{'/' if parent is None else parent.path}{mission_id.hex}/",
        city=new.city,
        country=new.country,
        zone=new.zone,
        languages=list(new.languages),
        created_at=uow.now,
    )
    uow.session.add(mission)
    await uow.session.flush()
    uow.record(
        Action.MISSION_ADD,
        {"t": "mission", "id": str(mission.id)},
        actor=actor,
        detail={"code": new.code, "zone": new.zone},
    )
    return mission


async def add_mission(uow: UnitOfWork, actor: Actor, new: NewMission) -> Mission:
    if new.parent is None:
        raise InvalidError("a mission needs the mission above it (`parent`)")
    parent = await missions.get_by_code(uow, actor, new.parent)
    actor.require(Permission.MANAGE, parent.path, now=uow.now)
    return await insert_mission(uow, new, parent, actor)


async def insert_person(
    uow: UnitOfWork, code: str, name: str, languages: tuple[str, ...], actor: Actor | None
) -> Person:
    taken = await uow.session.scalars(select(Person).where(col(Person.code) == code))
    if taken.one_or_none() is not None:
        raise CodeTakenError(f"there is a person {code} already")
    person = Person(code=code, name=name, languages=list(languages), created_at=uow.now)
    uow.session.add(person)
    await uow.session.flush()
    uow.record(Action.PERSON_ADD, {"t": "person", "id": str(person.id)}, actor=actor)
    return person


async def add_person(
    uow: UnitOfWork, actor: Actor, code: str, name: str, languages: tuple[str, ...]
) -> Person:
    await require_at_the_top(uow, actor, Permission.MANAGE)
    return await insert_person(uow, code, name, languages, actor)


async def enrol_person(uow: UnitOfWork, actor: Actor, code: str) -> IssuedCode:
    """Issue a one-time enrolment code for somebody else to redeem."""
    await require_at_the_top(uow, actor, Permission.MANAGE)
    await rules.enter_gate(uow, exclusive=True)
    person = await persons.get_by_code(uow, code)
    if not person.active:
        raise PersonInactiveError(f"{code} is no longer active")
    return await tokens.enrol(uow, person, issued_by=actor)


async def deactivate_person(uow: UnitOfWork, actor: Actor, code: str) -> Person:
    """End a person's tokens and rights at once; what they approved and is not out yet will be held."""
    await require_at_the_top(uow, actor, Permission.MANAGE)
    await rules.enter_gate(uow, exclusive=True)
    person = await persons.get_by_code(uow, code)
    person.active = False
    await tokens.revoke_all(uow, person, actor=actor)
    uow.record(Action.PERSON_DEACTIVATE, {"t": "person", "id": str(person.id)}, actor=actor)
    return person


@dataclass(frozen=True, slots=True, kw_only=True)
class NewGrant:
    person: str
    mission: str
    role: Role
    office: str = ""
    not_before: datetime | None = None
    not_after: datetime | None = None


async def insert_bootstrap_grant(
    uow: UnitOfWork, person: Person, mission: Mission, new: NewGrant
) -> Grant:
    """A grant of the set-up itself: in force at once, and recorded as such."""
    grant = Grant(
        person_id=person.id,
        mission_id=mission.id,
        role=new.role.value,
        office=new.office,
        not_before=new.not_before or uow.now,
        not_after=new.not_after,
        bootstrap=True,
        proposed_at=uow.now,
    )
    uow.session.add(grant)
    await uow.session.flush()
    _record_grant(uow, Action.GRANT_BOOTSTRAP, grant, None)
    return grant


async def propose_grant(uow: UnitOfWork, actor: Actor, new: NewGrant) -> Grant:
    """Propose a role; it is in force when a second admin confirms it, and approves 24 hours later."""
    mission = await missions.get_by_code(uow, actor, new.mission)
    actor.require(Permission.MANAGE, mission.path, now=uow.now)
    if new.office and Permission.CLEAR not in ROLE_PERMISSIONS[new.role]:
        raise OfficeRoleError(
            f"{new.role} decides on no posts; an office needs clearer or supervisor"
        )
    person = await persons.get_by_code(uow, new.person)
    begins = new.not_before or uow.now
    if new.not_after is not None and new.not_after <= max(begins, uow.now):
        raise GrantDatesError("a grant ends after it begins, and in the future")
    grant = Grant(
        person_id=person.id,
        mission_id=mission.id,
        role=new.role.value,
        office=new.office,
        not_before=begins,
        not_after=new.not_after,
        proposed_by=actor.person_id,
        proposed_at=uow.now,
    )
    uow.session.add(grant)
    await uow.session.flush()
    _record_grant(uow, Action.GRANT_PROPOSE, grant, actor)
    return grant


async def confirm_grant(uow: UnitOfWork, actor: Actor, grant_id: UUID) -> Grant:
    grant = await _manageable_grant(uow, actor, grant_id)
    if grant.bootstrap or grant.confirmed_at is not None:
        raise ConflictError("this grant is in force already")
    if actor.person_id in {grant.proposed_by, grant.person_id}:
        raise SecondAdminError("another admin has to confirm this grant")
    grant.confirmed_by, grant.confirmed_at = actor.person_id, uow.now
    _record_grant(uow, Action.GRANT_CONFIRM, grant, actor)
    return grant


def approves_from(grant: Grant) -> datetime | None:
    """When a grant in force begins to decide on posts; None when it never does."""
    if Permission.CLEAR not in ROLE_PERMISSIONS[Role(grant.role)]:
        return None
    return persons.ripe_from(grant) if grant.bootstrap or grant.confirmed_at else None


async def revoke_grant(uow: UnitOfWork, actor: Actor, grant_id: UUID) -> Grant:
    """End a role at once; no second admin, because it only takes away."""
    await rules.enter_gate(uow, exclusive=True)
    grant = await _manageable_grant(uow, actor, grant_id)
    grant.revoked_at = uow.now
    _record_grant(uow, Action.GRANT_REVOKE, grant, actor)
    return grant


async def _manageable_grant(uow: UnitOfWork, actor: Actor, grant_id: UUID) -> Grant:
    grant = await uow.session.get(Grant, grant_id, with_for_update=True)
    if grant is None or grant.revoked_at is not None:
        raise NotFoundError(f"no grant {grant_id}")
    mission = await missions.get(uow, actor, grant.mission_id)
    actor.require(Permission.MANAGE, mission.path, now=uow.now)
    return grant


def _record_grant(uow: UnitOfWork, action: Action, grant: Grant, actor: Actor | None) -> None:
    uow.record(
        action,
        {"t": "grant", "id": str(grant.id)},
        actor=actor,
        detail={
            "person": str(grant.person_id),
            "mission": str(grant.mission_id),
            "role": grant.role,
            **({"office": grant.office} if grant.office else {}),
        },
    )
