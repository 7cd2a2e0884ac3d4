"""What judging a post costs: the posts of the practice scenario, by a ministry's 52 rules, on one core.

    python -m bench.policy

`search` is looking in the texts for the terms of all lists, `read` is what else is worked out of them (links,
sentences, times, …), and `rules` is asking all rules of a post that was read. The ratio is to `search` of the same run.
"""

import json
import time
from collections.abc import Callable
from statistics import median
from typing import TypeVar

from scheduler.policy.declaring import read_facts
from scheduler.policy.evaluation import judge
from scheduler.policy.rules import Policy
from scheduler.policy.scenario import read_scenario
from scheduler.policy.shipped import read_shipped
from scheduler.policy.source import node_of
from scheduler.practice.scenario import DEFAULT_FILE

ROUNDS = 20

T = TypeVar("T")


def main() -> None:
    started = time.process_time()
    policy = Policy.load(read_shipped("ministry"))
    print(
        json.dumps(
            {"name": "policy.load", "value": _ms(time.process_time() - started), "unit": "ms"}
        )
    )
    world = read_scenario(DEFAULT_FILE.name, DEFAULT_FILE.read_text())
    posts = [read_facts(node_of(world.facts_of(each), "post")) for each in world.posts]
    readings = [policy.read(facts) for facts in posts]
    search = _median(policy.read, posts)
    whole = _median(lambda facts: judge(policy, policy.read(facts)), posts)
    rules = _median(lambda reading: judge(policy, reading), readings)
    for name, value in (("search", search), ("read", whole - search - rules), ("rules", rules)):
        line = {
            "name": f"policy.{name}",
            "value": round(value, 1),
            "unit": "us a post",
            "ratio": round(value / search, 2),
            "posts": len(posts),
            "rules": len(policy.rules),
        }
        print(json.dumps(line))


def _median(ask: Callable[[T], object], posts: list[T]) -> float:
    """Microseconds of CPU a post; the median of the rounds."""
    took = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for facts in posts:
            ask(facts)
        took.append((time.process_time() - started) / len(posts) * 1e6)
    return median(took)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


if __name__ == "__main__":
    main()
