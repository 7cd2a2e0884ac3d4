"""What the policy says about one post: its findings, and an account of every rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self, assert_never

from scheduler.policy.matching import Span
from scheduler.policy.rules import Effect, Hits, Kind, Policy, Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFact:
    """A text that will be public: the common text, a variant or an alt text."""

    language: str  #: BCP 47
    text: str
    field: str = "text"  #: where it stands, in the caller's words; findings repeat it
    is_body: bool = True  #: False for alt texts and titles: a required term is not looked for there


@dataclass(frozen=True, slots=True, kw_only=True)
class PostFacts:
    """All that a rule can ask about a post."""

    post_class: str
    texts: tuple[TextFact, ...]

    @classmethod
    def of(cls, post_class: str, texts: Mapping[str, str]) -> Self:
        """A post with one text per language and nothing else."""
        facts = tuple(TextFact(language=tag, text=text) for tag, text in texts.items())
        return cls(post_class=post_class, texts=facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One rule's result at one place of one text."""

    rule: str
    version: str  #: of the policy
    effect: Effect
    language: str
    field: str
    span: Span | None  #: start and end in code points; None: something is missing
    message: str
    fix: str


class Outcome(StrEnum):
    """Why a rule did or did not apply to a post."""

    APPLIED = "applied"
    OTHER_CLASS = "other_class"
    OTHER_LANGUAGE = "other_language"
    EXCUSED = "excused"  #: all that was found is inside exceptions
    SATISFIED = "satisfied"  #: nothing blocked is there, or something required is


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One rule's line of the account; `why` is a sentence for people."""

    rule: str
    version: str
    effect: Effect
    outcome: Outcome
    why: str


def evaluate(policy: Policy, facts: PostFacts) -> tuple[Finding, ...]:
    """Return all findings, by text, then rule, then place; the same input gives the same answer, and none raises."""
    required = [
        index for index in policy.required if policy.rules[index].covers_class(facts.post_class)
    ]
    findings: list[Finding] = []
    for fact in facts.texts:
        hits = policy.find(fact.text)
        missing = [index for index in required if fact.is_body and index not in hits]
        for index in sorted({*hits, *missing}):
            rule = policy.rules[index]
            if rule.covers_class(facts.post_class) and rule.covers_language(fact.language):
                findings += [
                    _finding(policy, rule, fact, span) for span in _places(rule, hits.get(index))
                ]
    return tuple(findings)


def explain(policy: Policy, facts: PostFacts) -> tuple[Row, ...]:
    """Return one row for every rule of the policy, in the file's order, with the reason why it applied or not."""
    applied: dict[str, list[Finding]] = {}
    for finding in evaluate(policy, facts):
        applied.setdefault(finding.rule, []).append(finding)
    excused = {
        policy.rules[index].id
        for fact in facts.texts
        for index, hits in policy.find(fact.text).items()
        if hits.excused and policy.rules[index].covers_language(fact.language)
    }
    return tuple(
        _row(policy, rule, facts, applied.get(rule.id, []), is_excused=rule.id in excused)
        for rule in policy.rules
    )


def _row(
    policy: Policy,
    rule: Rule,
    facts: PostFacts,
    findings: Sequence[Finding],
    *,
    is_excused: bool,
) -> Row:
    outcome = _judge(rule, facts, findings, is_excused=is_excused)
    return Row(
        rule=rule.id,
        version=policy.version,
        effect=rule.effect,
        outcome=outcome,
        why=_sentence(rule, facts, findings, outcome),
    )


def _places(rule: Rule, hits: Hits | None) -> Sequence[Span | None]:
    if rule.kind is Kind.BLOCKED_TERM:
        return hits.counted if hits else ()
    return () if hits else (None,)


def _finding(policy: Policy, rule: Rule, fact: TextFact, span: Span | None) -> Finding:
    return Finding(
        rule=rule.id,
        version=policy.version,
        effect=rule.effect,
        language=fact.language,
        field=fact.field,
        span=span,
        message=rule.message,
        fix=rule.fix,
    )


def _judge(
    rule: Rule, facts: PostFacts, findings: Sequence[Finding], *, is_excused: bool
) -> Outcome:
    if findings:
        return Outcome.APPLIED
    if not rule.covers_class(facts.post_class):
        return Outcome.OTHER_CLASS
    if not any(rule.covers_language(fact.language) for fact in facts.texts):
        return Outcome.OTHER_LANGUAGE
    return Outcome.EXCUSED if is_excused else Outcome.SATISFIED


def _sentence(rule: Rule, facts: PostFacts, findings: Sequence[Finding], outcome: Outcome) -> str:
    match outcome:
        case Outcome.APPLIED:
            return "; ".join(_describe(finding) for finding in findings)
        case Outcome.OTHER_CLASS:
            return f"only for {', '.join(rule.classes or ())}; the post is {facts.post_class}"
        case Outcome.OTHER_LANGUAGE:
            own = ", ".join(fact.language for fact in facts.texts) or "no text"
            return f"only for {', '.join(rule.languages or ('any text',))}; the post has {own}"
        case Outcome.EXCUSED:
            return "found only inside its exceptions"
        case Outcome.SATISFIED if rule.kind is Kind.REQUIRED_TERM:
            return "what it requires is there"
        case Outcome.SATISFIED:
            return "nothing that it blocks was found"
        case _:
            assert_never(outcome)


def _describe(finding: Finding) -> str:
    where = f"{finding.field} ({finding.language})"
    if finding.span is None:
        return f"{where} has none of its terms"
    return f"{where}, characters {finding.span[0] + 1} to {finding.span[1]}"
