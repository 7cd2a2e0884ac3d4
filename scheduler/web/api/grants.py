"""Dated roles of persons on missions; a second admin confirms each."""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from scheduler.db.tables import Grant
from scheduler.domain.people import Role
from scheduler.errors import ConflictError, NotFoundError
from scheduler.services import directory, people
from scheduler.services.directory import Names
from scheduler.services.people import GrantDatesError, NewGrant, OfficeRoleError, SecondAdminError
from scheduler.web.api.fields import Code, Instant, Office, PersonRef
from scheduler.web.api.persons import NoBody
from scheduler.web.paging import Page, Paging, page_of
from scheduler.web.parsing import Input
from scheduler.web.routing import Answer, Route, Step, delete, get, post


class GrantBody(Input):
    person: Code
    mission: Code
    role: Role
    office: Office = ""
    not_before: Instant | None = None
    not_after: Instant | None = None


class GrantAnswer(Answer):
    id: UUID
    state: Literal["proposed", "in_force"]
    person: PersonRef
    mission: str
    role: Role
    office: str  #: such as protocol; empty: none but the role
    not_before: datetime
    not_after: datetime | None
    bootstrap: bool
    approves_from: datetime | None  #: of a role in force that clears or approves
    proposed_by: PersonRef | None
    confirmed_by: PersonRef | None


async def list_grants(step: Step, query: Paging) -> Page[GrantAnswer]:
    """One's own grants, and those where one manages or audits."""
    found = [grant for grant, _, _ in await directory.find_grants(step.uow, step.actor)]
    shown, cursor = page_of(found, query, lambda grant: grant.id)
    names = await _find_names(step, *shown)
    return Page(items=[_answer(grant, names) for grant in shown], next=cursor)


async def propose_grant(step: Step, body: GrantBody) -> GrantAnswer:
    """Propose a role; it is in force when a second admin has confirmed it."""
    new = NewGrant(
        person=body.person,
        mission=body.mission,
        role=body.role,
        office=body.office,
        not_before=body.not_before,
        not_after=body.not_after,
    )
    grant = await people.propose_grant(step.uow, step.actor, new)
    return _answer(grant, await _find_names(step, grant))


async def confirm_grant(step: Step, body: NoBody) -> GrantAnswer:  # noqa: ARG001 - an empty body is checked
    """Put a proposed role in force; it approves nothing in its first 24 hours."""
    grant = await people.confirm_grant(step.uow, step.actor, step.uuid("grant_id"))
    return _answer(grant, await _find_names(step, grant))


async def revoke_grant(step: Step) -> None:
    """End a role at once."""
    await people.revoke_grant(step.uow, step.actor, step.uuid("grant_id"))


async def _find_names(step: Step, *grants: Grant) -> Names:
    ids = [(grant.person_id, grant.proposed_by, grant.confirmed_by) for grant in grants]
    return await directory.find_names(
        step.uow,
        person_ids=[each for three in ids for each in three],
        mission_ids=[grant.mission_id for grant in grants],
    )


def _answer(grant: Grant, names: Names) -> GrantAnswer:
    in_force = grant.bootstrap or grant.confirmed_at is not None
    return GrantAnswer(
        id=grant.id,
        state="in_force" if in_force else "proposed",
        person=PersonRef.of(names.persons[grant.person_id]),
        mission=names.missions[grant.mission_id],
        role=Role(grant.role),
        office=grant.office,
        not_before=grant.not_before,
        not_after=grant.not_after,
        bootstrap=grant.bootstrap,
        approves_from=people.approves_from(grant),
        proposed_by=_person(grant.proposed_by, names),
        confirmed_by=_person(grant.confirmed_by, names),
    )


def _person(person_id: UUID | None, names: Names) -> PersonRef | None:
    return None if person_id is None else PersonRef.of(names.persons[person_id])


_NEEDS: Final = "manage, at the grant's mission"
ROUTES: Final[tuple[Route, ...]] = (
    get("/grants", list_grants, "any token"),
    post(
        "/grants",
        propose_grant,
        _NEEDS,
        status=201,
        errors=(NotFoundError, GrantDatesError, OfficeRoleError),
    ),
    post(
        "/grants/{grant_id}/confirm",
        confirm_grant,
        _NEEDS,
        errors=(NotFoundError, ConflictError, SecondAdminError),
    ),
    delete("/grants/{grant_id}", revoke_grant, _NEEDS, errors=(NotFoundError,)),
)
