"""What the policy in force says of a post, and whose decisions it asks for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from scheduler.db import rules
from scheduler.db.posts import PostParts
from scheduler.db.tables import Account
from scheduler.db.uow import UnitOfWork
from scheduler.errors import InvalidError
from scheduler.policy import evaluation
from scheduler.policy.bundle import open_policy
from scheduler.policy.clearance import ONE_SUPERVISOR, Mode, Step
from scheduler.policy.declaring import read_value
from scheduler.policy.evaluation import Finding, Outcome, Row, explain
from scheduler.policy.facts import DECLARED, PostFacts, TextFact, Value
from scheduler.policy.rules import Effect, Policy, Rule
from scheduler.policy.source import node_of
from scheduler.policy.workflows import DEFAULT, BreakGlass, Workflow, find_workflow
from scheduler.services.rendering import language_for

#: Where it stands for an office: the author's own reason is enough.
_AUTHOR: Final = "author"


class PolicyBlockedError(InvalidError):
    """The policy in force forbids the post; `findings` says which rule, where, and how to mend it."""

    code = "policy_blocked"


class AcceptanceMissingError(InvalidError):
    """The author goes on in spite of a finding, and has to say why; `findings` says of which rules."""

    code = "acceptance_missing"


class NothingToAcceptError(InvalidError):
    """A reason was given for a rule that says nothing here, or asks for an office instead."""

    code = "nothing_to_accept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a policy says of a post, with the reasons that its author gave for going on."""

    findings: tuple[Finding, ...]
    workflow: Workflow
    accepted: Mapping[str, str]  #: by rule
    break_glass: BreakGlass | None
    digest: str  #: of the policy

    @property
    def blocking(self) -> tuple[Finding, ...]:
        """What keeps the post from leaving, whatever anybody decides."""
        return tuple(
            each
            for each in self.findings
            if each.effect is Effect.BLOCK and not (each.override and each.rule in self.accepted)
        )

    @property
    def steps(self) -> tuple[Step, ...]:
        """The decisions it needs: what rules ask for, then its workflow's."""
        asked = dict.fromkeys(step for each in self.findings for step in self._asked_by(each))
        return (*asked, *self.workflow.steps)

    def _asked_by(self, finding: Finding) -> Iterable[Step]:
        if finding.effect is Effect.BLOCK and finding.rule in self.accepted:
            offices = _offices(finding.override)
            return [_clear(each, finding.rule) for each in offices if each != _AUTHOR]
        if finding.effect is not Effect.REQUIRE:
            return ()
        return _require(finding.approver, finding.rule)


def _offices(told: str) -> list[str]:
    """The offices that stand in a rule as `protocol + desk_officer`: all of them are asked."""
    return [each.strip() for each in told.split("+") if each.strip()]


def find_required(rule: Rule) -> Sequence[Step]:
    """The decisions that the rule asks for where it applies; what lets a block pass is asked for only by an author."""
    return _require(rule.approver, rule.id) if rule.effect is Effect.REQUIRE else ()


def _require(approver: str, rule: str) -> list[Step]:
    """Of every office that is named, else of one more supervisor."""
    asked = [_clear(each, rule) for each in _offices(approver)]
    return asked or [replace(ONE_SUPERVISOR, rule=rule)]


def _clear(office: str, rule: str) -> Step:
    return Step(mode=Mode.CLEAR, offices=frozenset({office}), is_own=False, rule=rule)


async def judge_now(uow: UnitOfWork, parts: PostParts) -> Judgement:
    """What the policy in force says of the post as it stands."""
    return judge(open_policy((await rules.get_policy(uow)).body), parts, uow.now)


def judge(policy: Policy, parts: PostParts, now: datetime) -> Judgement:
    """What the policy says of the post as it stands, in each of the forms in which it goes out."""
    found: dict[Finding, None] = {}
    places = []
    for facts in facts_of(parts, now):
        reading = policy.read(facts)
        found |= dict.fromkeys(evaluation.judge(policy, reading))
        if (place := find_workflow(policy.workflows, reading)) is not None:
            places.append(place)
    return Judgement(
        findings=tuple(found),
        workflow=policy.workflows[min(places)] if places else DEFAULT,
        accepted=parts.post.accepted or {},
        break_glass=policy.break_glass,
        digest=policy.digest,
    )


