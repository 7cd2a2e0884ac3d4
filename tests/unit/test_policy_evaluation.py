import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.policy.evaluation import Finding, Outcome, PostFacts, TextFact, evaluate, explain
from scheduler.policy.rules import Effect, Policy

POLICY = Policy.parse(
    rb"""
format = 1
version = "7"

[[rules]]
id = "term.kyiv"
effect = "block"
kind = "blocked_term"
languages = ["en"]
terms = ["Kiev"]
exceptions = ["Dynamo Kiev"]
message = "Ukrainian places carry their Ukrainian names."
fix = "Kyiv"

[[rules]]
id = "alert.phone"
effect = "require"
kind = "required_term"
classes = ["consular_alert"]
terms = ["+999 20 555 0100"]
patterns = ['\+999 20 555 011[0-9]']
message = "An alert names a telephone line."

[[rules]]
id = "text.marking"
effect = "warn"
kind = "blocked_term"
patterns = ['\[[a-z]+\]']
message = "A mark was left in the text."
"""
)


def rules_of(post_class: str, **texts: str) -> list[str]:
    return [finding.rule for finding in evaluate(POLICY, PostFacts.of(post_class, texts))]


def test_a_finding_says_which_rule_of_which_version_found_what_where() -> None:
    assert evaluate(POLICY, PostFacts.of("routine", {"en": "Back in Kiev!"})) == (
        Finding(
            rule="term.kyiv",
            version="7",
            effect=Effect.BLOCK,
            language="en",
            field="text",
            span=(8, 12),
            message="Ukrainian places carry their Ukrainian names.",
            fix="Kyiv",
        ),
    )


def test_a_rule_for_one_language_leaves_the_others_alone() -> None:
    assert rules_of("routine", de="Wieder in Kiev!") == []
    assert rules_of("routine", **{"en-GB": "Back in Kiev!"}) == ["term.kyiv"]


def test_an_exception_excuses_only_what_it_covers() -> None:
    assert rules_of("routine", en="Dynamo Kiev won") == []
    assert rules_of("routine", en="Dynamo Kiev won in Kiev") == ["term.kyiv"]


def test_a_required_term_is_missed_in_each_text_of_its_class() -> None:
    assert rules_of("routine", en="Call us") == []
    assert rules_of("consular_alert", en="Call us", sl="Pokličite") == ["alert.phone"] * 2
    assert rules_of("consular_alert", en="Call +999 20 555 0100", sl="+999 20 555 0112") == []
    missing = evaluate(POLICY, PostFacts.of("consular_alert", {"en": "Call us"}))[0]
    assert (missing.span, missing.effect, missing.fix) == (None, Effect.REQUIRE, "")


def test_an_alt_text_is_searched_but_owes_no_required_term() -> None:
    facts = PostFacts(
        post_class="consular_alert",
        texts=(
            TextFact(language="en", text="Call +999 20 555 0100"),
            TextFact(language="en", text="A map of Kiev", field="alt 1", is_body=False),
            TextFact(language="en", text="+999 20 555 0100", field="alt 2", is_body=False),
        ),
    )
    assert [(finding.rule, finding.field) for finding in evaluate(POLICY, facts)] == [
        ("term.kyiv", "alt 1")
    ]


def test_findings_come_by_text_then_rule_then_place() -> None:
    findings = evaluate(
        POLICY, PostFacts.of("consular_alert", {"en": "[x] Kiev, Kiev", "sl": "[y]"})
    )
    assert [(each.language, each.rule, each.span) for each in findings] == [
        ("en", "term.kyiv", (4, 8)),
        ("en", "term.kyiv", (10, 14)),
        ("en", "alert.phone", None),
        ("en", "text.marking", (0, 3)),
        ("sl", "alert.phone", None),
        ("sl", "text.marking", (0, 3)),
    ]


def test_findings_of_many_rules_come_in_the_order_of_the_file() -> None:
    rules = "".join(
        f'[[rules]]\nid = "r{number}"\neffect = "warn"\nkind = "blocked_term"\nmessage = "m"\nterms = ["t{number}"]\n'
        for number in range(100)
    )
    policy = Policy.parse(f'format = 1\nversion = "1"\n{rules}'.encode())
    text = " ".join(f"t{number}" for number in (99, 64, 8, 1, 33))
    findings = evaluate(policy, PostFacts.of("routine", {"en": text}))
    assert [finding.rule for finding in findings] == ["r1", "r8", "r33", "r64", "r99"]


