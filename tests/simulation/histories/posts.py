"""What people do with posts: each act draws what it needs from its own seed, and tells the model when it has succeeded."""

import json
from datetime import timedelta
from random import Random
from typing import Any, Final
from uuid import UUID

from scheduler.clock import from_iso
from scheduler.domain.people import Role
from scheduler.services import approvals, deliveries, posts
from scheduler.services.writing import When, Writing
from tests.simulation.histories.choosing import CLASSES, WRITERS, pick_hand, pick_place, pick_post
from tests.simulation.histories.history import History, NobodyError
from tests.simulation.histories.model import Approval, Post, is_within
from tests.simulation.histories.town import ACCOUNTS, TREE, WORDS

_OPEN: Final = ("draft", "in_review", "approved", "scheduled")


#: From a draft to its platform.
_STEPS: Final = 5


def _segments(history: History, rng: Random) -> list[dict[str, Any]]:
    found = []
    for _ in range(rng.choice((1, 1, 1, 2))):
        history.serial += 1
        word = rng.choice(WORDS) if rng.random() < 0.3 else "from Lipovec"
        found.append({"text": f"Note {history.serial} {word}", "media": []})
    return found


def _when(history: History, rng: Random) -> When:
    late = rng.choice((15, 60, 2880, 2880))
    if rng.random() < 0.6:
        return When(local=None, late_minutes=late)
    due = history.now() + timedelta(seconds=rng.choice((2, 60, 600, 3600, 90_000)))
    return When(local=due.strftime("%Y-%m-%dT%H:%M:%S"), late_minutes=late)


def _writing(history: History, rng: Random, targets: tuple[str, ...] | None) -> Writing:
    varied = targets and rng.random() < 0.3
    return Writing(
        texts={"en": _segments(history, rng)},
        variants={targets[0]: _segments(history, rng)} if targets and varied else None,
        targets=targets,
        when=_when(history, rng),
        post_class=rng.choice(CLASSES),
        schedule_on_approval=rng.random() < 0.7,
    )


async def draft(history: History, rng: Random) -> str:
    hand = pick_hand(history, rng, WRITERS, (rng.choice(list(TREE)),))
    mission = pick_place(history, rng, hand)
    fitting = [each for each, owner in ACCOUNTS.items() if is_within(mission, owner)]
    targets = tuple(rng.sample(fitting, 1))
    if rng.random() < 0.15:
        targets = tuple(rng.sample(list(ACCOUNTS), 2))
    writing = _writing(history, rng, targets)
    async with history.by(hand) as (uow, actor):
        row = await posts.draft(uow, actor, mission, writing)
    post = Post(row.id, mission, targets)
    history.model.posts[row.id] = post
    history.model.write(post, history.act(hand))
    return f"{hand.human} as {hand.person} for {mission}: {writing.texts}"


async def edit(history: History, rng: Random) -> str:
    return await _edit(history, rng, pick_post(history, rng, *_OPEN))


async def _edit(history: History, rng: Random, post: Post) -> str:
    hand = pick_hand(history, rng, WRITERS, post.missions)
    writing = _writing(history, rng, None)
    async with history.by(hand) as (uow, actor):
        await posts.edit(uow, actor, post.id, writing, revision=_revision(history, post))
    post.version += 1
    history.model.write(post, history.act(hand))
    return f"{hand.human} as {hand.person}: {writing.texts}"


def _revision(history: History, post: Post) -> int:
    [(revision,)] = history.rows("SELECT revision FROM post WHERE id = ?", post.id.hex)
    return int(revision)


async def submit(history: History, rng: Random) -> str:
    return await _submit(history, rng, pick_post(history, rng, "draft"))


async def _submit(history: History, rng: Random, post: Post) -> str:
    hand = pick_hand(history, rng, WRITERS, post.missions)
    revision = _revision(history, post)
    async with history.by(hand) as (uow, actor):
        await posts.submit(uow, history.kit, actor, post.id, revision=revision)
    return f"{hand.human} as {hand.person}"


async def approve(history: History, rng: Random) -> str:
    return await _approve(history, rng, pick_post(history, rng, "in_review"))


