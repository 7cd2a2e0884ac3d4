"""Spacing and budgets at their edges, the reserve, and the share of each mission."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.domain.pace import Budget, describe_budget, find_spacing

NOON = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def _budget(**fields: int) -> Budget:
    return Budget(**{"limit": 20, "per": MINUTE, "used": 0, **fields})  # type: ignore[arg-type]


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
    found = _budget(used=used).find_excess(parts, urgent=urgent)
    assert max(found, 0) == excess


def test_the_smallest_budgets_have_a_reserve_unless_nothing_else_could_leave() -> None:
    assert [_budget(limit=limit).reserve for limit in (1, 2, 9, 20, 300)] == [0, 1, 1, 2, 30]


@pytest.mark.parametrize(
    ("used", "mine", "excess"),
    [
        (9, 9, 0),  # as long as half is left, nobody's share is asked
        (10, 9, 4),  # of 18 for three missions, six are its own
        (10, 5, 0),
        (10, 6, 1),
        (18, 0, 1),  # nothing is left for anybody
    ],
)
def test_a_mission_with_thousands_leaves_the_others_their_share(
    used: int, mine: int, excess: int
) -> None:
    found = _budget(used=used, mine=mine, missions=3).find_excess(1, urgent=False)
    assert max(found, 0) == excess


def test_a_budget_is_told_in_words() -> None:
    told = describe_budget(_budget(used=18), "the account")
    assert told == "18 of the 20 posts that the account takes in 1 min are used"
