"""What the policy says about one post: its findings, and an account of every rule."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from scheduler.policy.conditions import Places
from scheduler.policy.facts import PostFacts, TextFact
from scheduler.policy.matching import Span
from scheduler.policy.reading import Reading
from scheduler.policy.rules import Case, Effect, Policy, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rule's result at one place of one text."""

    rule: str
    version: str  #: of the policy
    effect: Effect
    language: str
    field: str  #: in the caller's words
    span: Span | None  #: start and end in code points; None: the post as a whole
    message: str
    fix: str
    approver: str  #: who may clear it, where the effect is require
    override: str  #: who may let it pass all the same; empty: nobody
    waits: bool  #: time alone may end it


class Outcome(StrEnum):
    APPLIED = "applied"
    PASSED = "passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One rule's line of the account; `why` is a sentence for people."""

    rule: str
    version: str
    effect: Effect
    outcome: Outcome
    why: str


def evaluate(policy: Policy, facts: PostFacts) -> tuple[Finding, ...]:
    """Return all findings, by rule and then place; the same input gives the same answer, and none raises."""
    return judge(policy, policy.read(facts))


def judge(policy: Policy, reading: Reading) -> tuple[Finding, ...]:
    """The findings on a post that was prepared before."""
    findings: list[Finding] = []
    for rule in policy.find_concerned(reading):
        held = find_case(rule, reading)
        if held is not None:
            findings += _findings(policy, rule, *held, reading)
    return tuple(findings)


def find_effects(policy: Policy, facts: PostFacts) -> frozenset[tuple[str, Effect]]:
    """Which rules apply, and how, without saying where."""
    reading = policy.read(facts)
    held = [(rule, find_case(rule, reading)) for rule in policy.find_concerned(reading)]
    return frozenset((rule.id, case[0].effect) for rule, case in held if case is not None)


def find_case(rule: Rule, reading: Reading) -> tuple[Case, Places] | None:
    """The strongest case of a rule that holds, with the places that make it so."""
    for case in rule.cases:
        places = case.when.find(reading)
        if places is not None:
            return case, places
    return None


def explain(policy: Policy, facts: PostFacts) -> tuple[Row, ...]:
    """Return one row for every rule of the policy, in its order, with the reason why it applied or not."""
    reading = policy.read(facts)
    return tuple(_explain(policy, rule, reading) for rule in policy.rules)


def _explain(policy: Policy, rule: Rule, reading: Reading) -> Row:
    held = find_case(rule, reading)
    case = rule.cases[0] if held is None else held[0]
    why = case.when.why(reading)
    if held is not None and held[1]:
        why = f"{why}: {'; '.join(_describe(reading, place) for place in sorted(set(held[1])))}"
    return Row(
        rule=rule.id,
        version=policy.version,
        effect=case.effect,
        outcome=Outcome.PASSED if held is None else Outcome.APPLIED,
        why=why,
    )


def _describe(reading: Reading, place: tuple[int, Span]) -> str:
    fact, (start, end) = reading.facts.texts[place[0]], place[1]
    shown = fact.text[start:end]
    return f"“{shown[:60]}” in {fact.field} ({fact.language}), characters {start + 1} to {end}"


def _findings(
    policy: Policy, rule: Rule, case: Case, places: Places, reading: Reading
) -> Iterator[Finding]:
    found: list[tuple[int, Span | None]] = [*sorted(set(places))] or [(0, None)]
    for index, span in found:
        fact = reading.facts.texts[index] if reading.facts.texts else TextFact("", "", "")
        yield Finding(
            rule=rule.id,
            version=policy.version,
            effect=case.effect,
            language=fact.language,
            field=fact.field,
            span=span,
            message=case.message,
            fix=rule.fix,
            approver=rule.approver,
            override=rule.override,
            waits=case.waits,
        )
