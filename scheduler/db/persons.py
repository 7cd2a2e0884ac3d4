"""Queries on persons, their grants, enrolment codes and API tokens."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlmodel import col

from scheduler.db import rows
from scheduler.db.tables import ApiToken, Enrolment, Grant, Mission, Person
from scheduler.db.uow import UnitOfWork
from scheduler.domain import people
from scheduler.domain.people import Actor, Permission, Role
from scheduler.errors import NotFoundError


async def get(uow: UnitOfWork, person_id: UUID) -> Person:
    person = await uow.session.get(Person, person_id)
    if person is None:
        raise NotFoundError(f"no person {person_id}")
    return person


async def find_by_code(uow: UnitOfWork, code: str) -> Person | None:
    found = await uow.session.scalars(select(Person).where(col(Person.code) == code))
    return found.one_or_none()


async def get_by_code(uow: UnitOfWork, code: str) -> Person:
    person = await find_by_code(uow, code)
    if person is None:
        raise NotFoundError(f"no person {code}")
    return person


async def find_all(uow: UnitOfWork) -> Sequence[Person]:
    return (await uow.session.scalars(select(Person).order_by(col(Person.code)))).all()


async def find_names(uow: UnitOfWork, ids: Sequence[UUID]) -> dict[UUID, str]:
    rows = await uow.session.execute(
        select(col(Person.id), col(Person.name)).where(col(Person.id).in_(ids))
    )
    return {row.id: row.name for row in rows}


async def find_grants(
    uow: UnitOfWork, *, person_id: UUID | None = None
) -> Sequence[tuple[Grant, Mission, Person]]:
    """All grants that were not revoked, proposed ones too."""
    query = (
        select(Grant, Mission, Person)
        .join(Mission, col(Mission.id) == col(Grant.mission_id))
        .join(Person, col(Person.id) == col(Grant.person_id))
        .where(col(Grant.revoked_at).is_(None))
        .order_by(col(Person.code), col(Mission.path), col(Grant.role))
    )
    if person_id is not None:
        query = query.where(col(Grant.person_id) == person_id)
    return (await uow.session.execute(query)).all()


async def load_actor(
    uow: UnitOfWork, person: Person, *, via: str, token: ApiToken | None = None
) -> Actor:
    """The person with the grants that are in force at the unit's `now`."""
    return (await load_actors(uow, [person], via=via, token=token))[person.id]


async def load_actors_by_id(uow: UnitOfWork, ids: Collection[UUID]) -> dict[UUID, Actor]:
    """The persons who decided on something, read again, with the grants in force."""
    query = select(Person).where(rows.among(col(Person.id), set(ids)))
    query = query.execution_options(populate_existing=True)
    return await load_actors(uow, (await uow.session.scalars(query)).all(), via="worker")


async def load_actors(
    uow: UnitOfWork, found: Sequence[Person], *, via: str, token: ApiToken | None = None
) -> dict[UUID, Actor]:
    """The persons, each with the grants in force; whoever is not active has none, nor does a row without our seal."""
    active = [person.id for person in found if person.active and uow.seals.holds(person)]
    query = (
        select(Grant, Mission)
        .join(Mission, col(Mission.id) == col(Grant.mission_id))
        .where(col(Grant.person_id).in_(active), _in_force(uow.now))
    )
    grants: dict[UUID, list[people.Grant]] = defaultdict(list)
    for grant, mission in await uow.session.execute(query):
        if not (uow.seals.holds(grant) and uow.seals.holds(mission)):
            continue
        grants[grant.person_id].append(
            people.Grant(
                role=Role(grant.role),
                mission_path=mission.path,
                may_approve_from=ripe_from(grant),
                office=grant.office,
            )
        )
    return {
        person.id: Actor(
            person_id=person.id,
            grants=tuple(grants[person.id]),
            scopes=frozenset(Permission) if token is None else _scopes_of(token),
            via=via,
            token_id=None if token is None else token.id,
            approvals_suspended_until=person.approvals_suspended_until,
        )
        for person in found
    }


