"""Replay a run, many runs, or a run made as small as it still fails: docs/simulation.md."""

import argparse
import gc
import sys
import time

from tests.simulation.ablations import RULES
from tests.simulation.cases import Case, make_case
from tests.simulation.faults import Fault, Kind, Point
from tests.simulation.ministry import found
from tests.simulation.run import Run


def main() -> int:
    options = _parse()
    ministry = found()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)
    try:
        return _run(ministry, options)
    finally:
        ministry.close()


def _run(ministry, options) -> int:  # type: ignore[no-untyped-def]
    broken = 0
    started = time.process_time()
    for seed in range(options.seed, options.seed + options.runs):
        case = _case(options, seed)
        run = Run(ministry, case).execute()
        if options.trace:
            for at, what in run.trace:
                print(f"{at:12.4f}  {what}")
        if run.invariants.broken:
            broken += 1
            if broken <= options.show:
                first = run.invariants.broken[0]
                print(f"{first.rule}: {first.what}\n    {', '.join(map(str, case.strikes))} {case.scene}\n    {case.command}")
    seconds = time.process_time() - started
    print(f"{options.runs} runs, {broken} broken, {seconds / options.runs * 1000:.1f} ms of CPU a run", file=sys.stderr)
    return 1 if broken else 0


def _case(options, seed: int) -> Case:  # type: ignore[no-untyped-def]
    return make_case(
        seed,
        kind=options.kind and Kind(options.kind),
        point=options.point and Point(options.point),
        fault=options.fault and Fault(options.fault),
        ablated=frozenset(options.ablate),
        patient=options.patient,
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--class", dest="kind", choices=list(Kind))
    parser.add_argument("--point", choices=list(Point))
    parser.add_argument("--fault", choices=list(Fault))
    parser.add_argument("--ablate", action="append", default=[], choices=list(RULES))
    parser.add_argument("--patient", action="store_true")
    parser.add_argument("--trace", action="store_true")
    parser.add_argument("--shrink", action="store_true")
    parser.add_argument("--show", type=int, default=10)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