def test_a_post_without_texts_has_no_findings() -> None:
    assert rules_of("consular_alert") == []


@pytest.mark.parametrize(
    ("post_class", "texts", "outcomes", "whys"),
    [
        (
            "consular_alert",
            {"en": "Kiev, Kiev [x]"},
            ["applied", "applied", "applied"],
            [
                "text (en), characters 1 to 4; text (en), characters 7 to 10",
                "text (en) has none of its terms",
                "text (en), characters 12 to 14",
            ],
        ),
        (
            "consular_alert",
            {"en": "Dynamo Kiev +999 20 555 0100"},
            ["excused", "satisfied", "satisfied"],
            [
                "found only inside its exceptions",
                "what it requires is there",
                "nothing that it blocks was found",
            ],
        ),
        (
            "routine",
            {"sl": "Dynamo Kiev", "ka": "[x]"},
            ["other_language", "other_class", "applied"],
            [
                "only for en; the post has sl, ka",
                "only for consular_alert; the post is routine",
                "text (ka), characters 1 to 3",
            ],
        ),
        (
            "routine",
            {"en": "Kyiv", "sl": "Dynamo Kiev"},
            ["satisfied", "other_class", "satisfied"],
            [
                "nothing that it blocks was found",
                "only for consular_alert; the post is routine",
                "nothing that it blocks was found",
            ],
        ),
        (
            "consular_alert",
            {},
            ["other_language"] * 3,
            [
                "only for en; the post has no text",
                "only for any text; the post has no text",
                "only for any text; the post has no text",
            ],
        ),
    ],
)
def test_every_rule_says_why_it_applied_or_not(
    post_class: str, texts: dict[str, str], outcomes: list[str], whys: list[str]
) -> None:
    rows = explain(POLICY, PostFacts.of(post_class, texts))
    assert [row.rule for row in rows] == ["term.kyiv", "alert.phone", "text.marking"]
    assert [row.outcome for row in rows] == outcomes
    assert [row.why for row in rows] == whys
    assert {row.version for row in rows} == {"7"}
    assert [row.effect for row in rows] == [Effect.BLOCK, Effect.REQUIRE, Effect.WARN]


@given(
    st.text(st.characters() | st.sampled_from("Kiev[]\u200b\u0301\ud800 "), max_size=80),
    st.sampled_from(["routine", "consular_alert"]),
)
def test_any_text_is_evaluated_and_twice_the_same(text: str, post_class: str) -> None:
    facts = PostFacts.of(post_class, {"en": text})
    findings = evaluate(POLICY, facts)
    assert findings == evaluate(POLICY, facts)
    for finding in findings:
        if finding.span is not None:
            start, end = finding.span
            assert 0 <= start < end <= len(text)
    applied = {row.rule for row in explain(POLICY, facts) if row.outcome is Outcome.APPLIED}
    assert applied == {finding.rule for finding in findings}


@pytest.mark.parametrize(
    "unit", ["Kiev ", "xKiev ", "Dynamo Kiev ", "[", "[a", "e\u0301", "\u200b", "\ud800", "K\u200bi\u0301ev ", "ა", "あ"]
)  # fmt: skip
def test_the_longest_text_takes_no_more_than_a_second(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    start = time.process_time()
    evaluate(POLICY, PostFacts.of("routine", {"en": text}))
    assert time.process_time() - start < 1


def cpu_seconds(policy: Policy, facts: list[PostFacts]) -> float:
    start = time.process_time()
    for each in facts:
        evaluate(policy, each)
    return time.process_time() - start


def test_two_hundred_rules_take_at_most_50_microseconds_for_a_usual_post() -> None:
    rules = "".join(
        f'[[rules]]\nid = "r{number}"\neffect = "warn"\nkind = "blocked_term"\nmessage = "m"\n'
        f'terms = ["beseda{number}", "Lipovec {number}", "слово {number}"]\n'
        for number in range(200)
    )
    policy = Policy.parse(f'format = 1\nversion = "1"\n{rules}'.encode())
    text = "Good morning from Lipovec! New e-passport slots open on Friday, дякуємо: " * 3
    facts = [PostFacts.of("routine", {"en": f"{text} {number}"}) for number in range(200)]
    assert min(cpu_seconds(policy, facts) for _ in range(5)) / len(facts) < 50e-6
