"""When a delivery that may leave has to wait all the same: its account's spacing, and what the platform takes.

Asked in the intent's transaction. An account has one delivery in hand, so its own counts are exact; those of a server
are exact but for what another worker commits at the same moment.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement
from sqlmodel import col

from adapters.base import Quota
from scheduler.db import paces
from scheduler.db.cases import Case
from scheduler.db.paces import Used
from scheduler.db.tables import Account
from scheduler.db.uow import UnitOfWork
from scheduler.domain.pace import (
    URGENT,
    Budget,
    Wait,
    describe_budget,
    find_spacing,
    longest,
)
from scheduler.services import rendering
from scheduler.services.kit import Kit

_BUDGET: Final = "budget_used"


@dataclass(frozen=True, slots=True)
class Paces:
    """What the accounts and servers of a group of deliveries have used; `spend` counts the group itself."""

    uow: UnitOfWork
    kit: Kit
    used: Mapping[UUID, Used]
    shared: Mapping[timedelta, dict[str, dict[UUID, int]]]
    _spent: dict[tuple[str, UUID], int] = field(default_factory=dict)

    async def find_wait(self, case: Case) -> Wait | None:
        """Why it has to wait, if it has to; a thread that has begun goes on."""
        if case.delivery.next_part:
            return None
        account, now = case.account, self.uow.now
        urgent = case.post.post_class in URGENT
        last = self.used[account.id].last if account.id in self.used else None
        spacing = timedelta(seconds=account.spacing_s)
        if not urgent and (wait := find_spacing(last, spacing, now)) is not None:
            return wait
        parts = len(rendering.parts_of(case.delivery))
        for budget, whose, theirs in self._budgets(account):
            excess = budget.find_excess(parts, urgent=urgent)
            if excess > 0:
                first = max(1, min(excess, budget.used))
                until = await paces.find_leaving(self.uow, theirs, budget.per, first)
                return Wait(code=_BUDGET, message=describe_budget(budget, whose), until=until)
        return None

    def _budgets(self, account: Account) -> Iterator[tuple[Budget, str, ColumnElement[bool]]]:
        """Each budget, who takes it, and whose posts count."""
        can = self.kit.platform(account.platform).capabilities
        used = self.used.get(account.id)
        for quota in can.quotas:
            count = used.counts[quota.per] if used else 0
            own = Budget(limit=quota.limit, per=quota.per, used=count)
            yield own, "the account", col(Account.id) == account.id
        for quota in can.shared_quotas:
            server = account.base_url
            yield self._common(account, quota), server, col(Account.base_url) == server

    def spend(self, case: Case) -> None:
        """Count a delivery that leaves, for those after it in the same group."""
        if not case.delivery.next_part:
            key = case.account.base_url, case.account.mission_id
            parts = len(rendering.parts_of(case.delivery))
            self._spent[key] = self._spent.get(key, 0) + parts

    def _common(self, account: Account, quota: Quota) -> Budget:
        by_mission = dict(self.shared[quota.per][account.base_url])
        for (server, mission), parts in self._spent.items():
            if server == account.base_url:
                by_mission[mission] = by_mission.get(mission, 0) + parts
        return Budget(
            limit=quota.limit,
            per=quota.per,
            used=sum(by_mission.values()),
            mine=by_mission.get(account.mission_id, 0),
            missions=len(by_mission),
        )


async def load(uow: UnitOfWork, kit: Kit, cases: Collection[Case]) -> Paces:
    """Read it in as many statements for one delivery as for hundreds."""
    accounts = {case.account.id: case.account for case in cases}
    spans: dict[timedelta, None] = {}
    servers: dict[timedelta, set[str]] = {}
    paced = set()
    for account in accounts.values():
        can = kit.platform(account.platform).capabilities
        spans |= dict.fromkeys(quota.per for quota in can.quotas)
        for quota in can.shared_quotas:
            servers.setdefault(quota.per, set()).add(account.base_url)
        if can.quotas or account.spacing_s:
            paced.add(account.id)
    reach = longest([*spans, *(timedelta(seconds=each.spacing_s) for each in accounts.values())])
    return Paces(
        uow,
        kit,
        await paces.find_used(uow, paced, list(spans), uow.now - reach) if paced else {},
        {span: await paces.find_shared(uow, names, span) for span, names in servers.items()},
    )
