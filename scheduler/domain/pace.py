"""How fast accounts and servers may be used: spacing between posts, and budgets with a reserve and fair shares."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

MOST_SPACING: Final = timedelta(hours=24)
#: Posts of these classes keep no distance and may use the reserve: somebody's safety depends on them.
URGENT: Final = frozenset({"consular_alert"})
_RESERVE_PARTS: Final = 10  # the last tenth of a budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Why a delivery leaves later than it is due; `code` is stable."""

    code: str
    message: str
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a platform takes within a sliding span, of one account or of all accounts on a server.

    `mine` and `missions` are of a common budget: what the post's mission has used, and how many missions share it.
    """

    limit: int
    per: timedelta
    used: int
    mine: int = 0
    missions: int = 1

    def find_excess(self, parts: int, *, urgent: bool) -> int:
        """How many of the posts before have to be out of the span first; 0 or less: none.

        A thread is counted whole before it begins. As long as half of a common budget is left, nobody's share is asked.
        """
        limit = self.open_to(urgent=urgent)
        over_all = self.used + parts - limit
        if urgent or self.missions == 1 or 2 * self.used < self.limit:
            return over_all
        return max(over_all, self.mine + parts - max(1, limit // self.missions))

    def open_to(self, *, urgent: bool) -> int:
        return self.limit if urgent else self.limit - self.reserve

    @property
    def reserve(self) -> int:
        """What is kept for urgent posts; a budget of one has none, or nothing else could leave."""
        return max(1, self.limit // _RESERVE_PARTS) if self.limit > 1 else 0


def find_spacing(last: datetime | None, spacing: timedelta, now: datetime) -> Wait | None:
    """Whether the account's last post is too short ago."""
    if last is None or now >= last + spacing:
        return None
    message = f"the account keeps {spacing.total_seconds():.0f} s between its posts"
    return Wait(code="spacing", message=message, until=last + spacing)


def describe_budget(budget: Budget, whose: str) -> str:
    hours = budget.per.total_seconds() / 3600
    span = f"{hours:.0f} h" if hours >= 1 else f"{hours * 60:.0f} min"
    return f"{budget.used} of the {budget.limit} posts that {whose} takes in {span} are used"


def longest(spans: Iterable[timedelta]) -> timedelta:
    return max(spans, default=timedelta(0))
