"""The simulation's own parts: what a failing run prints leads back to it, and a hit process is really hit."""

import asyncio
from random import Random

import pytest

from tests.simulation.__main__ import describe, find_case, parse
from tests.simulation.cases import Case, make_case, spell_out
from tests.simulation.faults import Fault, Kind, Point, Strike
from tests.simulation.loop import OUTSIDE, PROCESS, Process, SimLoop
from tests.simulation.ministry import Ministry
from tests.simulation.run import Run
from tests.simulation.shrinking import shrink


def _quiet(seed: int, kind: Kind, *strikes: str, scene: str = "text") -> Case:
    told = tuple(map(Strike.parse, strikes))
    return spell_out(make_case(seed, kind=kind), seed, told, scene, quiet=True)


@pytest.mark.parametrize("seed", range(5))
def test_the_printed_command_is_the_run(seed: int) -> None:
    for case in (
        make_case(seed),
        make_case(seed, point=Point.AFTER_BODY, fault=Fault.KILL),
        make_case(seed, ablated=frozenset({"R4", "R10"}), patient=True),
        _quiet(seed, Kind.PLAIN),
        _quiet(seed, Kind.LOOKUP, "kill@after_intent#2", "redis@after_claim#1", scene="pair"),
    ):
        options = parse(case.command.split()[3:])
        assert find_case(options, options.seed) == case


def test_a_failing_run_tells_its_rule_and_its_command(ministry: Ministry) -> None:
    run = Run(ministry, make_case(5, ablated=frozenset({"R1"}))).execute()
    told = describe(run)
    assert told.startswith("I2: a request without a committed intent")
    assert f"python -m tests.simulation --seed 5 --class {run.case.kind} --ablate R1" in told


def test_a_failing_run_is_made_smaller(ministry: Ministry) -> None:
    case = make_case(11, point=Point.AFTER_CLAIM, fault=Fault.REDIS, ablated=frozenset({"R1"}))
    small = shrink(ministry, case)
    assert (small.strikes, small.scene, small.quiet) == ((), "text", True)
    assert Run(ministry, small).execute().invariants.broken


def test_a_run_that_keeps_every_rule_is_not_made_smaller(ministry: Ministry) -> None:
    case = make_case(3)
    assert shrink(ministry, case) is case


@pytest.mark.parametrize("point", [Point.BEFORE_INTENT, Point.AFTER_INTENT, Point.AFTER_EFFECT])
def test_a_killed_worker_does_nothing_more_and_another_one_goes_on(
    ministry: Ministry, point: Point
) -> None:
    run = Run(ministry, _quiet(1, Kind.LOOKUP, f"kill@{point}#1")).execute()
    [(struck_s, struck)] = [(at, what) for at, what in run.trace if "hits" in what]
    name = struck.split()[-1]
    after = [what for at, what in run.trace if at > struck_s]
    assert not [what for what in after if what.startswith((f"{name}:", f"{name} logs"))]
    assert "worker three starts" in after
    assert [row["state"] for row in ministry.store.deliveries.values()] == ["verified"]
    assert len(run.server.public()) == 1


def test_a_paused_worker_goes_on_later_and_finds_its_claim_gone(ministry: Ministry) -> None:
    run = Run(ministry, _quiet(1, Kind.LOOKUP, "stop_60s@before_record#1")).execute()
    told = [what for _, what in run.trace]
    assert any("unknown -> sent" in what for what in told)
    assert any("step.overtaken" in line for line in run.logged)
    assert len(run.server.public()) == 1


def test_time_passes_only_when_nobody_has_anything_to_do() -> None:
    loop = SimLoop(Random(1))
    seen: list[tuple[float, str]] = []

    async def wait(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((loop.time(), name))

    begun = loop.time()
    for name, seconds in (("hour", 3600), ("now", 0), ("minute", 60)):
        loop.create_task(wait(name, seconds))
    loop.run_while(lambda: len(seen) < 3)
    assert seen == [(begun, "now"), (begun + 60, "minute"), (begun + 3600, "hour")]
    loop.close()


def test_steps_of_a_process_keep_their_order_and_processes_do_not() -> None:
    def order(seed: int) -> list[str]:
        loop, seen = SimLoop(Random(seed)), list[str]()
        for name in "ab":
            process = Process(name)
            loop.processes.append(process)
            token = PROCESS.set(process)
            for number in range(4):
                loop.call_soon(seen.append, f"{name}{number}")
            PROCESS.reset(token)
        loop.run_while(lambda: len(seen) < 8)
        loop.close()
        return seen

    found = [order(seed) for seed in range(20)]
    assert order(3) == found[3]
    assert len({tuple(each) for each in found}) > 5
    for each in found:
        assert [step for step in each if step[0] == "a"] == ["a0", "a1", "a2", "a3"]
    assert not OUTSIDE.ready
