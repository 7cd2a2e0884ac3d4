"""Makes a failing run smaller: fewer faults, no chance events, a plainer scene, as long as the same rule breaks."""

from collections.abc import Iterator

from tests.simulation.cases import Case, spell_out
from tests.simulation.faults import Strike
from tests.simulation.ministry import Ministry
from tests.simulation.run import Run

#: Another plan is another schedule: the smaller run may break with another seed.
_SEEDS = 12


def shrink(ministry: Ministry, case: Case) -> Case:
    """The smallest case found that breaks the same rule; the case itself when nothing smaller does."""
    rule = broken_rule(ministry, case)
    while rule is not None and (smaller := _find_smaller(ministry, case, rule)) is not None:
        case = smaller
    return case


def broken_rule(ministry: Ministry, case: Case) -> str | None:
    broken = Run(ministry, case).execute().invariants.broken
    return broken[0].rule if broken else None


def _find_smaller(ministry: Ministry, case: Case, rule: str) -> Case | None:
    for strikes, scene, quiet in _candidates(case):
        for seed in range(case.seed, case.seed + _SEEDS):
            tried = spell_out(case, seed, strikes, scene, quiet=quiet)
            if broken_rule(ministry, tried) == rule:
                return tried
    return None


def _candidates(case: Case) -> Iterator[tuple[tuple[Strike, ...], str, bool]]:
    for index in range(len(case.strikes)):
        yield case.strikes[:index] + case.strikes[index + 1 :], case.scene, case.quiet
    if not case.quiet:
        yield case.strikes, case.scene, True
    if case.scene != "text":
        yield case.strikes, "text", case.quiet
