"""What has been decided on a post and what it still waits for: decisions against the steps of its judgement."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from scheduler.db.posts import PostParts
from scheduler.db.tables import Approval, Post
from scheduler.domain.people import Actor, Permission
from scheduler.policy import clearance
from scheduler.policy.clearance import Decision, Mode, Open, Step, holds
from scheduler.services.judging import Judgement


def weigh(
    approval: Approval, parts: PostParts, actor: Actor | None, now: datetime
) -> Decision | str:
    """What the row counts for now; or why it counts for nothing."""
    if approval.digest != parts.post.digest:
        return "the approval is for other content"
    if approval.person_id in parts.editors:
        return "the approver wrote or changed the post"
    mode = Mode(approval.mode)
    if actor is None or not may_decide(actor, mode, parts, now):
        return "the approver may no longer approve for this mission"
    return Decision(
        person_id=approval.person_id,
        mode=mode,
        offices=actor.offices(permission_for(mode), parts.paths, now=now),
        at=approval.decided_at,
    )


def permission_for(mode: Mode) -> Permission:
    return Permission.APPROVE if mode.approves else Permission.CLEAR


def may_decide(actor: Actor, mode: Mode, parts: PostParts, now: datetime) -> bool:
    return all(actor.may(permission_for(mode), path, now=now) for path in parts.paths)


def find_answer_time(
    steps: Sequence[Step], decisions: Sequence[Decision], post: Post
) -> datetime | None:
    """When the first of the open steps is late."""
    found = clearance.find_open(steps, decisions, post.submitted_at)
    deadlines = [each.step.deadline(post.submitted_at) for each in found]
    return min((each for each in deadlines if each is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A post between its submission and its approval."""

    parts: PostParts
    judgement: Judgement
    decisions: tuple[Decision, ...]  #: that count now

    @classmethod
    def of(
        cls, parts: PostParts, judgement: Judgement, decisions: Iterable[Decision]
    ) -> "Standing":
        """With only those breaking the glass who may."""
        return cls(
            parts=parts,
            judgement=judgement,
            decisions=tuple(
                each
                if each.mode is not Mode.BREAK_GLASS or may_break(judgement, each.offices)
                else replace(each, mode=Mode.APPROVE)
                for each in decisions
            ),
        )

    @property
    def open(self) -> tuple[Open, ...]:
        return self._find_open(self.decisions)

    @property
    def passed_over(self) -> tuple[Step, ...]:
        submitted_at = self.parts.post.submitted_at
        return clearance.find_passed_over(self.judgement.steps, self.decisions, submitted_at)

    def open_after(self, decision: Decision) -> tuple[Open, ...]:
        return self._find_open([*self.decisions, decision])

    def is_asked(self, decision: Decision) -> bool:
        submitted_at = self.parts.post.submitted_at
        return clearance.is_asked(self.judgement.steps, self.decisions, decision, submitted_at)

    def find_turn(self, actor: Actor, now: datetime) -> Mode | None:
        """What the person may do for the post now, if it is their turn."""
        if actor.person_id in self.parts.editors | {each.person_id for each in self.decisions}:
            return None
        for mode in (Mode.APPROVE, Mode.CLEAR):
            if not may_decide(actor, mode, self.parts, now):
                continue
            decision = self.decide(actor, mode, now)
            if self.is_asked(decision) and not (mode.approves and self.lacks(decision)):
                return mode
        return None

    def decide(self, actor: Actor, mode: Mode, now: datetime) -> Decision:
        offices = actor.offices(permission_for(mode), self.parts.paths, now=now)
        return Decision(person_id=actor.person_id, mode=mode, offices=offices, at=now)

    def lacks(self, decision: Decision) -> tuple[Open, ...]:
        """The offices that have to clear before this decision, which approves."""
        after = self.open_after(decision)
        return tuple(each for each in after if each.step.mode is Mode.CLEAR)

    def _find_open(self, decisions: Sequence[Decision]) -> tuple[Open, ...]:
        submitted_at = self.parts.post.submitted_at
        return clearance.find_open(self.judgement.steps, decisions, submitted_at)


def may_break(judgement: Judgement, offices: Iterable[str]) -> bool:
    """Whether one of the offices may pass over those that have not cleared."""
    rule = judgement.break_glass
    return rule is not None and holds(frozenset(offices), {rule.office})


def describe_open(found: Sequence[Open]) -> str:
    """Who is still asked, in a sentence for people."""
    return "; ".join(_describe(each) for each in found)


def _describe(each: Open) -> str:
    persons = "one person" if each.missing == 1 else f"{each.missing} persons"
    offices = " or ".join(sorted(each.step.offices))
    why = f" (rule {each.step.rule})" if each.step.rule else ""
    return f"{persons} of {offices} has to {each.step.mode}{why}"
