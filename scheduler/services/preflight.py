"""The check before a delivery's time: what it would meet if it left now, told while there is time to mend it.

Nothing here stops or moves a delivery: the check in the intent's transaction decides, and this one only tells.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Final
from uuid import UUID

from adapters.base import Credentials, Profile
from scheduler.audit.actions import Action
from scheduler.db import paces, posts, preflights, sign_ins
from scheduler.db.posts import PostParts
from scheduler.db.tables import Account, Delivery, Media, Post
from scheduler.db.uow import UnitOfWork
from scheduler.errors import ChanceryError
from scheduler.services import rendering, secrets
from scheduler.services.kit import Kit
from scheduler.services.release import Obstacle, clear
from scheduler.vault.envelope import TokenUnavailableError

#: Limits that the server told longer ago are read again.
_LIMITS_AGE: Final = timedelta(days=1)
#: What a person does next, by the problem's code.
NEXT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "stopped": "chancery posture",
        "account_out_of_service": "chancery account check {account}",
        "approval_lost": "chancery post withdraw {post}",
        "content_changed": "chancery post withdraw {post}",
        "content_unfit": "chancery post show {post}",
        "media_missing": "chancery post show {post}",
        "media_corrupt": "chancery post show {post}",
        "token_unavailable": "chancery keys status",
        "sign_in_refused": "chancery account check {account}",
        "account_profile_changed": "chancery account check {account}",
        "platform_unavailable": "chancery account check {account}",
        "quota_short": "chancery post edit {post} --revision N --at YYYY-MM-DDTHH:MM",
    }
)
_NEXT_ELSE: Final = "chancery post explain {post}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One reason why the delivery would not leave as it should; `code` is stable."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Papers:
    """One delivery as it stands in the database, and what is wrong there."""

    delivery_id: UUID
    revision: int
    parts: PostParts
    media: Mapping[str, Media]
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """All deliveries of one account that are to be checked together: the platform is asked once."""

    account: Account
    credentials: Credentials | None  #: None: out of service, or not to be opened
    are_limits_old: bool
    findings: tuple[Finding, ...]  #: of the account, for each of them
    papers: tuple[Papers, ...]

    @property
    def pictures(self) -> frozenset[str]:
        return frozenset(sha256 for each in self.papers for sha256 in each.media)


async def read(
    uow: UnitOfWork, kit: Kit, account_id: UUID, due: Sequence[tuple[UUID, int]]
) -> Sheet:
    """What the database says of an account and its deliveries (id and revision)."""
    account = await uow.session.get_one(Account, account_id)
    credentials, findings = None, []
    if account.state == "active":
        try:
            credentials = await secrets.open_credentials(uow, kit, account)
        except TokenUnavailableError as exc:
            findings.append(Finding(code=exc.code, message=str(exc)))
    return Sheet(
        account=account,
        credentials=credentials,
        are_limits_old=account.checked_at < uow.now - _LIMITS_AGE,
        findings=tuple(findings),
        papers=tuple(
            [await _read_papers(uow, kit, account, each, revision) for each, revision in due]
        ),
    )


async def _read_papers(
    uow: UnitOfWork, kit: Kit, account: Account, delivery_id: UUID, revision: int
) -> Papers:
    delivery = await uow.session.get_one(Delivery, delivery_id)
    findings = []
    cleared = await clear(uow, delivery)
    if isinstance(cleared, Obstacle):
        findings.append(Finding(code=cleared.code, message=cleared.message))
    parts = await posts.load_parts(uow, await uow.session.get_one(Post, delivery.post_id))
    media: Mapping[str, Media] = {}
    try:
        media = await rendering.load_media(uow, parts)
    except ChanceryError as exc:
        findings.append(Finding(code=exc.code, message=str(exc)))
    except (ValueError, KeyError, TypeError):
        pass  # somebody changed the row, and the clearance has told it
    return Papers(
        delivery_id=delivery_id,
        revision=revision,
        parts=parts,
        media=media,
        findings=(*findings, *await _find_quota(uow, kit, account, delivery)),
    )


async def _find_quota(
    uow: UnitOfWork, kit: Kit, account: Account, delivery: Delivery
) -> list[Finding]:
    """Whether the platform's known quota has room at its time, by what we ourselves have sent and planned."""
    due = delivery.wake_at or uow.now
    try:
        more_parts = len(rendering.parts_of(delivery)) - 1
    except (ValueError, KeyError, TypeError):
        return []  # as above
    for quota in kit.platform(account.platform).capabilities.quotas:
        start = due - quota.per
        used = more_parts + await paces.count_tried(uow, account.id, start)
        used += await preflights.count_due(uow, account.id, start, due)
        if used > quota.limit:
            span = f"{quota.per.total_seconds() / 3600:.0f} h"
            message = f"it would be post {used} of {quota.limit} that the platform takes in {span}"
            return [Finding(code="quota_short", message=message)]
    return []


def judge_fit(kit: Kit, sheet: Sheet, papers: Papers, profile: Profile | None) -> list[Finding]:
    """Whether the account still carries the post, by the limits its server tells now."""
    account = sheet.account
    if profile is not None and sheet.are_limits_old:
        account.limits = dict(profile.limits)
    try:
        unfit = rendering.find_unfit(kit, papers.parts, [account], papers.media)
    except ChanceryError as exc:
        return [Finding(code=exc.code, message=str(exc))]
    except (ValueError, KeyError, TypeError):
        return []  # as above
    blocking = [each.problem for each in unfit if each.problem.blocks]
    return [Finding(code="content_unfit", message=each.message) for each in blocking]


async def record(
    uow: UnitOfWork,
    sheet: Sheet,
    profile: Profile | None,
    found: Mapping[UUID, Sequence[Finding]],
) -> None:
    """Keep what was found, with one record for each delivery and revision, and the limits the server told."""
    if profile is not None:
        await _keep_profile(uow, sheet, profile)
    for papers in sheet.papers:
        delivery_id, revision = papers.delivery_id, papers.revision
        if not await preflights.is_waiting(uow, delivery_id, revision):
            continue  # it has left, or was changed or stopped: this says nothing of it any more
        problems = [_describe(each, sheet, papers) for each in found[delivery_id]]
        if await preflights.add(uow, delivery_id, revision, problems):
            uow.record(
                Action.DELIVERY_PREFLIGHT_FAILED if problems else Action.DELIVERY_PREFLIGHT,
                {"t": "delivery", "id": str(delivery_id), "post": str(papers.parts.post.id)},
                detail={
                    "revision": revision,
                    "result": "failed" if problems else "ok",
                    "problems": [
                        {name: each[name] for name in ("code", "message")} for each in problems
                    ],
                },
            )


async def _keep_profile(uow: UnitOfWork, sheet: Sheet, profile: Profile) -> None:
    if profile.ends_at is not None:
        await sign_ins.set_end(uow, sheet.account.id, profile.ends_at)
    if not sheet.are_limits_old:
        return
    account = await uow.session.get_one(
        Account, sheet.account.id, with_for_update=True, populate_existing=True
    )
    if account.state == "removed":
        return
    account.limits, account.software = dict(profile.limits), profile.software
    account.checked_at = uow.now
    uow.record(Action.ACCOUNT_CHECK, {"t": "account", "id": str(account.id)})


def _describe(finding: Finding, sheet: Sheet, papers: Papers) -> dict[str, str]:
    command = NEXT.get(finding.code, _NEXT_ELSE)
    return {
        "code": finding.code,
        "message": finding.message,
        "next": command.format(account=sheet.account.code, post=papers.parts.post.id),
    }