def explain_all(policy: Policy, parts: PostParts, now: datetime) -> tuple[Row, ...]:
    """One row for every rule: of the first form of the post that it applies to, else of the first form."""
    forms = facts_of(parts, now) or [PostFacts.of(parts.post.post_class, {})]
    by_form = [explain(policy, facts) for facts in forms]
    return tuple(
        next((row for row in rows if row.outcome is Outcome.APPLIED), rows[0])
        for rows in zip(*by_form, strict=True)
    )


def facts_of(parts: PostParts, now: datetime) -> list[PostFacts]:
    """What rules judge: the post once for each common text, and once for each account that has a text of its own.

    Each with its alt texts and the link card, and with the accounts that it goes to. A post that goes out at once does
    so `now`.
    """
    at = parts.post.due_at or now
    varied = {variant.account_id for variant in parts.variants}
    forms = []
    for text in parts.texts:
        accounts = [
            account
            for _, account in parts.deliveries
            if account.id not in varied and language_for(parts, account) == text.language
        ]
        field = f"texts.{text.language}"
        forms.append(_form(parts, text.language, text.segments, field, accounts, at))
    by_id = {account.id: account for _, account in parts.deliveries}
    for variant in parts.variants:
        account = by_id.get(variant.account_id)
        if account is not None:
            field = f"variants.{account.code}"
            language = language_for(parts, account)
            forms.append(_form(parts, language, variant.segments, field, [account], at))
    return forms


def _form(
    parts: PostParts,
    language: str,
    segments: Sequence[Mapping[str, Any]],
    field: str,
    accounts: Sequence[Account],
    at: datetime,
) -> PostFacts:
    post = parts.post
    declared = {name: _value(name, each) for name, each in (post.facts or {}).items()}
    return PostFacts(
        texts=(
            *_texts(language, segments, field),
            *(TextFact(language, text, name, "card") for name, text in card_texts(parts)),
        ),
        declared={
            **declared,
            "class": post.post_class,
            "language": language,
            "publish_at": at,
        },
        items={
            "accounts": tuple(
                {
                    "id": account.code,
                    "platform": account.platform,
                    "language": account.language,
                    "text_language": language,
                    "registered": True,
                }
                for account in accounts
            )
        },
    )


def _value(name: str, value: object) -> Value:
    """A declared fact, which was checked when it was written."""
    return read_value(node_of(value, "facts", name), DECLARED[name])


def card_texts(parts: PostParts) -> list[tuple[str, str]]:
    """What the link card makes public, each with its field."""
    return [(f"card.{name}", text) for name, text in sorted((parts.post.link_card or {}).items())]


def _texts(
    language: str, segments: Sequence[Mapping[str, Any]], field: str
) -> tuple[TextFact, ...]:
    body = "\n".join(segment["text"] for segment in segments)
    alts = [image["alt"] for segment in segments for image in segment["media"]]
    return (
        TextFact(language, body, field),
        *(TextFact(language, alt, f"{field}.alt", "alt") for alt in alts),
    )


def describe_finding(finding: Finding) -> dict[str, object]:
    return {
        "rule": finding.rule,
        "version": finding.version,
        "effect": finding.effect.value,
        "language": finding.language,
        "field": finding.field,
        "span": None if finding.span is None else list(finding.span),
        "message": finding.message,
        "fix": finding.fix,
        "approver": finding.approver,
        "override": finding.override,
    }


def refuse_blocked(judgement: Judgement) -> None:
    if judgement.blocking:
        first = judgement.blocking[0]
        raise PolicyBlockedError(
            f"{first.message} (rule {first.rule}); {first.fix}",
            findings=[describe_finding(each) for each in judgement.blocking],
        )


def refuse_unreasoned(judgement: Judgement) -> None:
    """Refuse warnings for which the author has given no reason, and reasons for what no rule says."""
    warned = [each for each in judgement.findings if each.effect is Effect.WARN]
    unreasoned = [each for each in warned if each.rule not in judgement.accepted]
    if unreasoned:
        first = unreasoned[0]
        raise AcceptanceMissingError(
            f"{first.message} (rule {first.rule}); {first.fix or 'mend it'}, or say why it is right",
            findings=[describe_finding(each) for each in unreasoned],
        )
    known = {each.rule for each in judgement.findings if each.effect is not Effect.REQUIRE}
    if unknown := sorted(judgement.accepted.keys() - known):
        raise NothingToAcceptError(
            f"no finding of the rule {unknown[0][:60]!a} can be accepted", rule=unknown[0][:60]
        )
