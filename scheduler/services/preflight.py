"""The check before a delivery's time: what it would meet if it left now, told while there is time to mend it.

Nothing here stops or moves a delivery: the check in the intent's transaction decides, and this one only tells.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col

from adapters.base import Credentials, Profile
from scheduler.audit.actions import Action
from scheduler.db import accounts as account_rows
from scheduler.db import paces, preflights, rows, sign_ins
from scheduler.db.cases import Case
from scheduler.db.posts import PostParts
from scheduler.db.tables import Account, DataKey, Delivery, Media, SealedToken
from scheduler.db.uow import UnitOfWork
from scheduler.domain.pace import URGENT
from scheduler.errors import ChanceryError
from scheduler.services import release, rendering, secrets
from scheduler.services.kit import Kit
from scheduler.services.pacing import build_budget
from scheduler.services.release import Bench, Obstacle
from scheduler.vault.envelope import TokenUnavailableError

#: Limits that the server told longer ago are read again.
_LIMITS_AGE: Final = timedelta(days=1)
#: A delivery and its revision.
Due = tuple[UUID, int]
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


async def read_all(
    uow: UnitOfWork, kit: Kit, asked: Sequence[tuple[UUID, Sequence[Due]]]
) -> list[Sheet | Exception]:
    """What the database says of accounts and their deliveries: as many queries for one as for hundreds."""
    ids = [account_id for account_id, _ in asked]
    accounts = await uow.session.scalars(select(Account).where(rows.among(col(Account.id), ids)))
    by_id = {account.id: account for account in accounts}
    sealed = await account_rows.find_all_sealed(uow, ids)
    due = {delivery_id for _, some in asked for delivery_id, _ in some}
    found = await rows.find(uow, Delivery, rows.among(col(Delivery.id), due))
    bench = await release.load(uow, found)
    reader = _Reader(uow, kit, bench, await _load_used(uow, kit, by_id.values(), bench))
    return [await reader.read(by_id[each], sealed[each], some) for each, some in asked]


@dataclass(frozen=True, slots=True)
class _Reader:
    uow: UnitOfWork
    kit: Kit
    bench: Bench
    #: By account, at most how many of its posts lie within its longest quota's span.
    used: Mapping[UUID, int]

    async def read(
        self,
        account: Account,
        sealed: Iterable[tuple[SealedToken, DataKey]],
        due: Sequence[Due],
    ) -> Sheet:
        credentials, findings = None, []
        if account.state == "active":
            try:
                credentials = secrets.open_found(self.kit, account, sealed)
            except TokenUnavailableError as exc:
                findings.append(Finding(code=exc.code, message=str(exc)))
        there = [each for each in due if each[0] in self.bench.cases]
        return Sheet(
            account=account,
            credentials=credentials,
            are_limits_old=account.checked_at < self.uow.now - _LIMITS_AGE,
            findings=tuple(findings),
            papers=tuple([await self._read_papers(*each) for each in there]),
        )

    async def _read_papers(self, delivery_id: UUID, revision: int) -> Papers:
        case, findings = self.bench.cases[delivery_id], []
        cleared = self.bench.clear(case)
        if isinstance(cleared, Obstacle):
            findings.append(Finding(code=cleared.code, message=cleared.message))
        media: Mapping[str, Media] = {}
        try:
            media = await rendering.load_media(self.uow, case.parts)
        except ChanceryError as exc:
            findings.append(Finding(code=exc.code, message=str(exc)))
        except (ValueError, KeyError, TypeError):
            pass  # somebody changed the row, and the clearance has told it
        return Papers(
            delivery_id=delivery_id,
            revision=revision,
            parts=case.parts,
            media=media,
            findings=(*findings, *await self._find_quota(case)),
        )

    async def _find_quota(self, case: Case) -> list[Finding]:
        """Whether the platform's known quota has room at its time, by what we ourselves have sent and planned."""
        account_id, due = case.account.id, case.delivery.wake_at or self.uow.now
        urgent = case.post.post_class in URGENT
        try:
            more_parts = len(rendering.parts_of(case.delivery)) - 1
        except (ValueError, KeyError, TypeError):
            return []  # as above
        for quota in self.kit.platform(case.account.platform).capabilities.quotas:
            limit = build_budget(quota, 0).open_to(urgent=urgent)
            if more_parts + self.used[account_id] <= limit:
                continue
            start = due - quota.per
            count = more_parts + await paces.count_tried(self.uow, account_id, start)
            count += await preflights.count_due(self.uow, account_id, start, due)
            if count > limit:
                hours = quota.per.total_seconds() / 3600
                message = (
                    f"it would be post {count} of {limit} that the platform takes in {hours:.0f} h"
                )
                return [Finding(code="quota_short", message=message)]
        return []


