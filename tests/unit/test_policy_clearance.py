"""Which decisions are still missing: offices, quorums, persons of their own, lateness, and the glass."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.people import Role
from scheduler.policy.clearance import (
    ONE_SUPERVISOR,
    Decision,
    Mode,
    Step,
    find_open,
    find_passed_over,
    holds,
    is_asked,
)

NOW = datetime(2027, 3, 29, 8, tzinfo=UTC)
HOUR = timedelta(hours=1)
DESK = Step(mode=Mode.CLEAR, offices=frozenset({"desk"}))
PRESS = Step(mode=Mode.APPROVE, offices=frozenset({"press"}))
MINISTER = Step(mode=Mode.APPROVE, offices=frozenset({"minister"}))


def _step(base: Step, **changes: Any) -> Step:
    return Step(**{name: getattr(base, name) for name in base.__slots__} | changes)


def _by(
    number: int, mode: Mode, *offices: str, after: timedelta = timedelta(minutes=1)
) -> Decision:
    return Decision(
        person_id=UUID(int=number), mode=mode, offices=frozenset(offices), at=NOW + after
    )


def _open(steps: Sequence[Step], *decisions: Decision) -> list[tuple[Step, int]]:
    return [(each.step, each.missing) for each in find_open(steps, decisions, NOW)]


def test_without_a_workflow_one_supervisor_approves() -> None:
    assert ONE_SUPERVISOR.offices == {Role.SUPERVISOR}
    assert _open([ONE_SUPERVISOR]) == [(ONE_SUPERVISOR, 1)]
    assert _open([ONE_SUPERVISOR], _by(1, Mode.APPROVE, "supervisor", "press")) == []
    assert _open([ONE_SUPERVISOR], _by(1, Mode.CLEAR, "supervisor")) == [(ONE_SUPERVISOR, 1)]
    assert _open([ONE_SUPERVISOR], _by(1, Mode.APPROVE, "clearer")) == [(ONE_SUPERVISOR, 1)]


@pytest.mark.parametrize(
    ("held", "wanted", "fits"),
    [
        ("desk", "desk", True),
        ("desk.east", "desk", True),
        ("desk", "desk.east", False),
        ("desktop", "desk", False),
        ("desk_officer", "desk", False),
    ],
)
def test_an_office_below_another_answers_for_it(held: str, wanted: str, *, fits: bool) -> None:
    assert holds({held}, {"protocol", wanted}) is fits


def test_nobody_counts_for_two_steps_of_a_workflow() -> None:
    all_of_it = _by(1, Mode.APPROVE, "desk", "press", "minister")
    assert _open([DESK, PRESS], all_of_it) == [(PRESS, 1)]
    assert _open([DESK, PRESS], all_of_it, _by(2, Mode.CLEAR, "desk")) == []
    assert _open([PRESS, MINISTER], all_of_it, _by(2, Mode.APPROVE, "press")) == []


def test_what_a_rule_asks_for_is_given_by_whoever_decides_anyway() -> None:
    rule = _step(DESK, is_own=False, rule="R11")
    both = _by(1, Mode.APPROVE, "desk", "press")
    assert _open([rule, PRESS], both) == []
    assert _open([rule, PRESS], _by(1, Mode.APPROVE, "press")) == [(rule, 1)]


def test_a_quorum_wants_so_many_persons() -> None:
    three = _step(PRESS, quorum=3)
    decided = [_by(number, Mode.APPROVE, "press") for number in range(3)]
    assert [_open([three], *decided[:n]) for n in range(3)] == [
        [(three, 3)],
        [(three, 2)],
        [(three, 1)],
    ]
    assert _open([three], *decided) == []


def test_a_late_office_is_passed_over_by_who_approves_after_its_time() -> None:
    desk = _step(DESK, within=HOUR, proceeds=True)
    in_time = _by(1, Mode.APPROVE, "press", after=HOUR - timedelta(microseconds=1))
    late = _by(1, Mode.APPROVE, "press", after=HOUR)
    assert _open([desk, PRESS], in_time) == [(desk, 1)]
    assert _open([desk, PRESS], late) == []
    assert find_passed_over([desk, PRESS], [late], NOW) == (desk,)
    assert _open([desk, PRESS], _by(2, Mode.CLEAR, "other", after=2 * HOUR)) == [
        (desk, 1),
        (PRESS, 1),
    ]
    waits = _step(DESK, within=HOUR)
    assert _open([waits, PRESS], late) == [(waits, 1)]
    assert find_open([desk, PRESS], [late], None) == find_open([desk, PRESS], [in_time], NOW)


def test_deputies_answer_only_once_it_is_late() -> None:
    desk = _step(DESK, within=HOUR, deputies=frozenset({"duty"}))
    assert _open([desk], _by(1, Mode.CLEAR, "duty", after=HOUR)) == []
    assert _open([desk], _by(1, Mode.CLEAR, "duty")) == [(desk, 1)]


def test_the_glass_passes_over_offices_and_never_an_approval() -> None:
    steps = [DESK, PRESS, MINISTER]
    broken = _by(1, Mode.BREAK_GLASS, "press")
    assert _open(steps, broken) == [(MINISTER, 1)]
    assert find_passed_over(steps, [broken], NOW) == (DESK,)
    assert find_passed_over(steps, [broken, _by(2, Mode.CLEAR, "desk")], NOW) == ()


def test_who_is_not_asked_is_not_asked() -> None:
    cleared = _by(1, Mode.CLEAR, "desk")
    assert is_asked([DESK, PRESS], [], cleared, NOW)
    assert not is_asked([DESK, PRESS], [cleared], _by(2, Mode.CLEAR, "desk"), NOW)
    late = _step(DESK, within=HOUR, proceeds=True)
    stranger = _by(3, Mode.APPROVE, "stranger", after=2 * HOUR)
    assert not is_asked([late, PRESS], [], stranger, NOW)


OFFICES = ("desk", "press", "minister", "duty")
_sets = st.frozensets(st.sampled_from(OFFICES), min_size=1)
_steps = st.builds(
    Step,
    mode=st.sampled_from([Mode.CLEAR, Mode.APPROVE]),
    offices=_sets,
    quorum=st.integers(1, 2),
    is_own=st.booleans(),
    within=st.sampled_from([None, HOUR]),
    proceeds=st.booleans(),
    deputies=st.frozensets(st.sampled_from(OFFICES), max_size=1),
)


@st.composite
def _decisions(draw: st.DrawFn) -> list[Decision]:
    modes = st.sampled_from(list(Mode))
    made = draw(st.lists(st.tuples(modes, _sets, st.booleans()), max_size=5))
    return [
        _by(number, mode, *offices, after=2 * HOUR if late else timedelta(0))
        for number, (mode, offices, late) in enumerate(made)
    ]


@given(st.lists(_steps, max_size=4), _decisions())
def test_another_decision_never_makes_more_missing(
    steps: list[Step], decisions: list[Decision]
) -> None:
    before = [dict(_open(steps, *decisions[:n])) for n in range(len(decisions) + 1)]
    totals = [sum(each.values()) for each in before]
    assert totals == sorted(totals, reverse=True)


@given(st.lists(_steps, min_size=1, max_size=4), _decisions())
def test_an_approving_step_is_closed_only_by_persons_who_approve_for_it(
    steps: list[Step], decisions: list[Decision]
) -> None:
    missing = {id(each.step): each.missing for each in find_open(steps, decisions, NOW)}
    for step in (each for each in steps if each.mode is Mode.APPROVE and id(each) not in missing):
        able = {
            each.person_id
            for each in decisions
            if each.mode.approves and each.offices & (step.offices | step.deputies)
        }
        assert len(able) >= step.quorum


@given(st.lists(_steps, max_size=3), _decisions())
def test_as_many_places_are_filled_as_can_be(steps: list[Step], decisions: list[Decision]) -> None:
    """Against trying every way to give each person to one step or to none."""
    own = [_step(each, is_own=True, proceeds=False, within=None) for each in steps]
    calm = [each for each in decisions if each.mode is not Mode.BREAK_GLASS]

    def fits(step: Step, decision: Decision) -> bool:
        able = step.mode is Mode.CLEAR or decision.mode.approves
        return able and bool(decision.offices & step.offices)

    best = 0
    for chosen in product([None, *range(len(own))], repeat=len(calm)):
        counts = [0] * len(own)
        for decision, place in zip(calm, chosen, strict=True):
            if place is not None and fits(own[place], decision):
                counts[place] += 1
        best = max(best, sum(map(min, counts, (each.quorum for each in own))))
    missing = sum(each.missing for each in find_open(own, calm, NOW))
    assert sum(each.quorum for each in own) - missing == best
