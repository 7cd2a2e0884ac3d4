"""Each rule taken out of the product's path is caught, and the same seeds are whole with the rule in its place."""

from dataclasses import replace

import pytest

from tests.simulation.ablations import RULES
from tests.simulation.cases import Case, make_case
from tests.simulation.faults import Fault, Kind, Point
from tests.simulation.ministry import Ministry
from tests.simulation.run import Run

#: Where a missing rule shows soonest; the long test looks everywhere.
FOCUS = {
    "R1": (Kind.LOOKUP, Point.AFTER_EFFECT, Fault.KILL),
    "R2": (Kind.LOOKUP, Point.AFTER_INTENT, Fault.STOP_60S),
    "R3": (Kind.LOOKUP, Point.AFTER_BODY, Fault.RESET),
    "R4": (Kind.PLAIN, Point.AFTER_EFFECT, Fault.BLACK_HOLE),
    "R5": (Kind.IDEMPOTENT, Point.DURING_UPLOAD, Fault.CLOCK_JUMP),
    "R6": (Kind.PLAIN, Point.AFTER_CONNECT, Fault.BLACK_HOLE),
    "R7": (Kind.PLAIN, Point.AFTER_CLAIM, Fault.REDIS),
    "R8": (Kind.LOOKUP, Point.AFTER_CLAIM, Fault.REDIS),
    "R9": (Kind.PLAIN, Point.AFTER_EFFECT, Fault.RESET),
    "R10": (Kind.IDEMPOTENT, Point.AFTER_BODY, Fault.RESET),
}
#: What must tell of it; a broken rule may show in several ways.
CAUGHT_BY = {
    "R1": {"I1", "I2"},
    "R2": {"I1", "I2"},  # it leaves after a look has shown it absent: twice, or while held
    "R3": {"I1", "R6"},
    "R4": {"I1"},
    "R5": {"R5", "I2", "I6"},
    "R6": {"R6"},
    "R7": {"I3", "I4", "I5"},
    "R8": {"I5", "I8", "R5"},
    "R9": {"I1", "I2"},
    "R10": {"I1"},
}
WITHIN = 1000


def _first_catch(ministry: Ministry, rule: str, cases: list[Case]) -> tuple[int, Run]:
    for number, case in enumerate(cases, start=1):
        run = Run(ministry, replace(case, ablated=frozenset({rule}))).execute()
        if run.invariants.broken:
            return number, run
    raise AssertionError(f"{rule} is not missed in {len(cases)} runs")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rule", RULES)
def test_a_missing_rule_is_caught_where_it_matters(ministry: Ministry, rule: str) -> None:
    kind, point, fault = FOCUS[rule]
    cases = [make_case(seed, kind=kind, point=point, fault=fault) for seed in range(1, 301)]
    number, run = _first_catch(ministry, rule, cases)
    assert run.invariants.broken[0].rule in CAUGHT_BY[rule]
    for case in cases[:number]:  # the unswitched control
        assert not Run(ministry, case).execute().invariants.broken


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("rule", RULES)
def test_a_missing_rule_is_caught_within_a_thousand_runs_anywhere(
    ministry: Ministry, rule: str
) -> None:
    number, run = _first_catch(ministry, rule, [make_case(seed) for seed in range(1, WITHIN + 1)])
    print(f"{rule}: caught in run {number} by {run.invariants.broken[0]}")
    assert not Run(ministry, make_case(number)).execute().invariants.broken


def test_an_unknown_rule_cannot_be_switched_off(ministry: Ministry) -> None:
    case = replace(make_case(1), ablated=frozenset({"R11"}))
    with pytest.raises(ValueError, match="no such rule"):
        Run(ministry, case)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_switch_is_back_in_its_place_after_the_run(ministry: Ministry, rule: str) -> None:
    before = Run(ministry, make_case(3)).execute().digest
    Run(ministry, replace(make_case(3), ablated=frozenset({rule}))).execute()
    assert Run(ministry, make_case(3)).execute().digest == before
