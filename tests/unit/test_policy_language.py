"""The rule language: what is read, what is refused and where, and what conditions find."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.policy.bundle import open_policy, pack, unpack
from scheduler.policy.declaring import read_facts
from scheduler.policy.evaluation import Outcome, evaluate, explain
from scheduler.policy.facts import PostFacts
from scheduler.policy.rules import Policy
from scheduler.policy.source import PolicyInvalidError, node_of

HEAD = "format: 2\nversion: karvenia-1\n"
RULE = """rules:
  - id: one
    title: One
    effect: {effect}
    when: {when}
    message: Something is wrong.
    fix: Mend it.
"""


def policy(when: str, effect: str = "block", more: str = "") -> Policy:
    return Policy.load({"policy.yaml": HEAD + RULE.format(when=when, effect=effect) + more})


def found(policy: Policy, text: str = "A text", **facts: Any) -> list[tuple[str, Any]]:
    read = read_facts(node_of({"text": text, **facts}, "test"))
    return [(each.rule, each.span) for each in evaluate(policy, read)]


def refusal(*texts: str) -> str:
    files = {f"file{index}.yaml": text for index, text in enumerate(texts)}
    with pytest.raises(PolicyInvalidError) as caught:
        Policy.load(files)
    assert caught.value.code == "policy_invalid"
    assert caught.value.details["file"]
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no file of this policy has the key format"),
        ("format: 1\nversion: a\n", "file0.yaml:1: format: this release reads format 2"),
        (HEAD + "format: 2\n", "file0.yaml:3: the key 'format' is given twice"),
        (HEAD + "colour: red\n", "file0.yaml:3: colour: unknown key 'colour'"),
        (HEAD + "rules: 5\n", "file0.yaml:3: rules: must be a list"),
        (HEAD + "rules: [&a x, *a]\n", "file0.yaml:3: rules[0]: anchors and aliases"),
        (HEAD + "rules: [!!python/name:os.system x]\n", "tags are not read"),
        (HEAD + "rules: " + "[" * 40 + "]" * 40, "nested deeper than 16"),
        (HEAD + "rules: [\n", "not YAML"),
        (HEAD + "---\nversion: b\n", "a second document"),
        (
            HEAD + RULE.format(effect="burn", when="{class: event}"),
            "rules[0].effect: must be one of",
        ),
        (HEAD + RULE.format(effect="block", when="{}"), "a condition that asks nothing"),
        (HEAD + RULE.format(effect="block", when="{any: []}"), "needs at least one condition"),
        (HEAD + RULE.format(effect="block", when="{colour: red}"), "'colour' is no fact"),
        (
            HEAD + RULE.format(effect="block", when="{link.host: un.example}"),
            "link.host is a fact of one link; ask it inside of `some: {of: …}`",
        ),
        (
            HEAD + RULE.format(effect="block", when="{class: {like: event}}"),
            "rules[0].when.class.like: unknown operator 'like'",
        ),
        (
            HEAD + RULE.format(effect="block", when="{class: {above: 3}}"),
            "class is text; `above` does not compare that",
        ),
        (HEAD + RULE.format(effect="block", when="{exercise: yes}"), "exercise is true or false"),
        (
            HEAD + RULE.format(effect="block", when="{class: {in: $nothing}}"),
            "'$nothing' is neither a list of this policy nor a fact",
        ),
        (
            HEAD + RULE.format(effect="block", when="{text: {has: [$nothing]}}"),
            "$nothing is no list",
        ),
        (HEAD + RULE.format(effect="block", when="{some: {of: cats}}"), "'cats' is no collection"),
        (
            HEAD + RULE.format(effect="block", when="{publish_at: {before: noon}}"),
            "must be a date and time",
        ),
        (
            HEAD + RULE.format(effect="block", when='{publish_at: {before: "2027-04-01T10:00"}}'),
            "needs its zone",
        ),
        (HEAD + "lists: {a: {terms: []}}\nlists2: {}\n", "unknown key 'lists2'"),
        (HEAD + "lists: {a: {patterns: ['(']}}\n", "file0.yaml:3: lists.a: “(”"),
        (HEAD + "lists: {a: {patterns: ['x*']}}\n", "matches the empty text"),
        (HEAD + "glossary: [{term: A, rule: gone, deny: B}]\n", "names no rule: 'gone'"),
        (HEAD + 2 * RULE.format(effect="block", when="{class: a}"), "given twice"),
    ],
)
def test_a_bad_policy_is_refused_with_its_place(text: str, told: str) -> None:
    assert told in refusal(text)


def test_what_stands_in_two_files_adds_up_but_for_names() -> None:
    one = HEAD + RULE.format(effect="block", when="{text: {has: [$a]}}")
    files = {"a.yaml": one, "lists/b.yaml": "lists: {a: [Kiev]}\n"}
    assert found(Policy.load(files), "In Kiev") == [("one", (3, 7))]
    assert "version stands in file0.yaml already" in refusal(one, "version: b\n")
    both = "lists: {a: [x]}\n"
    assert "the list a stands in file1.yaml already" in refusal(one, both, both)


def test_a_digest_is_of_the_data_and_not_of_its_looks() -> None:
    plain = policy("{class: event}")
    other = Policy.load(
        {
            "policy.yaml": "# why\n"
            + HEAD
            + RULE.format(effect='"block"', when="\n      class: event")
        }
    )
    assert other.digest == plain.digest
    assert policy("{class: press}").digest != plain.digest


def test_a_kept_policy_is_the_one_that_was_written() -> None:
    files = {"policy.yaml": HEAD + RULE.format(effect="warn", when="{class: event}")}
    body = pack(files)
    assert unpack(body) == files
    assert open_policy(body).digest == Policy.load(files).digest


def test_a_policy_of_the_former_format_still_holds() -> None:
    body = (
        b'format = 1\nversion = "old-1"\n[[rules]]\nid = "kyiv"\neffect = "block"\nkind = "blocked_term"\n'
        b'languages = ["en"]\nterms = ["Kiev"]\nexceptions = ["chicken Kiev"]\nmessage = "Kyiv."\n'
        b'[[rules]]\nid = "phone"\neffect = "warn"\nkind = "required_term"\nclasses = ["consular_alert"]\n'
        b'patterns = ["[+]999"]\nmessage = "A number."\n'
    )
    old = open_policy(body)
    assert found(old, "Kiev, chicken Kiev") == [("kyiv", (0, 4))]
    assert found(old, "Kiev", language="sl") == []
    alert: dict[str, Any] = {"class": "consular_alert"}
    assert found(old, "Stay inside", **alert) == [("phone", None)]
    assert found(old, "Call +999 20", **alert) == []
    with pytest.raises(PolicyInvalidError):
        open_policy(b"format = 1\n[[rules]]\nid = 'x'")


@pytest.mark.parametrize(
    ("when", "facts", "holds"),
    [
        ("{class: event}", {"class": "event"}, True),
        ("{class: [press, event]}", {"class": "event"}, True),
        ("{class: {outside: [press]}}", {"class": "event"}, True),
        ("{class: {not: event}}", {"class": "event"}, False),
        ("{topic: {not: rail}}", {}, True),
        ("{topic: rail}", {}, False),
        ("{topic: {given: false}}", {}, True),
        ("{topic: {given: true}}", {"topic": "rail"}, True),
        ("{case.impact: {below: 5}}", {"case.impact": 4}, True),
        ("{case.impact: {at_least: 5}}", {"case.impact": 4}, False),
        ("{clearances: {has: desk_officer}}", {"clearances": ["desk_officer.east"]}, True),
        ("{clearances: {lacks: desk_officer}}", {"clearances": ["desk_officer.east"]}, False),
        ("{clearances: {lacks: desk_officer}}", {}, True),
        (
            "{publish_at: {before: 2027-04-01T10:00:00Z}}",
            {"publish_at": "2027-04-01T09:59:59Z"},
            True,
        ),
        ("{publish_at: {after: 2027-04-01}}", {"publish_at": "2027-04-01T00:00:00Z"}, False),
        ("{not: {class: event}}", {"class": "press"}, True),
        ("{any: [{class: event}, {topic: rail}]}", {"topic": "rail"}, True),
        ("{all: [{class: event}, {topic: rail}]}", {"topic": "rail"}, False),
        (
            "{some: {of: postures, where: {class: {outside: $posture.allows}}}}",
            {"class": "event", "postures": [{"kind": "freeze", "allows": ["consular"]}]},
            True,
        ),
        ("{count: {of: media, above: 1}}", {"media": [{"kind": "image"}]}, False),
    ],
)
def test_conditions_hold_as_they_read(when: str, facts: dict[str, Any], holds: bool) -> None:
    assert bool(found(policy(when), **facts)) is holds


def test_the_strongest_case_makes_the_finding() -> None:
    cases = (
        "rules:\n  - id: one\n    title: One\n    message: No.\n    cases:\n"
        "      - {effect: warn, when: {class: event}}\n"
        "      - {effect: block, when: {topic: rail}, message: Never.}\n"
    )
    two = Policy.load({"policy.yaml": HEAD + cases})
    told = evaluate(two, read_facts(node_of({"text": "x", "class": "event", "topic": "rail"}, "t")))
    assert [(each.effect, each.message) for each in told] == [("block", "Never.")]
    told = evaluate(two, read_facts(node_of({"text": "x", "class": "event"}, "t")))
    assert [(each.effect, each.message) for each in told] == [("warn", "No.")]


def test_an_account_of_every_rule_says_why() -> None:
    links = policy("{some: {of: links, where: {link.host: {outside: [un.example]}}}}")
    [row] = explain(links, PostFacts.of("routine", {"en": "See https://bit.example/x"}))
    assert row.outcome is Outcome.APPLIED
    assert "link.host is bit.example" in row.why
    assert "characters 5 to 25" in row.why
    [row] = explain(links, PostFacts.of("routine", {"en": "See it"}))
    assert (row.outcome, row.why) == (Outcome.PASSED, "it has no links")


@given(st.text(max_size=200), st.sampled_from(["en", "ka", "ar", "sr-Cyrl", "ja"]))
def test_no_text_breaks_a_reading(text: str, language: str) -> None:
    asks = " ".join(
        f"{{some: {{of: {name}}}}},"
        for name in ("links", "hashtags", "emails", "phones", "emoji", "sentences", "acronyms")
    )
    every = policy(f"{{any: [{asks} {{some: {{of: times}}}}, {{some: {{of: suspects}}}}]}}")
    for each in evaluate(every, PostFacts.of("routine", {language: text})):
        if each.span is not None:
            assert 0 <= each.span[0] < each.span[1] <= len(text)
