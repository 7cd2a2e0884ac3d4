"""A scenario file: a world of ministries, accounts, people and posts, with the findings that are expected on each post.

Every ministry is an installation of its own: the rules and word lists are the policy's, the names come from the file.
`expect` is read to compare, and for nothing else.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from scheduler.policy.declaring import read_facts
from scheduler.policy.evaluation import Finding, evaluate
from scheduler.policy.facts import PostFacts
from scheduler.policy.rules import Effect, Policy
from scheduler.policy.source import Node, node_of
from scheduler.policy.world import World, build_registries, has_no_instant

_STRONGEST: Final = (Effect.BLOCK, Effect.REQUIRE, Effect.WARN)
_MAX_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One post: the findings by rule with their effect, expected and found, and the state that follows from them."""

    post: str
    ministry: str
    expected: frozenset[tuple[str, str]]
    found: frozenset[tuple[str, str]]
    expected_state: str
    state: str
    findings: tuple[Finding, ...]

    @property
    def is_exact(self) -> bool:
        return self.expected == self.found


def read_scenario(name: str, text: str) -> World:
    """Parse a scenario file.

    Raises:
        PolicyInvalidError: not JSON, or without posts.
    """
    place = Node(None, name, 1)
    if len(text) > _MAX_BYTES:
        place.refuse(f"larger than {_MAX_BYTES} characters")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as exc:
        place.refuse(f"not JSON: {exc}")
    if not isinstance(content, dict) or not isinstance(content.get("posts"), list):
        place.refuse("a scenario is a JSON object with the list `posts`")
    with _reading(name, "the file"):
        return World(name, content)


def play(
    files: Mapping[str, str], world: World, fits: Callable[[str, str], bool]
) -> Iterator[Verdict]:
    """Judge every post by its ministry's policy, in the file's order; `fits` says whether a platform takes a text."""
    policies: dict[str, Policy] = {}
    for post in world.posts:
        ministry = str(post.get("ministry", ""))
        place = f"post {post.get('id')}"
        with _reading(world.name, place):
            registries = build_registries(world, ministry) if ministry not in policies else None
            told = world.facts_of(post)
        if registries is not None:
            policies[ministry] = Policy.load(files, [registries])
        facts = read_facts(node_of(told, f"{world.name}, {place}"))
        yield _judge(policies[ministry], post, facts, can_go=_can_go(facts, fits))


@contextmanager
def _reading(name: str, place: str) -> Iterator[None]:
    """Refuse what is missing in a scenario file, or is something else than it should be."""
    try:
        yield
    except KeyError as exc:
        Node(None, name, 1).refuse(f"{place}: {exc} is missing, here or in what it names")
    except (TypeError, ValueError, AttributeError) as exc:
        Node(None, name, 1).refuse(f"{place}: not of a scenario's form: {exc}")


def _can_go(facts: PostFacts, fits: Callable[[str, str], bool]) -> bool:
    """Whether every part of the post is short enough for each of its platforms."""
    parts = [each.text for each in facts.texts if each.part == "body"]
    platforms = {str(each.get("platform")) for each in facts.items.get("accounts", ())}
    return all(fits(platform, text) for platform in platforms for text in parts)


def _judge(policy: Policy, post: Mapping[str, Any], facts: PostFacts, *, can_go: bool) -> Verdict:
    findings = evaluate(policy, facts)
    expect = post.get("expect") or {}
    return Verdict(
        post=str(post.get("id")),
        ministry=str(post.get("ministry", "")),
        expected=frozenset((each["id"], each["effect"]) for each in expect.get("rules", ())),
        found=frozenset((each.rule, each.effect.value) for each in findings),
        expected_state=str(expect.get("final", "")),
        state=_find_state(post, findings, can_go=can_go),
        findings=findings,
    )


def _find_state(post: Mapping[str, Any], findings: Sequence[Finding], *, can_go: bool) -> str:
    if has_no_instant(post):
        return "rescheduled"
    return find_state(findings) if can_go else "blocked"


def find_state(findings: Sequence[Finding]) -> str:
    """What becomes of a post with these findings: blocked, held until a time, waiting for a person, or public."""
    blocking = [each for each in findings if each.effect is Effect.BLOCK]
    if blocking:
        return "held" if all(each.waits for each in blocking) else "blocked"
    if any(each.effect is Effect.REQUIRE for each in findings):
        return "awaiting_approval"
    return "published"
