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
    find_reserve,
    find_spacing,
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
        for budget, whose, theirs in self._budgets(account, urgent=urgent):
            excess = budget.find_excess(parts, urgent=urgent)
            if excess > 0:
                first = max(1, min(excess, budget.used))
                until = await paces.find_leaving(self.uow, theirs, budget.per, first)
                return Wait(code=_BUDGET, message=describe_budget(budget, whose), until=until)
        return None

    def _budgets(
        self, account: Account, *, urgent: bool
    ) -> Iterator[tuple[Budget, str, ColumnElement[bool]]]:
        """Each budget, whose it is, and which accounts' posts count."""
        can = self.kit.platform(account.platform).capabilities
        used = self.used.get(account.id)
        for quota in can.quotas:
            count = used.counts[quota.per] if used else 0
            yield build_budget(quota, count), "of the account", col(Account.id) == account.id
        for quota in can.shared_quotas:
            by_mission = self._count(account.base_url, quota.per)
            whole = build_budget(quota, sum(by_mission.values()))
            on_server = col(Account.base_url) == account.base_url
            yield whole, f"of all on {account.base_url}", on_server
            share = whole.share(by_mission.get(account.mission_id, 0), len(by_mission))
            if share is not None and not urgent:
                mine = on_server & (col(Account.mission_id) == account.mission_id)
                yield share, f"of the mission on {account.base_url}", mine

    def spend(self, case: Case) -> None:
        """Count a delivery that leaves, for those after it in the same group."""
        if not case.delivery.next_part:
            key = case.account.base_url, case.account.mission_id
            parts = len(rendering.parts_of(case.delivery))
            self._spent[key] = self._spent.get(key, 0) + parts

    def _count(self, server: str, span: timedelta) -> dict[UUID, int]:
        """By mission with an account there: what is used, with what leaves in this group."""
        by_mission = dict(self.shared[span][server])
        for (where, mission), parts in self._spent.items():
            if where == server:
                by_mission[mission] = by_mission.get(mission, 0) + parts
        return by_mission


def build_budget(quota: Quota, used: int) -> Budget:
    return Budget(limit=quota.limit, per=quota.per, used=used, reserve=find_reserve(quota.limit))


async def load(uow: UnitOfWork, kit: Kit, cases: Collection[Case]) -> Paces:
    """Read it in as many statements for one delivery as for hundreds."""
    accounts = {case.account.id: case.account for case in cases}
    spans: set[timedelta] = set()
    servers: dict[timedelta, set[str]] = {}
    paced = set()
    for account in accounts.values():
        can = kit.platform(account.platform).capabilities
        spans |= {quota.per for quota in can.quotas}
        for quota in can.shared_quotas:
            servers.setdefault(quota.per, set()).add(account.base_url)
        if can.quotas or account.spacing_s:
            paced.add(account.id)
    spacings = (timedelta(seconds=each.spacing_s) for each in accounts.values())
    reach = max((*spans, *spacings), default=timedelta(0))  # no cases: another worker has them
    return Paces(
        uow,
        kit,
        await paces.find_used(uow, paced, sorted(spans), uow.now - reach) if paced else {},
        {span: await paces.find_shared(uow, names, span) for span, names in servers.items()},
    )