async def _load_used(
    uow: UnitOfWork, kit: Kit, accounts: Iterable[Account], bench: Bench
) -> dict[UUID, int]:
    paced = {each.id: kit.platform(each.platform).capabilities.quotas for each in accounts}
    spans = {quota.per for quotas in paced.values() for quota in quotas}
    if not spans:
        return {}
    longest = max(spans)
    sent = await paces.find_used(uow, paced, [longest], uow.now - longest)
    times = [case.delivery.wake_at or uow.now for case in bench.cases.values()]
    waiting = await preflights.count_waiting(uow, paced, max(times, default=uow.now))
    return {
        each: (sent[each].counts[longest] if each in sent else 0) + waiting.get(each, 0)
        for each in paced
    }


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a check has found of an account's deliveries, and what the platform told of the account."""

    sheet: Sheet
    profile: Profile | None
    found: Mapping[UUID, Sequence[Finding]]


async def record_all(uow: UnitOfWork, results: Sequence[Result]) -> list[Exception | None]:
    """Keep what was found, with one record for each delivery and revision, and the limits the servers told.

    What has left, was changed or stopped meanwhile is dropped: the result says nothing of it any more.
    """
    for each in sorted(results, key=lambda each: each.sheet.account.id):  # everybody locks so
        if each.profile is not None:
            await _keep_profile(uow, each.sheet, each.profile)
    checked = {
        (papers.delivery_id, papers.revision): (
            papers,
            [_describe(each, result.sheet, papers) for each in result.found[papers.delivery_id]],
        )
        for result in results
        for papers in result.sheet.papers
    }
    waiting = await preflights.find_waiting(uow, [delivery_id for delivery_id, _ in checked])
    fresh = {key: problems for key, (_, problems) in checked.items() if key in waiting}
    for key in await preflights.add_all(uow, fresh):
        _record(uow, *checked[key])
    return [None] * len(results)


def _record(uow: UnitOfWork, papers: Papers, problems: Sequence[Mapping[str, str]]) -> None:
    uow.record(
        Action.DELIVERY_PREFLIGHT_FAILED if problems else Action.DELIVERY_PREFLIGHT,
        {"t": "delivery", "id": str(papers.delivery_id), "post": str(papers.parts.post.id)},
        detail={
            "revision": papers.revision,
            "result": "failed" if problems else "ok",
            "problems": [{name: each[name] for name in ("code", "message")} for each in problems],
        },
    )


async def _keep_profile(uow: UnitOfWork, sheet: Sheet, profile: Profile) -> None:
    """An account is locked before its sign-in, as by whoever renews that."""
    if sheet.are_limits_old:
        account = await uow.session.get_one(
            Account, sheet.account.id, with_for_update=True, populate_existing=True
        )
        if account.state == "removed":
            return
        account.limits, account.software = dict(profile.limits), profile.software
        account.checked_at = uow.now
        uow.record(Action.ACCOUNT_CHECK, {"t": "account", "id": str(account.id)})
    if profile.ends_at is not None:
        await sign_ins.set_end(uow, sheet.account.id, profile.ends_at)


def _describe(finding: Finding, sheet: Sheet, papers: Papers) -> dict[str, str]:
    command = NEXT.get(finding.code, _NEXT_ELSE)
    return {
        "code": finding.code,
        "message": finding.message,
        "next": command.format(account=sheet.account.code, post=papers.parts.post.id),
    }
