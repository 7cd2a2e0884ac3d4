"""Workflows as a policy's files say them, and every way to write them wrongly."""

from datetime import timedelta

import pytest

from scheduler.policy.clearance import Mode
from scheduler.policy.facts import PostFacts
from scheduler.policy.rules import Policy
from scheduler.policy.source import PolicyInvalidError
from scheduler.policy.workflows import BreakGlass, find_workflow

HEAD = "format: 2\nversion: test-1\nrules: []\n"
STATEMENT = """
workflows:
  - id: statement
    title: Statements
    when: {class: [statement]}
    steps:
      - {clear: [desk_officer, desk.east], within: 90, late: proceed}
      - {approve: spokesperson, quorum: 2, within: 120, deputies: [press]}
    inform: [head_of_mission]
  - id: rest
    title: All others
    steps: [{approve: supervisor}]
break_glass: {by: spokesperson, quota: 2, days: 30}
"""


def _load(text: str) -> Policy:
    return Policy.load({"policy.yaml": HEAD + text})


def _find(policy: Policy, post_class: str) -> str | None:
    reading = policy.read(PostFacts.of(post_class, {"en": "Good morning from Lipovec!"}))
    place = find_workflow(policy.workflows, reading)
    return None if place is None else policy.workflows[place].id


def test_a_workflow_says_who_decides_by_when_and_who_is_told() -> None:
    policy = _load(STATEMENT)
    desk, press = policy.workflows[0].steps
    assert (desk.mode, desk.offices) == (Mode.CLEAR, {"desk_officer", "desk.east"})
    assert (desk.within, desk.proceeds, desk.quorum) == (timedelta(minutes=90), True, 1)
    assert (press.mode, press.offices, press.quorum) == (Mode.APPROVE, {"spokesperson"}, 2)
    assert (press.within, press.proceeds, press.deputies) == (
        timedelta(hours=2),
        False,
        {"press"},
    )
    assert all(each.is_own and not each.rule for each in (desk, press))
    assert policy.workflows[0].inform == ("head_of_mission",)
    assert policy.break_glass == BreakGlass(office="spokesperson", quota=2, days=30)


def test_the_first_workflow_that_is_for_the_post_is_its_own() -> None:
    policy = _load(STATEMENT)
    assert [_find(policy, each) for each in ("statement", "routine")] == ["statement", "rest"]
    assert _find(_load(""), "routine") is None
    narrow = _load(STATEMENT.split("  - id: rest", maxsplit=1)[0])
    assert _find(narrow, "routine") is None
    assert narrow.break_glass is None


def test_workflows_of_several_files_add_up_and_are_part_of_the_digest() -> None:
    one = "workflows: [{id: a, title: A, when: {class: event}, steps: [{approve: supervisor}]}]\n"
    two = "workflows: [{id: b, title: B, steps: [{approve: supervisor}]}]\n"
    both = Policy.load({"a.yaml": HEAD + one, "b.yaml": two})
    assert [each.id for each in both.workflows] == ["a", "b"]
    assert both.digest != Policy.load({"a.yaml": HEAD + one}).digest


def test_terms_in_a_condition_are_found() -> None:
    policy = _load(
        "workflows:\n"
        "  - {id: visit, title: V, when: {text: {has: [state visit]}}, steps: [{approve: chief}]}\n"
    )
    for text, found in (("The State Visit begins.", 0), ("The visit begins.", None)):
        reading = policy.read(PostFacts.of("routine", {"en": text}))
        assert find_workflow(policy.workflows, reading) == found


STEPS = "workflows: [{{id: a, title: A, steps: {}}}]"
WHEN = "workflows: [{{id: {}, title: A, steps: [{{approve: a}}]}}]"
MANY = ", ".join(["{approve: a}"] * 21)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (STEPS.format("[]"), "needs a step that approves"),
        (STEPS.format("[{clear: desk}]"), "needs a step that approves"),
        (STEPS.format("[{quorum: 2}]"), "needs `clear` or `approve`"),
        (STEPS.format("[{clear: a, approve: a}]"), "needs `clear` or `approve`"),
        (STEPS.format("[{approve: []}]"), "at least one office"),
        (STEPS.format("[{approve: The Minister}]"), "small letters"),
        (STEPS.format("[{approve: a, quorum: 0}]"), "from 1 to 10"),
        (STEPS.format("[{approve: a, quorum: 11}]"), "from 1 to 10"),
        (STEPS.format("[{approve: a, quorum: true}]"), "from 1 to 10"),
        (STEPS.format("[{approve: a, within: 1.5}]"), "from 1 to 43200"),
        (STEPS.format("[{approve: a, late: proceed, within: 9}]"), "cannot be passed over"),
        (STEPS.format("[{clear: a, late: proceed}, {approve: a}]"), "need `within`"),
        (STEPS.format("[{clear: a, deputies: b}, {approve: a}]"), "need `within`"),
        (STEPS.format("[{clear: a, late: soon, within: 9}, {approve: a}]"), "wait or proceed"),
        (STEPS.format("[{approve: a, veto: b}]"), "veto"),
        (STEPS.format(f"[{MANY}]"), "more than 20 steps"),
        ("workflows: [{id: a b, title: A, steps: [{approve: a}]}]", "an id is letters"),
        ("workflows: [{id: a, steps: [{approve: a}]}]", "title"),
        (
            STEPS.format("[{approve: a}]")[:-1] + ", {id: b, title: A, steps: [{approve: a}]}]",
            "never asked: a, before it",
        ),
        (
            WHEN.format("a, when: {class: x}")[:-1]
            + WHEN.format("a").replace("workflows: [", ", "),
            "given twice",
        ),
        ("break_glass: {by: a, quota: 1}", "days"),
        ("break_glass: {by: a, quota: 101, days: 1}", "from 1 to 100"),
        ("break_glass: [a]", "mapping"),
    ],
)
def test_a_fault_is_named_with_its_place(text: str, told: str) -> None:
    with pytest.raises(PolicyInvalidError, match=r"policy\.yaml:\d+: ") as caught:
        _load(text)
    assert told in str(caught.value)


def test_there_are_at_most_a_hundred_workflows() -> None:
    rows = "".join(
        f"  - {{id: w{n}, title: W, when: {{class: c}}, steps: [{{approve: a}}]}}\n"
        for n in range(101)
    )
    with pytest.raises(PolicyInvalidError, match="more than 100 workflows"):
        _load("workflows:\n" + rows)
