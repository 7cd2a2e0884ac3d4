"""The policies that come with the program, on their own examples and on the scenario of the practice ministry."""

import json
from typing import Any

import pytest

from adapters.capabilities import fits
from scheduler.policy.declaring import read_facts
from scheduler.policy.evaluation import find_case
from scheduler.policy.examples import find_untried, try_examples
from scheduler.policy.rules import Policy
from scheduler.policy.scenario import play, read_scenario
from scheduler.policy.shipped import REGISTRIES, Name, read_shipped
from scheduler.policy.source import PolicyInvalidError, node_of
from scheduler.practice.scenario import DEFAULT_FILE

RULES = {name: text for name, text in read_shipped("ministry").items() if name != REGISTRIES}


@pytest.mark.parametrize(("name", "rules"), [("neutral", 4), ("ministry", 52)])
def test_every_rule_passes_and_applies_as_its_examples_say(name: Name, rules: int) -> None:
    policy = Policy.load(read_shipped(name))
    trials = list(try_examples(policy))
    assert len(policy.rules) == rules
    assert len(trials) >= 2 * rules
    assert [each for each in trials if not each.is_right] == []
    assert find_untried(policy) == []


def test_the_findings_on_every_post_of_the_scenario_are_exact() -> None:
    world = read_scenario("lipovec.json", DEFAULT_FILE.read_text())
    verdicts = list(play(RULES, world, fits))
    assert len(verdicts) == 122
    assert [(each.post, each.expected ^ each.found) for each in verdicts if not each.is_exact] == []
    assert [each.post for each in verdicts if each.state != each.expected_state] == []


def test_names_come_from_the_file_alone() -> None:
    """The same posts in a world whose glossary, hosts and hashtags are others."""
    content = json.loads(DEFAULT_FILE.read_text())
    content["glossary"] = [{"term": "Lipovec", "lang": "en", "deny": ["Lipowitz"], "rule": "R01"}]
    content["link_allowlist"] = []
    content["posts"] = [each for each in content["posts"] if each["id"] in {"P009", "P002"}]
    found = {
        each.post: {rule for rule, _ in each.found}
        for each in play(RULES, read_scenario("other.json", json.dumps(content)), fits)
    }
    assert found == {"P009": set(), "P002": {"R39"}}


@pytest.mark.parametrize(
    ("section", "change"),
    [
        ("posts", {"text": None}),
        ("accounts", {"id": None}),
        ("lines", {"text": 5}),
        ("posts", {"schedule": {"utc": "noon"}}),
    ],
)
def test_a_scenario_with_a_hole_is_refused_with_its_place(
    section: str, change: dict[str, Any]
) -> None:
    content = json.loads(DEFAULT_FILE.read_text())
    row = {**content[section][0], **change}
    content[section][0] = {key: value for key, value in row.items() if value is not None}
    with pytest.raises(PolicyInvalidError, match=r"other\.json"):
        list(play(RULES, read_scenario("other.json", json.dumps(content)), fits))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"posts": 5}', "nothing"])
def test_what_is_no_scenario_is_refused(text: str) -> None:
    with pytest.raises(PolicyInvalidError):
        read_scenario("x.json", text)


def test_the_index_leaves_out_no_rule_that_applies() -> None:
    policy = Policy.load(read_shipped("ministry"))
    world = read_scenario("lipovec.json", DEFAULT_FILE.read_text())
    nodes = [example.node for rule in policy.rules for example in rule.examples]
    nodes += [node_of(world.facts_of(post), "post") for post in world.posts]
    asked = 0
    for node in nodes:
        reading = policy.read(read_facts(node))
        concerned = [rule.id for rule in policy.find_concerned(reading)]
        applying = [rule.id for rule in policy.rules if find_case(rule, reading) is not None]
        assert set(applying) <= set(concerned)
        asked += len(concerned)
    assert asked < len(nodes) * len(policy.rules) / 2  # and it does leave out
