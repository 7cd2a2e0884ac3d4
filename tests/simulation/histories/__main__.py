"""Replay a history, or one made as short as it still fails: docs/simulation.md."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.simulation.histories.ablations import RULES
from tests.simulation.histories.acts import LENGTH, draw, shrink
from tests.simulation.histories.focus import ANYWHERE, FOCUS
from tests.simulation.histories.history import History, Script
from tests.simulation.histories.town import Town, found


def main() -> int:
    options = parse()
    town = found()
    try:
        return _run_all(town, options)
    finally:
        town.close()


def _run_all(town: Town, options: argparse.Namespace) -> int:
    rules, done, refused = Counter[str](), Counter[str](), Counter[str]()
    steps, started = 0, time.process_time()
    for seed in range(options.seed, options.seed + options.histories):
        options.seed = seed
        script = find_script(options)
        if options.shrink:
            script = shrink(town, script, options.ablate)
        history = History(town, script, options.ablate).execute()
        steps += history.steps
        done += history.done + Counter({"public": len(history.model.published)})
        refused += history.refusals
        if options.trace or history.broken:
            print("\n".join(history.trace if options.trace or options.shrink else ()))
        if history.broken:
            rules[history.broken[0]] += 1
            print(describe(history))
    took_s = time.process_time() - started
    print(
        f"{options.histories} histories, {steps} steps, {steps / took_s:.0f} a second,"
        f" broken: {dict(rules)}; done: {dict(done)}; refused: {dict(refused)}",
        file=sys.stderr,
    )
    return 1 if rules else 0


def describe(history: History) -> str:
    """What broke, in which history, and how to see it again."""
    first, script = history.model.broken[0], history.script
    words = [f"python -m tests.simulation.histories --seed {script.seed} --length {script.length}"]
    words += [f"--focus {script.focus}"] if script.focus else []
    words += [f"--ablate {history.ablated}"] if history.ablated else []
    return f"{first.rule}: {first.what}\n    {' '.join(words)}"


def find_script(options: argparse.Namespace) -> Script:
    focus = FOCUS[options.focus] if options.focus else ANYWHERE
    return draw(options.seed, length=options.length, focus=focus)


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.histories")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--histories", type=int, default=1)
    parser.add_argument("--length", type=int, default=LENGTH, help="acts of a history")
    parser.add_argument("--focus", choices=FOCUS, help="draw what shows that this rule is missing")
    parser.add_argument("--ablate", choices=RULES, help="take a rule out")
    parser.add_argument("--trace", action="store_true", help="tell every step")
    parser.add_argument("--shrink", action="store_true", help="leave out what is not needed")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
