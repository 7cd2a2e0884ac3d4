"""Why a post is not public yet: every rule with its reason, and everything it waits for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from scheduler.db import posts, rules, sight
from scheduler.db.posts import PostParts
from scheduler.db.tables import Account, Delivery
from scheduler.db.uow import UnitOfWork
from scheduler.domain.delivery_flow import DeliveryState
from scheduler.domain.people import Actor
from scheduler.domain.post_flow import PostState
from scheduler.domain.posture import STOPPED, Departure, Restriction, describe, find_block
from scheduler.errors import ChanceryError
from scheduler.policy.bundle import open_policy
from scheduler.policy.evaluation import Row
from scheduler.services import judging, release
from scheduler.services.approvals import find_standings
from scheduler.services.clearing import describe_open
from scheduler.services.inspection import Flaw, find_flaws
from scheduler.services.kit import Kit
from scheduler.services.release import Obstacle
from scheduler.services.writing import require_future

_OPEN: Final = frozenset({PostState.DRAFT, PostState.IN_REVIEW, PostState.APPROVED})
_STUCK: Final = frozenset(
    {DeliveryState.HELD, DeliveryState.UNKNOWN, DeliveryState.REJECTED, DeliveryState.EXPIRED}
)
_WAITING: Final[Mapping[PostState, tuple[str, str]]] = {
    PostState.DRAFT: ("not_submitted", "its author has not submitted it yet"),
    PostState.IN_REVIEW: ("not_approved", "nobody has approved it yet"),
    PostState.APPROVED: ("not_scheduled", "it is approved, but nobody has scheduled it yet"),
    PostState.CANCELLED: ("cancelled", "it was cancelled"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hindrance:
    """What stands between a post, or one account of it, and publication."""

    account: str | None
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    rows: tuple[Row, ...]
    flaws: tuple[Flaw, ...]
    hindrances: tuple[Hindrance, ...]


async def explain_post(uow: UnitOfWork, kit: Kit, actor: Actor, post_id: UUID) -> Explanation:
    """Every rule of the policy with its reason, and every hindrance now."""
    post = await sight.get_post(uow, actor, post_id)
    parts = await posts.load_parts(uow, post)
    policy = open_policy((await rules.get_policy(uow)).body)
    _, flaws = await find_flaws(uow, kit, parts)
    return Explanation(
        rows=judging.explain_all(policy, parts, uow.now),
        flaws=tuple(flaws),
        hindrances=tuple(await _find_hindrances(uow, parts)),
    )


async def _find_hindrances(uow: UnitOfWork, parts: PostParts) -> list[Hindrance]:
    found = []
    block = await _find_block(uow, parts)
    if block is not None:
        found.append(_hindrance(STOPPED, describe(block)))
    state = PostState(parts.post.state)
    if state in _WAITING:
        found.append(_hindrance(*_WAITING[state]))
    if state is PostState.IN_REVIEW:
        found += await _find_asked(uow, parts)
    if state in _OPEN:
        found += await _find_refusals(uow, parts)
    for delivery, account in parts.deliveries:
        if block is None and delivery.state == DeliveryState.PLANNED:
            stops = await release.find_stops(uow, [delivery])
            found += [_hindrance(each.code, each.message, account.code) for each in stops.values()]
        found += await _find_on_account(uow, delivery, account)
    return found


async def _find_block(uow: UnitOfWork, parts: PostParts) -> Restriction | None:
    """The posture that forbids the whole post at its time, wherever it goes."""
    anywhere = Departure(
        post_class=parts.post.post_class,
        mission_paths=(parts.mission.path,),
        account_id=None,
        campaign_id=parts.post.campaign_id,
        language="",
        at=max(uow.now, parts.post.due_at or uow.now),
    )
    return find_block(await rules.load_postures(uow), anywhere)


async def _find_on_account(
    uow: UnitOfWork, delivery: Delivery, account: Account
) -> list[Hindrance]:
    found = []
    if account.state != "active":
        message = f"the account is {account.state}: {account.state_reason}"
        found.append(_hindrance("account_out_of_service", message, account.code))
    if delivery.state in _STUCK:
        found.append(_hindrance(f"delivery_{delivery.state}", delivery.reason, account.code))
    if delivery.state == DeliveryState.READY and not found:
        cleared = await release.clear(uow, delivery)
        if isinstance(cleared, Obstacle):
            found.append(_hindrance(cleared.code, cleared.message, account.code))
    return found


async def _find_asked(uow: UnitOfWork, parts: PostParts) -> list[Hindrance]:
    """Whose decisions it waits for."""
    [standing] = await find_standings(uow, [parts], [await judging.judge_now(uow, parts)])
    return [_hindrance("decision_missing", describe_open([each])) for each in standing.open]


async def _find_refusals(uow: UnitOfWork, parts: PostParts) -> list[Hindrance]:
    """What submitting or approving would be refused for."""
    found = []
    try:
        require_future(parts.post, uow.now)
    except ChanceryError as exc:
        found.append(_hindrance(exc.code, str(exc)))
    judgement = await judging.judge_now(uow, parts)
    found += [
        _hindrance("policy_blocked", f"rule {finding.rule}: {finding.message}")
        for finding in judgement.blocking
    ]
    return found


def _hindrance(code: str, message: str, account: str | None = None) -> Hindrance:
    return Hindrance(account=account, code=code, message=message)
