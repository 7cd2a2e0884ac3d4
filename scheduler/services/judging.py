"""What the policy in force says of a post."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from scheduler.db import rules
from scheduler.db.posts import PostParts
from scheduler.db.tables import Account
from scheduler.db.uow import UnitOfWork
from scheduler.errors import InvalidError
from scheduler.policy.bundle import open_policy
from scheduler.policy.declaring import read_value
from scheduler.policy.evaluation import Finding, Outcome, Row, evaluate, explain
from scheduler.policy.facts import DECLARED, PostFacts, TextFact, Value
from scheduler.policy.rules import Effect, Policy
from scheduler.policy.source import node_of
from scheduler.services.rendering import language_for


class PolicyBlockedError(InvalidError):
    """The policy in force forbids the post; `findings` says which rule, where, and how to mend it."""

    code = "policy_blocked"


async def find_findings(uow: UnitOfWork, parts: PostParts) -> tuple[tuple[Finding, ...], Policy]:
    """What the policy in force says of the post as it stands."""
    policy = open_policy((await rules.get_policy(uow)).body)
    return judge(policy, parts, uow.now), policy


def judge(policy: Policy, parts: PostParts, now: datetime) -> tuple[Finding, ...]:
    """What the policy says of the post as it stands, in each of the forms in which it goes out."""
    found: dict[Finding, None] = {}
    for facts in facts_of(parts, now):
        found |= dict.fromkeys(evaluate(policy, facts))
    return tuple(found)


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


def is_blocking(finding: Finding) -> bool:
    """Whether it keeps the post from leaving; nobody can give the further approval that `require` asks for yet."""
    return finding.effect is not Effect.WARN


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


def refuse_blocked(findings: Sequence[Finding]) -> None:
    blocking = [each for each in findings if is_blocking(each)]
    if blocking:
        first = blocking[0]
        raise PolicyBlockedError(
            f"{first.message} (rule {first.rule}); {first.fix}",
            findings=[describe_finding(each) for each in blocking],
        )
