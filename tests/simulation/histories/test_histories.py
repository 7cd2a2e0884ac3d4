"""No history makes one human enough: each is judged by what the test has seen people do, not by what the product says.

A history is some forty acts with the real services on a real database: rights given and taken, codes handed over or
kept, posts written, approved and taken back, policies and postures, rows changed by hand, jobs rung twice or forged,
and the engine's own steps to a platform in memory. `docs/simulation.md` names the rules.
"""

from collections import Counter
from collections.abc import Iterable

import pytest

from tests.simulation.histories.__main__ import describe, find_script, parse
from tests.simulation.histories.ablations import RULES
from tests.simulation.histories.acts import draw, shrink
from tests.simulation.histories.focus import ANYWHERE, FOCUS
from tests.simulation.histories.history import History
from tests.simulation.histories.rows import PLACES, TAMPERINGS, Tampering
from tests.simulation.histories.town import Town

CHUNKS, CHUNK = 6, 10
LONG_CHUNKS, LONG_CHUNK = 60, 100
#: What must tell of a missing rule; it may show in several ways.
CAUGHT_BY = {
    "duties": {"own_words"},
    "cooldown": {"young_role"},
    "suspension": {"young_sign_in", "puppet_approves", "puppet_confirms"},
    "second_admin": {"one_admin"},
    "roles": {"no_role", "young_sign_in"},
    "policy": {"policy"},
    "digest": {"bytes", "early"},
    "posture": {"posture"},
    "instant": {"early"},
    "receipts": {"twice"},
    "seals": {"no_role", "young_role", "young_sign_in", "one_admin"},
}
#: Histories within which each has to be caught: where it matters, and anywhere.
WITHIN, WITHIN_ANYWHERE = 80, 2000


def _run(town: Town, seeds: Iterable[int], length: int) -> tuple[Counter[str], Counter[str]]:
    """What was done and what was refused, if nothing is broken."""
    done, refused = Counter[str](), Counter[str]()
    for seed in seeds:
        history = History(town, draw(seed, length=length)).execute()
        assert not history.broken, describe(history)
        done += history.done + Counter({"public": len(history.model.published)})
        refused += history.refusals
    return done, refused


@pytest.mark.timeout(600)
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_no_single_person_publishes_and_no_blocked_post_leaves(town: Town, chunk: int) -> None:
    done, refused = _run(town, range(chunk * CHUNK, (chunk + 1) * CHUNK), 40)
    assert done["public"] >= CHUNK
    assert {"draft", "push_through", "enrol", "propose", "wait", "stop"} <= done.keys()
    assert {"permission_denied", "policy_blocked"} <= refused.keys()


def test_whoever_is_enrolled_again_after_they_approved_had_the_right_when_they_approved(
    town: Town,
) -> None:
    """Approved 30 ms before a new code, published when the day after it was over."""
    _run(town, (488,), 80)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("chunk", range(LONG_CHUNKS))
def test_no_single_person_publishes_in_long_histories(town: Town, chunk: int) -> None:
    first = CHUNKS * CHUNK + chunk * LONG_CHUNK
    _run(town, range(first, first + LONG_CHUNK), 80)


def _find_catch(town: Town, rule: str, most: int, *, focused: bool) -> tuple[int, History]:
    for seed in range(1, most + 1):
        script = draw(seed, focus=FOCUS[rule] if focused else ANYWHERE)
        history = History(town, script, rule).execute()
        if history.broken:
            return seed, history
    raise AssertionError(f"{rule} is not missed in {most} histories")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("rule", RULES)
def test_a_missing_rule_is_caught_where_it_matters(town: Town, rule: str) -> None:
    number, history = _find_catch(town, rule, WITHIN, focused=True)
    assert history.broken[0] in CAUGHT_BY[rule], describe(history)
    for seed in range(1, number + 1):  # the unswitched control
        assert not History(town, draw(seed, focus=FOCUS[rule])).execute().broken


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("rule", RULES)
def test_a_missing_rule_is_caught_anywhere(town: Town, rule: str) -> None:
    number, history = _find_catch(town, rule, WITHIN_ANYWHERE, focused=False)
    print(f"{rule}: caught in history {number} by {history.model.broken[0]}")
    assert not History(town, draw(number)).execute().broken


def test_a_history_is_replayed_step_by_step(town: Town) -> None:
    first = History(town, draw(7)).execute()
    History(town, draw(8)).execute()  # whatever ran in between
    assert History(town, draw(7)).execute().trace == first.trace
    assert History(town, draw(8)).execute().trace != first.trace


def test_a_failing_history_is_made_shorter_and_tells_how_to_see_it(town: Town) -> None:
    script = draw(1, focus=FOCUS["receipts"])
    history = History(town, script, "receipts").execute()
    short = shrink(town, script, "receipts")
    assert len(short.steps) < history.steps
    assert History(town, short, "receipts").execute().broken[0] == history.broken[0] == "twice"
    told = describe(history)
    assert told.startswith("twice: ")
    options = parse(told.splitlines()[-1].split()[3:])
    assert find_script(options) == script


@pytest.mark.parametrize("what", TAMPERINGS, ids=lambda each: each.name)
def test_each_statement_of_those_who_change_rows_is_one_that_the_database_knows(
    town: Town, what: Tampering
) -> None:
    """A misspelt column would be no attack."""
    for statement in what.statements:
        town.store.monitor.execute(f"EXPLAIN {statement}", dict.fromkeys(PLACES, ""))