async def _approve(history: History, rng: Random, post: Post) -> str:
    writers = {each.hand.person for each in post.writers} if rng.random() < 0.8 else set()
    hand = pick_hand(history, rng, (Role.SUPERVISOR,), post.missions, writers)
    query = "SELECT digest, due_at, post_class FROM post WHERE id = ?"
    [(digest, due, post_class)] = history.rows(query, post.id.hex)
    read = read_parts(history, post)
    async with history.by(hand) as (uow, actor):
        await approvals.decide(uow, actor, post.id, digest=digest)
    post.approvals.append(
        Approval(history.act(hand), post.version, read, due and from_iso(due), post_class)
    )
    return f"{hand.human} as {hand.person}: {read}"


def read_parts(history: History, post: Post) -> dict[str, tuple[str, ...]]:
    """What is put before the supervisor: what would be sent to each account."""
    found = history.rows(
        "SELECT code, json_group_array(part.value ->> '$.request.text') FROM delivery"
        " JOIN account ON account.id = account_id, json_each(CAST(payload AS TEXT)) AS part"
        " WHERE post_id = ? GROUP BY code",
        post.id.hex,
    )
    return {code: tuple(json.loads(texts)) for code, texts in found}


async def send_back(history: History, rng: Random) -> str:
    post = pick_post(history, rng, "in_review")
    hand = pick_hand(history, rng, (Role.SUPERVISOR,), post.missions)
    async with history.by(hand) as (uow, actor):
        await approvals.send_back(uow, actor, post.id, comment="name the minister")
    post.version += 1
    return f"{hand.human} as {hand.person}"


async def withdraw(history: History, rng: Random) -> str:
    post = pick_post(history, rng, "in_review", "approved", "scheduled")
    hand = pick_hand(history, rng, WRITERS, post.missions)
    async with history.by(hand) as (uow, actor):
        await posts.withdraw(uow, actor, post.id)
    post.version += 1
    return f"{hand.human} as {hand.person}"


async def cancel(history: History, rng: Random) -> str:
    post = pick_post(history, rng)
    hand = pick_hand(history, rng, WRITERS, post.missions)
    async with history.by(hand) as (uow, actor):
        await posts.cancel(uow, actor, post.id)
    if not history.tampered:  # its state is not what an approval binds
        post.version += 1
    return f"{hand.human} as {hand.person}"


async def schedule(history: History, rng: Random) -> str:
    return await _schedule(history, rng, pick_post(history, rng, "approved"))


async def _schedule(history: History, rng: Random, post: Post) -> str:
    hand = pick_hand(history, rng, WRITERS, post.missions)
    async with history.by(hand) as (uow, actor):
        await approvals.schedule(uow, actor, post.id)
    return f"{hand.human} as {hand.person}"


async def release(history: History, rng: Random) -> str:
    found = history.rows("SELECT id, post_id FROM delivery WHERE state = 'held' ORDER BY id")
    if not found:
        raise NobodyError
    key, post_id = rng.choice(found)
    post = history.model.posts[UUID(post_id)]
    hand = pick_hand(history, rng, (Role.SUPERVISOR,), post.missions)
    async with history.by(hand) as (uow, actor):
        await deliveries.release(uow, actor, UUID(key), reason="it may go", not_public=False)
    return f"{hand.human} as {hand.person}"


async def carry_on(history: History, rng: Random) -> str:
    """The next step of some post."""
    return await _go_on(history, rng, pick_post(history, rng, *_OPEN))


async def push_through(history: History, rng: Random) -> str:
    """A post all the way to its platform, as far as those who try may: without it few would come to their end."""
    told = [await draft(history, rng)] if rng.random() < 0.5 else []
    post = pick_post(history, rng, *_OPEN)
    while len(told) < _STEPS:
        told.append(await _go_on(history, rng, post))
    return "; ".join(told)


async def _go_on(history: History, rng: Random, post: Post) -> str:
    [(state,)] = history.rows("SELECT state FROM post WHERE id = ?", post.id.hex)
    if state == "draft" and rng.random() < 0.2:
        return await _edit(history, rng, post)
    following = {"draft": _submit, "in_review": _approve, "approved": _schedule}
    if state in following:
        return await following[state](history, rng, post)
    await history.dispatch()
    return "dispatch"
