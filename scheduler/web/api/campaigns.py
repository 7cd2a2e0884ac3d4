"""Campaigns: posts of several missions with one aim."""

from datetime import datetime
from typing import Final
from uuid import UUID

from scheduler.db import campaigns as rows
from scheduler.db.tables import Campaign, Mission
from scheduler.errors import NotFoundError
from scheduler.services import campaigns
from scheduler.services.campaigns import CampaignClosedError
from scheduler.services.people import CodeTakenError
from scheduler.web.api.fields import Code, Name
from scheduler.web.api.persons import NoBody
from scheduler.web.paging import Page, Paging, page_of
from scheduler.web.parsing import Input
from scheduler.web.routing import Answer, Route, Step, get, post


class CampaignBody(Input):
    code: Code
    title: Name
    mission: Code


class CampaignAnswer(Answer):
    id: UUID
    code: str
    title: str
    mission: str  #: whose it is; posts of it and below may take part
    created_at: datetime
    closed_at: datetime | None


async def list_campaigns(step: Step, query: Paging) -> Page[CampaignAnswer]:
    """The campaigns that concern you, newest first."""
    found = await rows.find_all(step.uow, step.actor)
    shown, cursor = page_of(found, query, lambda each: each[0].id)
    return Page(items=[_answer(*each) for each in shown], next=cursor)


async def show_campaign(step: Step) -> CampaignAnswer:
    return _answer(*await rows.get_by_code(step.uow, step.actor, step.code()))


async def add_campaign(step: Step, body: CampaignBody) -> CampaignAnswer:
    """Open a campaign of a mission."""
    made = await campaigns.add(
        step.uow, step.actor, code=body.code, title=body.title, mission_code=body.mission
    )
    return _answer(*made)


async def close_campaign(step: Step, body: NoBody) -> CampaignAnswer:  # noqa: ARG001 - an empty body is checked
    """End a campaign: it takes no more posts, and those that it has go their way."""
    return _answer(*await campaigns.close(step.uow, step.actor, step.code()))


def _answer(campaign: Campaign, mission: Mission) -> CampaignAnswer:
    return CampaignAnswer(
        id=campaign.id,
        code=campaign.code,
        title=campaign.title,
        mission=mission.code,
        created_at=campaign.created_at,
        closed_at=campaign.closed_at,
    )


_NEEDS: Final = "write, at the campaign's mission"
ROUTES: Final[tuple[Route, ...]] = (
    get("/campaigns", list_campaigns),
    post("/campaigns", add_campaign, _NEEDS, status=201, errors=(NotFoundError, CodeTakenError)),
    get("/campaigns/{code}", show_campaign, errors=(NotFoundError,)),
    post(
        "/campaigns/{code}/close",
        close_campaign,
        _NEEDS,
        errors=(NotFoundError, CampaignClosedError),
    ),
)
