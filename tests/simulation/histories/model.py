"""Who did what, kept by the test alone: what the product knows of persons, rights and content is never asked.

A human is not a sign-in. Whoever redeems a code holds that sign-in from then on, so an admin who keeps the codes they
issue acts as several persons. A publication needs two humans; one is enough only where the rules against it were kept:
a second admin confirmed each role, and a day lay between taking a sign-in over and deciding with it.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from scheduler.domain.people import Role
from scheduler.policy.bundle import open_policy
from scheduler.policy.evaluation import evaluate
from scheduler.policy.facts import PostFacts, TextFact
from scheduler.policy.rules import Effect
from tests.simulation.histories.town import ACCOUNTS, TREE

DAY: Final = timedelta(hours=24)


@dataclass(eq=False, slots=True)
class Hand:
    """One human with the token of one person; `since` is when the code was issued by which they took it over."""

    human: str
    person: str
    token: str
    since: datetime | None = None  #: None: it is their own

    def is_young(self, at: datetime) -> bool:
        return self.since is not None and at < self.since + DAY


@dataclass(slots=True)
class Act:
    hand: Hand
    at: datetime


@dataclass(eq=False, slots=True)
class Grant:
    person: str
    role: Role
    mission: str
    proposed: Act | None = None  #: None: of the set-up
    confirmed: Act | None = None
    not_after: datetime | None = None
    revoked: bool = False


@dataclass(eq=False, slots=True)
class Approval:
    act: Act
    version: int
    read: dict[str, tuple[str, ...]]  #: by account: the texts of its parts
    due: datetime | None
    post_class: str


@dataclass(eq=False, slots=True)
class Post:
    id: UUID
    mission: str
    targets: tuple[str, ...]
    version: int = 1  #: counts what makes earlier approvals void
    writers: list[Act] = field(default_factory=list)
    approvals: list[Approval] = field(default_factory=list)

    @property
    def missions(self) -> set[str]:
        return {self.mission, *(ACCOUNTS[each] for each in self.targets)}


@dataclass(eq=False, slots=True)
class Posture:
    setter: str
    mission: str | None
    account: str | None
    spares: str  #: a class, or nothing
    begins: datetime
    ends: datetime | None
    over: bool = False

    def forbids(self, post: Post, post_class: str, account: str, at: datetime) -> bool:
        if self.over or at < self.begins or (self.ends is not None and at >= self.ends):
            return False
        places = (post.mission, ACCOUNTS[account])
        return (
            post_class != self.spares
            and self.account in {None, account}
            and (self.mission is None or any(is_within(each, self.mission) for each in places))
        )


@dataclass(frozen=True, slots=True)
class Broken:
    rule: str
    what: str


def is_within(mission: str, above: str) -> bool:
    while mission and mission != above:
        mission = TREE[mission]
    return bool(mission)


class Model:
    def __init__(self, policy: bytes) -> None:
        self.hands: list[Hand] = []
        self.enrolled: set[str] = set()
        self.grants: dict[UUID, Grant] = {}
        #: By person: each time that a new code put an end to their tokens. A later one says nothing of what was
        #: decided before it.
        self.suspended: dict[str, list[datetime]] = {}
        self.gone: set[str] = set()
        self.posts: dict[UUID, Post] = {}
        self.postures: dict[UUID, Posture] = {}
        self.policy = policy
        self.published: dict[tuple[str, str], int] = {}
        self.broken: list[Broken] = []

    def fail(self, rule: str, what: str) -> None:
        self.broken.append(Broken(rule, what))

    def write(self, post: Post, act: Act) -> None:
        post.writers.append(act)

    def may(self, person: str, role: Role, mission: str, at: datetime) -> bool:
        """Whether it is worth a try: the person has the role there, or it was proposed."""
        return any(
            each.person == person and each.role is role and is_within(mission, each.mission)
            for each in self.grants.values()
            if not self._is_over(each, at)
        )

    def _is_over(self, grant: Grant, at: datetime) -> bool:
        return grant.revoked or (grant.not_after is not None and at >= grant.not_after)

    # What has left

    def judge(self, account: str, text: str, at: datetime) -> None:
        """A text has reached a platform: does everything stand behind it that has to?"""
        key = account, text
        self.published[key] = self.published.get(key, 0) + 1
        if self.published[key] > 1:
            self.fail("twice", f"{text!r} on {account}")
        found = [
            (post, each)
            for post in self.posts.values()
            for each in post.approvals
            if text in each.read.get(account, ())
        ]
        if not found:
            self.fail("bytes", f"nobody approved {text!r} for {account}")
            return
        post = found[-1][0]
        valid = [each for _, each in found if each.version == post.version]
        if not valid:
            self.fail("void", f"{text!r} was taken back after it was approved")
            return
        reasons = [self._doubt(post, each, at) for each in valid]
        if all(reasons):
            self.fail(*next(filter(None, reasons)))
        self._judge_rules(post, valid[-1], account, text, at)

    def _judge_rules(
        self, post: Post, approval: Approval, account: str, text: str, at: datetime
    ) -> None:
        """The policy, the time and the postures, by what was put before the supervisor."""
        due, post_class = approval.due, approval.post_class
        if rule := find_block(self.policy, text, post_class, due or at):
            self.fail("policy", f"{text!r} left against the rule {rule}")
        if due is not None and at < due:
            self.fail("early", f"{text!r} left {due - at} too early")
        if any(each.forbids(post, post_class, account, at) for each in self.postures.values()):
            self.fail("posture", f"{text!r} left on {account} in a posture")

    def _doubt(self, post: Post, approval: Approval, at: datetime) -> tuple[str, str] | None:
        """Why the approval does not count, if it does not."""
        hand, then = approval.act.hand, approval.act.at
        if hand.person in {each.hand.person for each in post.writers}:
            return "own_words", f"{hand.person} approved what they wrote"
        for moment in (then, at):
            if why := self._find_lack(hand.person, post, moment):
                return why
        return self._find_one_human(post, approval.act)

    def _find_lack(self, person: str, post: Post, at: datetime) -> tuple[str, str] | None:
        """What the person lacks at that time to approve the post."""
        if person in self.gone:
            return "no_role", f"{person} is gone"
        for since in self.suspended.get(person, ()):
            if since <= at < since + DAY:
                return "young_sign_in", f"{person} was enrolled again {at - since} before"
        for mission in sorted(post.missions):
            lacks = [self._find_flaw(each, person, mission, at) for each in self.grants.values()]
            if all(lacks):
                order = {"no_role": 0, "young_role": 1}
                worst = max((each for each in lacks if each), key=lambda each: order.get(each, 2))
                return worst, f"{person} for {mission}"
        return None

    def _find_flaw(self, grant: Grant, person: str, mission: str, at: datetime) -> str | None:
        fits = grant.person == person and grant.role is Role.SUPERVISOR
        if not fits or not is_within(mission, grant.mission) or self._is_over(grant, at):
            return "no_role"
        if grant.proposed is None:
            return None
        if grant.confirmed is None:
            return "one_admin"
        proposer, second = grant.proposed.hand, grant.confirmed.hand
        if second.person in {proposer.person, grant.person}:
            return "one_admin"
        puppet = second if second.since else proposer
        if second.human == proposer.human and puppet.is_young(grant.confirmed.at):
            return "puppet_confirms"
        return "young_role" if at < grant.confirmed.at + DAY else None

    def _find_one_human(self, post: Post, act: Act) -> tuple[str, str] | None:
        """One human wrote and approved, and at no time had anybody a day to notice whose sign-ins they use."""
        hand = act.hand
        both = [each.hand for each in post.writers if each.hand.human == hand.human]
        if not both or (hand.since is not None and not hand.is_young(act.at)):
            return None
        young = hand if hand.since else next((each for each in both if each.is_young(act.at)), None)
        if young is None:
            return None
        told = f"{hand.human} wrote as {both[0].person} and approved as {hand.person}"
        rule = "puppet_approves" if young is hand else "puppet_writes"
        return rule, f"{told}, having {young.person} since {act.at - (young.since or act.at)}"


def find_block(policy: bytes, text: str, post_class: str, at: datetime) -> str | None:
    """The first rule that keeps the text from leaving at that time."""
    facts = PostFacts(
        texts=(TextFact("en", text, "texts.en"),),
        declared={"class": post_class, "language": "en", "publish_at": at},
        items={},
    )
    findings = evaluate(open_policy(policy), facts)
    return next((each.rule for each in findings if each.effect is not Effect.WARN), None)
