"""Which decisions a post needs before it may leave, and which of them it has: a question of offices, never of names.

Offices *clear*: they say that nothing speaks against the post. Who *approves* answers for it, and does so last. What
one person decides counts for one step of a workflow; what a rule asks for may be given by whoever decides anyway.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID


class Mode(StrEnum):
    CLEAR = "clear"
    APPROVE = "approve"
    BREAK_GLASS = "break_glass"  #: approve, and pass over every office that has not cleared

    @property
    def approves(self) -> bool:
        return self is not Mode.CLEAR


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Decisions that are asked for; `mode` is CLEAR or APPROVE."""

    mode: Mode
    offices: frozenset[str]  #: any one of them; the name of a role is an office too
    quorum: int = 1
    is_own: bool = True  #: its persons count for no other step
    within: timedelta | None = None  #: of the submission
    proceeds: bool = False  #: once it is late, who approves may pass it over
    deputies: frozenset[str] = frozenset()  #: may answer too once it is late
    rule: str = ""  #: that asks for it; empty: the workflow

    def is_late(self, submitted_at: datetime | None, at: datetime) -> bool:
        deadline = self.deadline(submitted_at)
        return deadline is not None and at >= deadline

    def deadline(self, submitted_at: datetime | None) -> datetime | None:
        if self.within is None or submitted_at is None:
            return None
        return submitted_at + self.within


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a person has decided, with what they may decide in now."""

    person_id: UUID
    mode: Mode
    offices: frozenset[str]
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """A step that wants so many more persons."""

    step: Step
    missing: int


#: How an office is named, as a pattern.
OFFICE: Final = r"[a-z0-9]+(?:[._-][a-z0-9]+){0,9}"
#: What every post needs where the policy has no workflow for it.
ONE_SUPERVISOR: Final = Step(mode=Mode.APPROVE, offices=frozenset({"supervisor"}))


def holds(offices: Collection[str], wanted: Collection[str]) -> bool:
    """Whether one of the offices is wanted; `desk.east` is an office of `desk`."""
    return any(f"{each}.".startswith(f"{office}.") for each in offices for office in wanted)


def find_open(
    steps: Sequence[Step], decisions: Sequence[Decision], submitted_at: datetime | None
) -> tuple[Open, ...]:
    """The steps that want more than these decisions, in their order."""
    return tuple(
        each
        for each in _find_unmet(steps, decisions, submitted_at)
        if not _is_passed_over(each.step, decisions, submitted_at)
    )


def find_passed_over(
    steps: Sequence[Step], decisions: Sequence[Decision], submitted_at: datetime | None
) -> tuple[Step, ...]:
    """The steps without which the post goes, by these decisions."""
    return tuple(
        each.step
        for each in _find_unmet(steps, decisions, submitted_at)
        if _is_passed_over(each.step, decisions, submitted_at)
    )


def is_asked(
    steps: Sequence[Step],
    decisions: Sequence[Decision],
    decision: Decision,
    submitted_at: datetime | None,
) -> bool:
    """Whether this decision, with those, answers a step that they leave open."""
    before = _find_unmet(steps, decisions, submitted_at)
    after = _find_unmet(steps, [*decisions, decision], submitted_at)
    return sum(each.missing for each in after) < sum(each.missing for each in before)


def _find_unmet(
    steps: Sequence[Step], decisions: Sequence[Decision], submitted_at: datetime | None
) -> Iterator[Open]:
    """The steps that want more persons, passed over or not."""
    filled = _assign(steps, decisions, submitted_at)
    for number, step in enumerate(steps):
        count = filled.get(number, 0)
        if not step.is_own:
            count = sum(_answers(step, each, submitted_at) for each in decisions)
        if count < step.quorum:
            yield Open(step=step, missing=step.quorum - count)


def _answers(step: Step, decision: Decision, submitted_at: datetime | None) -> bool:
    if step.mode is Mode.APPROVE and not decision.mode.approves:
        return False
    late = step.is_late(submitted_at, decision.at)
    return holds(decision.offices, step.offices | step.deputies if late else step.offices)


def _is_passed_over(
    step: Step, decisions: Sequence[Decision], submitted_at: datetime | None
) -> bool:
    if step.mode is Mode.APPROVE:
        return False
    return any(
        each.mode is Mode.BREAK_GLASS
        or (each.mode.approves and step.proceeds and step.is_late(submitted_at, each.at))
        for each in decisions
    )


def _assign(
    steps: Sequence[Step], decisions: Sequence[Decision], submitted_at: datetime | None
) -> Mapping[int, int]:
    """How many persons each own step gets when as many places as possible are filled (augmenting paths)."""
    places = [
        number for number, step in enumerate(steps) if step.is_own for _ in range(step.quorum)
    ]
    fitting = [
        [who for who, each in enumerate(decisions) if _answers(steps[number], each, submitted_at)]
        for number in places
    ]
    taken: dict[int, int] = {}  # by decision: its place

    def fill(place: int, tried: set[int]) -> bool:
        for who in fitting[place]:
            if who in tried:
                continue
            tried.add(who)
            if who not in taken or fill(taken[who], tried):
                taken[who] = place
                return True
        return False

    for place in range(len(places)):
        fill(place, set())
    counts: dict[int, int] = {}
    for place in taken.values():
        counts[places[place]] = counts.get(places[place], 0) + 1
    return counts
