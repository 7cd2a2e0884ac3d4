"""Spacing and budgets at their edges, the reserve, and the share of each mission."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.domain.pace import Budget, describe_budget, find_reserve, find_spacing

NOON = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def _budget(used: int = 0, limit: int = 20) -> Budget:
    return Budget(limit=limit, per=MINUTE, used=used, reserve=find_reserve(limit))


@pytest.mark.parametrize(
    ("last", "until"),
    [
        (None, None),
        (NOON - MINUTE, None),
        (NOON - MINUTE + timedelta(milliseconds=1), NOON + timedelta(milliseconds=1)),
        (NOON, NOON + MINUTE),
    ],
)
def test_an_account_waits_until_its_spacing_is_over(
    last: datetime | None, until: datetime | None
) -> None:
    wait = find_spacing(last, MINUTE, NOON)
    assert (wait and wait.until) == until
    assert wait is None or wait.code == "spacing"


@pytest.mark.parametrize(
    ("used", "parts", "urgent", "excess"),
    [
        (17, 1, False, 0),
        (18, 1, False, 1),  # the last two of twenty are the reserve
        (18, 1, True, 0),
        (19, 1, True, 0),
        (20, 1, True, 1),
        (16, 3, False, 1),
        (0, 19, False, 1),  # a thread is counted whole
        (0, 20, True, 0),
    ],
)
def test_a_budget_is_used_to_its_edge_and_its_reserve_by_urgent_posts(
    used: int, parts: int, urgent: bool, excess: int
) -> None:
    found = _budget(used).find_excess(parts, urgent=urgent)
    assert max(found, 0) == excess


def test_the_smallest_budgets_have_a_reserve_unless_nothing_else_could_leave() -> None:
    assert [find_reserve(limit) for limit in (1, 2, 9, 20, 300)] == [0, 1, 1, 2, 30]


@pytest.mark.parametrize(
    ("used", "missions", "limit"),
    [
        (9, 3, None),  # as long as half is left, nobody's share is asked
        (10, 3, 6),  # of eighteen for three
        (18, 40, 1),  # nobody is shut out
        (18, 1, None),  # whoever is alone shares with nobody
    ],
)
def test_a_mission_with_thousands_leaves_the_others_their_share(
    used: int, missions: int, limit: int | None
) -> None:
    share = _budget(used).share(5, missions)
    assert (share and share.limit) == limit
    assert share is None or (share.used, share.reserve, share.per) == (5, 0, MINUTE)


def test_a_budget_is_told_in_words() -> None:
    told = describe_budget(_budget(18), "of the account")
    assert told == "18 of 20 posts in 1 min are used, of the account"
