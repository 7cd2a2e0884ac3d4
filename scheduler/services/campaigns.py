"""Campaigns: opened and closed by the mission whose they are; posts of it and below take part."""

from scheduler.audit.actions import Action
from scheduler.canonical import JsonObject
from scheduler.db import campaigns, missions
from scheduler.db.tables import Campaign, Mission, Post
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor, Permission
from scheduler.domain.text import check_text
from scheduler.errors import ConflictError, InvalidError
from scheduler.services.people import CodeTakenError


class CampaignClosedError(ConflictError):
    """It is over: it takes no posts, and is not closed again."""

    code = "campaign_closed"


class CampaignUnknownError(InvalidError):
    """There is none of this name that the post's mission may take part in."""

    code = "campaign_unknown"


async def add(
    uow: UnitOfWork, actor: Actor, *, code: str, title: str, mission_code: str
) -> tuple[Campaign, Mission]:
    """Open a campaign of a mission.

    Raises:
        CodeTakenError: one has this name, perhaps out of sight.
    """
    mission = await missions.get_by_code(uow, actor, mission_code)
    actor.require(Permission.WRITE, mission.path, now=uow.now)
    check_text(title, "title")
    if await campaigns.find_by_code(uow, code) is not None:
        raise CodeTakenError(f"there is a campaign {code} already")
    campaign = Campaign(
        code=code,
        title=title,
        mission_id=mission.id,
        created_by=actor.person_id,
        created_at=uow.now,
    )
    uow.session.add(campaign)
    await uow.session.flush()
    detail: JsonObject = {"code": code, "mission": str(mission.id)}
    uow.record(Action.CAMPAIGN_ADD, _subject(campaign), actor=actor, detail=detail)
    return campaign, mission


async def close(uow: UnitOfWork, actor: Actor, code: str) -> tuple[Campaign, Mission]:
    """End a campaign: it takes no more posts, and those that it has go their way."""
    campaign, mission = await campaigns.get_by_code(uow, actor, code)
    actor.require(Permission.WRITE, mission.path, now=uow.now)
    _require_open(campaign)
    campaign.closed_at = uow.now
    uow.record(Action.CAMPAIGN_CLOSE, _subject(campaign), actor=actor)
    return campaign, mission


async def choose(uow: UnitOfWork, post: Post, mission: Mission, code: str) -> None:
    """Let the post take part in the campaign, or in none when `code` is empty.

    Raises:
        CampaignUnknownError: none of the post's mission or of one above it.
        CampaignClosedError: it is over.
    """
    if not code:
        post.campaign_id = None
        return
    found = await campaigns.find_by_code(uow, code)
    if found is None or not mission.path.startswith(found[1].path):
        raise CampaignUnknownError(f"no campaign {code} that {mission.code} may take part in")
    campaign = found[0]
    if campaign.id != post.campaign_id:
        _require_open(campaign)
    post.campaign_id = campaign.id


def _require_open(campaign: Campaign) -> None:
    if campaign.closed_at is not None:
        raise CampaignClosedError(f"the campaign {campaign.code} is closed")


def _subject(campaign: Campaign) -> JsonObject:
    return {"t": "campaign", "id": str(campaign.id)}
