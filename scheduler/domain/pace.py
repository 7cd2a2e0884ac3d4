"""How fast accounts and servers may be used: spacing between posts, and budgets with a reserve and fair shares."""

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
    """What may leave within a sliding span; the reserve is kept for urgent posts."""

    limit: int
    per: timedelta
    used: int
    reserve: int = 0

    def find_excess(self, parts: int, *, urgent: bool) -> int:
        """How many of the posts before have to be out of the span first; 0 or less: none.

        A thread is counted whole before it begins.
        """
        return self.used + parts - self.open_to(urgent=urgent)

    def open_to(self, *, urgent: bool) -> int:
        return self.limit if urgent else self.limit - self.reserve

    def share(self, mine: int, missions: int) -> "Budget | None":
        """One mission's equal part of a common budget; not asked as long as half of the whole is left."""
        if missions == 1 or 2 * self.used < self.limit:
            return None
        part = max(1, self.open_to(urgent=False) // missions)
        return Budget(limit=part, per=self.per, used=mine)


def find_reserve(limit: int) -> int:
    """What of a quota is kept for urgent posts; of a quota of one nothing, or nothing else could leave."""
    return max(1, limit // _RESERVE_PARTS) if limit > 1 else 0


def find_spacing(last: datetime | None, spacing: timedelta, now: datetime) -> Wait | None:
    """Whether the account's last post is too short ago."""
    if last is None or now >= last + spacing:
        return None
    message = f"the account keeps {spacing.total_seconds():.0f} s between its posts"
    return Wait(code="spacing", message=message, until=last + spacing)


def describe_budget(budget: Budget, whose: str) -> str:
    hours = budget.per.total_seconds() / 3600
    span = f"{hours:.0f} h" if hours >= 1 else f"{hours * 60:.0f} min"
    return f"{budget.used} of {budget.limit} posts in {span} are used, {whose}"
