"""Who acts, and on what: mostly somebody who could, a quarter of the time anybody, so that refusals are as frequent as leave."""

from collections.abc import Collection
from random import Random
from typing import Final
from uuid import UUID

from scheduler.domain.people import Role
from tests.simulation.histories.history import History, NobodyError
from tests.simulation.histories.model import Approval, Hand, Post
from tests.simulation.histories.town import TREE

WRITERS: Final = (Role.OFFICER, Role.SUPERVISOR)
CLASSES: Final = ("routine", "statement", "consular_alert")


def pick_hand(
    history: History,
    rng: Random,
    roles: Collection[Role],
    missions: Collection[str],
    others: Collection[str] = (),
) -> Hand:
    """The schemer by one of their sign-ins, somebody who has the role there and is none of the `others`, or anybody."""
    chance, hands = rng.random(), history.model.hands
    now, may = history.now(), history.model.may
    fitting = [
        each
        for each in hands
        if each.person not in others
        and all(any(may(each.person, role, where, now) for role in roles) for where in missions)
    ]
    mine = [each for each in fitting if each.human == history.script.schemer]
    helped = [each for each in hands if each.person in history.helped and each.person not in others]
    if helped and chance < 0.25:
        return rng.choice(helped)
    if mine and chance < 0.6:
        return rng.choice(mine)
    if fitting and chance < 0.85:
        return rng.choice(fitting)
    return rng.choice(hands)


def pick_place(history: History, rng: Random, hand: Hand) -> str:
    """A mission where they may write, if there is one."""
    now, may = history.now(), history.model.may
    fitting = [each for each in TREE if any(may(hand.person, role, each, now) for role in WRITERS)]
    return rng.choice(fitting or list(TREE))


def pick_post(history: History, rng: Random, *states: str) -> Post:
    """One of those in the state, if there are any; the newest ones more often."""
    found = history.rows("SELECT id, state FROM post ORDER BY id DESC")
    fitting = [UUID(key) for key, state in found if not states or state in states]
    if not fitting:
        raise NobodyError
    return history.model.posts[fitting[min(int(rng.expovariate(1)), len(fitting) - 1)]]


def pick_approvals(history: History) -> list[Approval]:
    """The newest ones: what comes between them and the platform is the most telling."""
    found = [each for post in history.model.posts.values() for each in post.approvals]
    return found[-3:]
