"""Replay a run, many runs, or a run made as small as it still fails: docs/simulation.md."""

import argparse
import gc
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.simulation.ablations import RULES
from tests.simulation.cases import Case, cell_of, make_case, spell_out
from tests.simulation.faults import Fault, Kind, Point, Strike
from tests.simulation.ministry import SCENES, Ministry, found
from tests.simulation.run import Run
from tests.simulation.shrinking import shrink


def main() -> int:
    options = parse()
    ministry = found()
    gc.collect()
    gc.freeze()
    try:
        return _run_all(ministry, options)
    finally:
        ministry.close()


def _run_all(ministry: Ministry, options: argparse.Namespace) -> int:
    rules: Counter[str] = Counter()
    crashes: Counter[str] = Counter()
    hit = 0
    started = time.process_time()
    for seed in range(options.seed, options.seed + options.runs):
        run = Run(ministry, find_case(options, seed)).execute()
        hit += bool(run.hits)
        crashes.update(run.crashes)
        if options.trace:
            print("\n".join(f"{at:12.4f}  {what}" for at, what in run.trace))
        if run.invariants.broken:
            rules[run.invariants.broken[0].rule] += 1
            if rules.total() <= options.show:
                print(describe(run))
                if options.shrink:
                    print(f"    smaller: {shrink(ministry, run.case).command}")
            if options.first:
                print(f"first catch: run {seed - options.seed + 1}")
                break
    each_ms = (time.process_time() - started) / options.runs * 1000
    print(
        f"{options.runs} runs, {rules.total()} broken {dict(rules)}, {hit} with a fault that hit,"
        f" {each_ms:.1f} ms of CPU a run; crashes caught by the engine: {dict(crashes)}",
        file=sys.stderr,
    )
    return 1 if rules else 0


def describe(run: Run) -> str:
    """What broke, in which run, and how to see it again."""
    first = run.invariants.broken[0]
    strikes = ", ".join(map(str, run.case.strikes)) or "no fault"
    return f"{first.rule}: {first.what}\n    {run.case.scene}: {strikes}\n    {run.case.command} --trace"


def find_case(options: argparse.Namespace, seed: int) -> Case:
    """The run of this seed, as the options say."""
    kind, point, fault = options.kind, options.point, options.fault
    if options.grid:
        kind, point, fault = cell_of(seed)
    case = make_case(
        seed,
        kind=kind and Kind(kind),
        point=point and Point(point),
        fault=fault and Fault(fault),
        ablated=frozenset(options.ablate),
        patient=options.patient,
    )
    if options.strikes is None and options.scene is None and not options.quiet:
        return case
    strikes, scene = case.strikes, options.scene or case.scene
    if options.strikes is not None:
        told = [] if options.strikes == "none" else options.strikes.split(",")
        strikes = tuple(map(Strike.parse, told))
    return spell_out(case, seed, strikes, scene, quiet=options.quiet)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    add = parser.add_argument
    add("--seed", type=int, default=1)
    add("--runs", type=int, default=1)
    add("--grid", action="store_true", help="walk through the cells of the grid")
    add("--class", dest="kind", choices=list(Kind))
    add("--point", choices=list(Point))
    add("--fault", choices=list(Fault))
    add("--strikes", help="spelled out: kill@after_intent#1,… or none")
    add("--scene", choices=SCENES)
    add("--quiet", action="store_true", help="no chance events")
    add("--patient", action="store_true", help="servers never close an idle connection")
    add("--ablate", action="append", default=[], choices=list(RULES))
    add("--first", action="store_true", help="stop at the first run that breaks")
    add("--trace", action="store_true")
    add("--shrink", action="store_true")
    add("--show", type=int, default=10)
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
