"""Persons, and the one-time codes with which they enrol themselves."""

from datetime import datetime
from typing import Final
from uuid import UUID

from scheduler.db.tables import Person
from scheduler.errors import NotFoundError
from scheduler.services import directory, people
from scheduler.services.people import CodeTakenError, PersonInactiveError
from scheduler.web.api.fields import Code, Languages, Name
from scheduler.web.paging import Page, Paging, page_of
from scheduler.web.parsing import Input
from scheduler.web.routing import Answer, Route, Step, get, post


class PersonBody(Input):
    code: Code
    name: Name
    languages: Languages = ()


class NoBody(Input):
    """Nothing needs to be sent."""


class PersonAnswer(Answer):
    id: UUID
    code: str
    name: str
    languages: list[str]
    active: bool
    approvals_suspended_until: datetime | None
    created_at: datetime


class EnrolmentAnswer(Answer):
    code: str
    expires_at: datetime


async def list_persons(step: Step, query: Paging) -> Page[PersonAnswer]:
    """Everybody in the ministry's installation, by code."""
    found = await directory.find_persons(step.uow, step.actor)
    shown, cursor = page_of(found, query, lambda person: person.id)
    return Page(items=[_answer(person) for person in shown], next=cursor)


async def add_person(step: Step, body: PersonBody) -> PersonAnswer:
    """Add a person, who can do nothing before they are enrolled and granted a role."""
    person = await people.add_person(step.uow, step.actor, body.code, body.name, body.languages)
    return _answer(person)


async def enrol_person(step: Step, body: NoBody) -> EnrolmentAnswer:  # noqa: ARG001 - an empty body is checked
    """Issue a one-time code, shown this once; enrolling again ends the person's tokens and suspends their approvals."""
    issued = await people.enrol_person(step.uow, step.actor, step.code())
    return EnrolmentAnswer(code=issued.code, expires_at=issued.expires_at)


async def deactivate_person(step: Step, body: NoBody) -> PersonAnswer:  # noqa: ARG001 - an empty body is checked
    """End a person's tokens and rights at once."""
    return _answer(await people.deactivate_person(step.uow, step.actor, step.code()))


def _answer(person: Person) -> PersonAnswer:
    return PersonAnswer(
        id=person.id,
        code=person.code,
        name=person.name,
        languages=person.languages,
        active=person.active,
        approvals_suspended_until=person.approvals_suspended_until,
        created_at=person.created_at,
    )


_NEEDS: Final = "manage, at the headquarters"
ROUTES: Final[tuple[Route, ...]] = (
    get("/persons", list_persons, "manage or audit, anywhere"),
    post("/persons", add_person, _NEEDS, status=201, errors=(NotFoundError, CodeTakenError)),
    post(
        "/persons/{code}/enrolment",
        enrol_person,
        _NEEDS,
        status=201,
        answer_shown_once=True,
        errors=(NotFoundError, PersonInactiveError),
    ),
    post("/persons/{code}/deactivate", deactivate_person, _NEEDS, errors=(NotFoundError,)),
)
