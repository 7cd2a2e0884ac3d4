"""What the policy in force says of a post."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from scheduler.db import rules
from scheduler.db.posts import PostParts
from scheduler.db.uow import UnitOfWork
from scheduler.errors import InvalidError
from scheduler.policy.evaluation import Finding, PostFacts, TextFact, evaluate
from scheduler.policy.rules import Effect, Policy
from scheduler.services.rendering import language_for


class PolicyBlockedError(InvalidError):
    """The policy in force forbids the post; `findings` says which rule, where, and how to mend it."""

    code = "policy_blocked"


async def find_findings(uow: UnitOfWork, parts: PostParts) -> tuple[tuple[Finding, ...], Policy]:
    """What the policy in force says of the post as it stands."""
    policy = parse((await rules.get_policy(uow)).body)
    return judge(policy, parts), policy


def judge(policy: Policy, parts: PostParts) -> tuple[Finding, ...]:
    """What the policy says of the post as it stands."""
    return evaluate(policy, facts_of(parts))


@lru_cache(maxsize=4)
def parse(body: bytes) -> Policy:
    """The policy of a stored version; parsed once for all deliveries that it judges."""
    return Policy.parse(body)


def facts_of(parts: PostParts) -> PostFacts:
    """What rules judge: every text and alt text, common or an account's own, and the link card in each language."""
    by_id = {account.id: account for _, account in parts.deliveries}
    facts = [
        fact
        for text in parts.texts
        for fact in _facts(text.language, text.segments, f"texts.{text.language}")
    ]
    for variant in parts.variants:
        account = by_id.get(variant.account_id)
        if account is not None:
            facts += _facts(
                language_for(parts, account), variant.segments, f"variants.{account.code}"
            )
    facts += [
        TextFact(language=language, text=text, field=field, is_body=False)
        for language in _languages(parts)
        for field, text in card_texts(parts)
    ]
    return PostFacts(post_class=parts.post.post_class, texts=tuple(facts))


def card_texts(parts: PostParts) -> list[tuple[str, str]]:
    """What the link card makes public, each with its field."""
    return [(f"card.{name}", text) for name, text in sorted((parts.post.link_card or {}).items())]


def _languages(parts: PostParts) -> list[str]:
    """The languages that the post goes out in; before it has targets, those that it is written in."""
    targeted = {language_for(parts, account) for _, account in parts.deliveries}
    return sorted(targeted or {text.language for text in parts.texts})


def _facts(
    language: str, segments: Sequence[Mapping[str, Any]], field: str
) -> tuple[TextFact, ...]:
    body = "\n".join(segment["text"] for segment in segments)
    alts = [image["alt"] for segment in segments for image in segment["media"]]
    return (
        TextFact(language=language, text=body, field=field),
        *(
            TextFact(language=language, text=alt, field=f"{field}.alt", is_body=False)
            for alt in alts
        ),
    )


def is_blocking(finding: Finding) -> bool:
    """A blocked term that is there, or a required one that is not."""
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
    }


def refuse_blocked(findings: Sequence[Finding]) -> None:
    blocking = [each for each in findings if is_blocking(each)]
    if blocking:
        first = blocking[0]
        raise PolicyBlockedError(
            f"{first.message} (rule {first.rule}); {first.fix}",
            findings=[describe_finding(each) for each in blocking],
        )
