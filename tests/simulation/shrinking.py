"""Makes a failing run smaller: fewer faults, no chance events, a plainer scene, as long as the same rule breaks."""

from collections.abc import Iterator
from dataclasses import replace

from tests.simulation.cases import Case
from tests.simulation.ministry import Ministry
from tests.simulation.run import Run

#: Another plan is another schedule: the smaller run may break with another seed.
_SEEDS = 12


def shrink(ministry: Ministry, case: Case) -> Case:
    """The smallest case found that breaks the same rule; the case itself when nothing smaller does."""
    rule = broken_rule(ministry, case)
    while smaller := _find_smaller(ministry, case, rule):
        case = smaller
    return case


def broken_rule(ministry: Ministry, case: Case) -> str | None:
    broken = Run(ministry, case).execute().invariants.broken
    return broken[0].rule if broken else None


def _find_smaller(ministry: Ministry, case: Case, rule: str | None) -> Case | None:
    for smaller in _candidates(case):
        for seed in range(case.seed, case.seed + _SEEDS):
            tried = replace(smaller, seed=seed, drawn=False)
            if rule is not None and broken_rule(ministry, tried) == rule:
                return tried
    return None


def _candidates(case: Case) -> Iterator[Case]:
    for index in range(len(case.strikes)):
        yield replace(case, strikes=case.strikes[:index] + case.strikes[index + 1 :])
    if not case.quiet:
        yield replace(case, quiet=True)
    if case.scene != "text":
        yield replace(case, scene="text")
    if case.renews:
        yield replace(case, renews=False)
