"""Campaigns: opened and closed by the mission whose they are; posts of it and below take part."""

from uuid import UUID

from scheduler.audit.actions import Action
from scheduler.canonical import JsonObject
from scheduler.db import campaigns, missions
from scheduler.db.tables import Campaign, Mission, Post
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor, Permission, PermissionDeniedError
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
    """End a campaign: it takes no more posts, and those that it has go their way.

    Raises:
        CampaignClosedError: it has ended already.
    """
    found, mission = await campaigns.get_by_code(uow, actor, code)
    require_at_owner(uow, actor, Permission.WRITE, mission)
    campaign = await campaigns.lock(uow, found.id, shared=False)
    _refuse_closed(campaign)
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
    campaign, _ = found
    if campaign.id != post.campaign_id:
        await require_open(uow, campaign.id)
    post.campaign_id = campaign.id


async def require_open(uow: UnitOfWork, campaign_id: UUID) -> None:
    """Refuse a closed campaign, and keep an open one open until this unit has committed.

    Raises:
        CampaignClosedError: it is over.
    """
    _refuse_closed(await campaigns.lock(uow, campaign_id, shared=True))


def require_at_owner(uow: UnitOfWork, actor: Actor, permission: Permission, owner: Mission) -> None:
    """Refuse who lacks the permission at the campaign's mission; whoever sees it from below is told so.

    Raises:
        PermissionDeniedError, ScopeDeniedError: not by this person, or not with this token.
    """
    if not actor.sees(owner.path):
        raise PermissionDeniedError(
            f"it is of {owner.code}: {permission} is not granted to you there", needs=permission
        )
    actor.require(permission, owner.path, now=uow.now)


def _refuse_closed(campaign: Campaign) -> None:
    if campaign.closed_at is not None:
        raise CampaignClosedError(f"the campaign {campaign.code} is closed")


def _subject(campaign: Campaign) -> JsonObject:
    return {"t": "campaign", "id": str(campaign.id)}
