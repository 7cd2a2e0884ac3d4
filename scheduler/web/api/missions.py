"""Missions: the tree that is everybody's scope."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field, StringConstraints

from scheduler.db import missions
from scheduler.db.tables import Mission
from scheduler.domain.calendar import TimeZoneUnknownError
from scheduler.errors import NotFoundError
from scheduler.services import people
from scheduler.services.people import CodeTakenError, NewMission
from scheduler.web.api.fields import Code, Language, Name, Zone
from scheduler.web.paging import Page, Paging, page_of
from scheduler.web.parsing import Input
from scheduler.web.routing import Answer, Route, Step, get, post


class MissionBody(Input):
    code: Code
    name: Name
    kind: Annotated[str, StringConstraints(pattern=r"^[a-z]+(_[a-z]+){0,5}$", max_length=60)]
    parent: Code
    city: Name | None = None
    country: Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")] | None = None
    zone: Zone
    languages: Annotated[tuple[Language, ...], Field(min_length=1, max_length=40)]


class MissionAnswer(Answer):
    id: UUID
    code: str
    name: str
    kind: str
    parent: str | None
    city: str
    country: str
    zone: str
    languages: list[str]
    created_at: datetime


async def list_missions(step: Step, query: Paging) -> Page[MissionAnswer]:
    """The missions in sight, in the order of the tree."""
    found = await missions.find_all(step.uow, step.actor)
    codes: dict[UUID | None, str] = {mission.id: mission.code for mission in found}
    shown, cursor = page_of(found, query, lambda mission: mission.id)
    return Page(items=[_answer(mission, codes) for mission in shown], next=cursor)


async def add_mission(step: Step, body: MissionBody) -> MissionAnswer:
    """Add a mission below another."""
    new = NewMission(
        code=body.code,
        name=body.name,
        kind=body.kind,
        parent=body.parent,
        city=body.city or "",
        country=body.country or "",
        zone=body.zone,
        languages=body.languages,
    )
    mission = await people.add_mission(step.uow, step.actor, new)
    return _answer(mission, {mission.parent_id: body.parent})


def _answer(mission: Mission, codes: Mapping[UUID | None, str]) -> MissionAnswer:
    return MissionAnswer(
        id=mission.id,
        code=mission.code,
        name=mission.name,
        kind=mission.kind,
        parent=codes.get(mission.parent_id),
        city=mission.city,
        country=mission.country,
        zone=mission.zone,
        languages=mission.languages,
        created_at=mission.created_at,
    )


ROUTES: Final[tuple[Route, ...]] = (
    get("/missions", list_missions),
    post(
        "/missions",
        add_mission,
        "manage, at the mission above",
        status=201,
        errors=(NotFoundError, CodeTakenError, TimeZoneUnknownError),
    ),
)
