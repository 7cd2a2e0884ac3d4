"""Who has to act by when, or the post misses its time: the open steps with the persons who could answer them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from scheduler.db import persons
from scheduler.db.tables import Grant, Mission, Person
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor
from scheduler.policy.clearance import Decision, Mode, Step, holds
from scheduler.services.clearing import Standing, may_decide


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    person: Person
    zone: str  #: of the mission where their right is


@dataclass(frozen=True, slots=True, kw_only=True)
class PathStep:
    step: Step
    missing: int  #: persons; 0: done, or passed over
    act_by: (
        datetime | None
    )  #: when it is late, or the post is due; None: it goes out whenever it is approved
    is_late: bool
    waits: bool  #: others have to clear first
    candidates: tuple[Candidate, ...]  #: empty where it is done, or where nobody can


async def find_path(uow: UnitOfWork, standing: Standing) -> tuple[PathStep, ...]:
    """Every step of the post, in the order in which they are due."""
    able = await _find_able(uow, standing)
    missing = {id(each.step): each.missing for each in standing.open}
    clears = any(each.step.mode is Mode.CLEAR for each in standing.open)
    post = standing.parts.post
    found = []
    for step in standing.judgement.steps:
        deadline = step.deadline(post.submitted_at)
        known = [each for each in (deadline, post.due_at) if each is not None]
        lacks = missing.get(id(step), 0)
        found.append(
            PathStep(
                step=step,
                missing=lacks,
                act_by=min(known, default=None),
                is_late=step.is_late(post.submitted_at, uow.now),
                waits=step.mode is Mode.APPROVE and clears,
                candidates=tuple(
                    candidate
                    for candidate, decision in able
                    if lacks and _could_answer(step, decision, standing)
                ),
            )
        )
    return tuple(found)


def _could_answer(step: Step, decision: Decision, standing: Standing) -> bool:
    late = step.is_late(standing.parts.post.submitted_at, decision.at)
    wanted = step.offices | step.deputies if late else step.offices
    return holds(decision.offices, wanted) and (step.mode is Mode.CLEAR or decision.mode.approves)


async def _find_able(uow: UnitOfWork, standing: Standing) -> list[tuple[Candidate, Decision]]:
    """Whoever could decide on the post now, with what they would decide in."""
    granted = await persons.find_grants(uow)
    known = {person.id: person for _, _, person in granted}
    actors = await persons.load_actors(uow, list(known.values()), via="path")
    out = standing.parts.editors | {each.person_id for each in standing.decisions}
    out |= await persons.find_issuers(uow, standing.parts.editors)
    found = []
    for person_id, actor in sorted(actors.items(), key=lambda each: known[each[0]].code):
        if person_id in out or (mode := _find_mode(actor, standing, uow.now)) is None:
            continue
        zone = _find_zone(granted, person_id)
        candidate = Candidate(person=known[person_id], zone=zone)
        found.append((candidate, standing.decide(actor, mode, uow.now)))
    return found


def _find_mode(actor: Actor, standing: Standing, now: datetime) -> Mode | None:
    modes = (Mode.APPROVE, Mode.CLEAR)
    return next((each for each in modes if may_decide(actor, each, standing.parts, now)), None)


def _find_zone(granted: Sequence[tuple[Grant, Mission, Person]], person_id: UUID) -> str:
    """Where the person sits, as far as is known: the lowest mission on which they have a role."""
    missions = [mission for _, mission, person in granted if person.id == person_id]
    return max(missions, key=lambda mission: len(mission.path)).zone