def _scopes_of(token: ApiToken) -> frozenset[Permission]:
    """Who may approve with a token may clear with it: tokens of before offices cleared do not name that scope."""
    scopes = frozenset(map(Permission, token.scopes))
    return scopes | {Permission.CLEAR} if Permission.APPROVE in scopes else scopes


async def find_token(uow: UnitOfWork, token_sha256: str) -> tuple[ApiToken, Person] | None:
    """The token that we gave out and is neither revoked nor over, with its active person."""
    query = (
        select(ApiToken, Person)
        .join(Person, col(Person.id) == col(ApiToken.person_id))
        .where(
            col(ApiToken.token_sha256) == token_sha256,
            col(ApiToken.revoked_at).is_(None),
            col(ApiToken.expires_at) > uow.now,
            col(Person.active),
        )
    )
    row = (await uow.session.execute(query)).one_or_none()
    return row if row is not None and uow.seals.holds(row[0]) else None


async def find_tokens(
    uow: UnitOfWork, person_id: UUID, *, token_id: UUID | None = None
) -> Sequence[ApiToken]:
    """The person's tokens, or this one of them, that are not revoked; locked where the database locks rows."""
    query = select(ApiToken).where(
        col(ApiToken.person_id) == person_id, col(ApiToken.revoked_at).is_(None)
    )
    if token_id is not None:
        query = query.where(col(ApiToken.id) == token_id)
    query = query.order_by(col(ApiToken.id)).with_for_update()
    query = query.execution_options(populate_existing=True)
    return (await uow.session.scalars(query)).all()


async def was_enrolled(uow: UnitOfWork, person_id: UUID) -> bool:
    """Whether the person ever had a token, also one that is revoked or over."""
    query = select(func.count()).where(col(ApiToken.person_id) == person_id)
    return bool((await uow.session.execute(query)).scalar_one())


async def find_issuers(uow: UnitOfWork, person_ids: Collection[UUID]) -> frozenset[UUID]:
    """Who issued the codes with which these persons signed in last: until they read it, they could be them."""
    query = (
        select(Enrolment)
        .where(col(Enrolment.person_id).in_(person_ids), col(Enrolment.redeemed_at).is_not(None))
        .order_by(col(Enrolment.redeemed_at), col(Enrolment.id))
    )
    latest = {each.person_id: each.issued_by for each in await uow.session.scalars(query)}
    return frozenset(each for each in latest.values() if each is not None)


async def void_enrolments(uow: UnitOfWork, person_id: UUID) -> None:
    """Make every code that the person has not redeemed worthless."""
    open_codes = (col(Enrolment.person_id) == person_id, col(Enrolment.redeemed_at).is_(None))
    query = select(Enrolment).where(*open_codes).with_for_update()
    for enrolment in await uow.session.scalars(query):
        enrolment.expires_at = uow.now


async def find_enrolment(uow: UnitOfWork, code_sha256: str) -> Enrolment | None:
    query = select(Enrolment).where(col(Enrolment.code_sha256) == code_sha256).with_for_update()
    enrolment = (await uow.session.scalars(query)).one_or_none()
    return enrolment if enrolment is not None and uow.seals.holds(enrolment) else None


def _in_force(now: datetime) -> ColumnElement[bool]:
    return and_(
        col(Grant.revoked_at).is_(None),
        col(Grant.not_before) <= now,
        or_(col(Grant.not_after).is_(None), col(Grant.not_after) > now),
        or_(col(Grant.bootstrap), col(Grant.confirmed_at).is_not(None)),
    )


def ripe_from(grant: Grant) -> datetime:
    """When the grant begins to decide on posts."""
    if grant.bootstrap or grant.confirmed_at is None:
        return grant.not_before
    return max(grant.not_before, grant.confirmed_at + people.NEW_GRANT_COOLDOWN)
