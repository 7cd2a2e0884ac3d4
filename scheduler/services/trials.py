"""A proposed policy tried on the posts that went out and on those that wait, beside the policy in force."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from scheduler.db import cases, posts, rules
from scheduler.db.posts import PostParts
from scheduler.db.tables import Post
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor, Permission
from scheduler.domain.post_flow import PostState
from scheduler.policy.bundle import open_policy
from scheduler.policy.evaluation import find_effects
from scheduler.policy.rules import Effect, Policy
from scheduler.services.judging import facts_of
from scheduler.services.scope import require_at_the_top

#: A rule, and the effect of its finding.
Found = frozenset[tuple[str, Effect]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A post on which the two policies do not agree."""

    post: Post
    gained: Found  #: what the proposed policy finds and the one in force does not
    lost: Found


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Some posts, in the order in which they were written."""

    posts: int
    last: UUID | None  #: None: there are no more
    differences: tuple[Difference, ...]


async def try_on_posts(
    uow: UnitOfWork, actor: Actor, proposed: Policy, *, after: UUID | None, limit: int
) -> Stretch:
    """Judge at most `limit` posts by both policies, each post as of the time at which it is or was due."""
    await require_at_the_top(uow, actor, Permission.READ)
    active = open_policy((await rules.get_policy(uow)).body)
    found = await posts.find_left_and_queued(uow, after=after, limit=limit)
    targets = await cases.read_targets(uow, [post.id for post in found])
    parts = await posts.load_rest(uow, found, targets)
    differences = await asyncio.to_thread(
        _compare, active, proposed, [parts[post.id] for post in found], uow.now
    )
    return Stretch(
        posts=len(found),
        last=found[-1].id if len(found) == limit else None,
        differences=differences,
    )


def _compare(
    active: Policy, proposed: Policy, found: Sequence[PostParts], now: datetime
) -> tuple[Difference, ...]:
    differences = []
    for parts in found:
        post = parts.post
        at = post.updated_at if post.state == PostState.CLOSED else now
        before, after = _find_both(active, proposed, parts, at)
        if before != after:
            differences.append(Difference(post=post, gained=after - before, lost=before - after))
    return tuple(differences)


def _find_both(
    active: Policy, proposed: Policy, parts: PostParts, at: datetime
) -> tuple[Found, Found]:
    """By both at once, because what is found in a text for the one serves the other; `at` where it has no time."""
    before: set[tuple[str, Effect]] = set()
    after: set[tuple[str, Effect]] = set()
    for facts in facts_of(parts, at):
        before |= find_effects(active, facts)
        after |= find_effects(proposed, facts)
    return frozenset(before), frozenset(after)
