"""The whole engine under faults: every run of the grid keeps every invariant."""

from collections import Counter
from dataclasses import dataclass, field

import pytest

from tests.simulation.__main__ import describe
from tests.simulation.cases import Case, cell_of, make_case
from tests.simulation.faults import CELLS, Fault, Kind, Point, why_meaningless
from tests.simulation.ministry import Ministry
from tests.simulation.run import Run

#: How often `make test` walks through the grid.
ROUNDS = 2
LONG_ROUNDS = 20
CHUNKS = 18
LONG_CHUNKS = 180
ANYWHERE = 9_000


@dataclass(slots=True)
class Tally:
    runs: int = 0
    hits: Counter[tuple[Kind, Point, Fault]] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def add(self, ministry: Ministry, case: Case) -> None:
        run = Run(ministry, case).execute()
        self.runs += 1
        if run.invariants.broken:
            self.broken.append(describe(run))
        if case.point is not None and case.fault is not None and run.hits:
            self.hits[case.kind, case.point, case.fault] += 1


def _run_grid(ministry: Ministry, numbers: range) -> Tally:
    tally = Tally()
    for number in numbers:
        kind, point, fault = cell_of(number)
        tally.add(ministry, make_case(number, kind=kind, point=point, fault=fault))
    return tally


def _chunk(index: int, chunks: int, runs: int) -> range:
    return range(index * runs // chunks, (index + 1) * runs // chunks)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_every_cell_of_the_grid_keeps_every_invariant(ministry: Ministry, chunk: int) -> None:
    numbers = _chunk(chunk, CHUNKS, ROUNDS * len(CELLS))
    tally = _run_grid(ministry, numbers)
    assert not tally.broken, "\n".join(tally.broken)
    assert tally.runs == len(numbers)
    assert tally.hits.total() > len(numbers) * 0.6  # most runs meet the fault of their cell


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("chunk", range(LONG_CHUNKS))
def test_twenty_seeds_a_cell_keep_every_invariant(ministry: Ministry, chunk: int) -> None:
    first = ROUNDS * len(CELLS)
    runs = _chunk(chunk, LONG_CHUNKS, LONG_ROUNDS * len(CELLS))
    tally = _run_grid(ministry, range(first + runs.start, first + runs.stop))
    assert not tally.broken, "\n".join(tally.broken)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("chunk", range(LONG_CHUNKS))
def test_runs_with_any_number_of_faults_keep_every_invariant(
    ministry: Ministry, chunk: int
) -> None:
    tally = Tally()
    for seed in _chunk(chunk, LONG_CHUNKS, ANYWHERE):
        tally.add(ministry, make_case(seed))
    assert not tally.broken, "\n".join(tally.broken)


@pytest.mark.parametrize("seed", [334])
def test_a_clock_that_jumps_frees_no_account_whose_request_is_under_way(
    ministry: Ministry, seed: int
) -> None:
    """Found by the long runs: the other worker took the delivery back, and sent the account's next one."""
    tally = Tally()
    tally.add(ministry, make_case(seed))
    assert not tally.broken, tally.broken[0]


def test_each_combination_is_tried_or_has_its_reason() -> None:
    left_out = Counter(
        why
        for point in Point
        for fault in Fault
        if (why := why_meaningless(point, fault)) is not None
    )
    assert len(Kind) * len(Point) * len(Fault) == 672
    assert len(CELLS) + len(Kind) * left_out.total() == 672
    assert sorted(left_out.values()) == [1, 2, 4, 16, 18]


@pytest.mark.parametrize("fault", list(Fault))
def test_a_run_with_this_fault_is_replayed_step_by_step(ministry: Ministry, fault: Fault) -> None:
    cases = (make_case(seed, point=Point.AFTER_INTENT, fault=fault) for seed in range(7, 17))
    runs = (Run(ministry, case).execute() for case in cases)
    first = next(run for run in runs if run.hits)
    Run(ministry, make_case(8)).execute()  # whatever ran in between
    again = Run(ministry, first.case).execute()
    assert (again.digest, again.trace) == (first.digest, first.trace)


def test_other_seeds_are_other_runs(ministry: Ministry) -> None:
    assert len({Run(ministry, make_case(seed)).execute().digest for seed in range(20)}) == 20
