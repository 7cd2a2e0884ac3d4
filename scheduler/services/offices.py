"""The offices that a policy calls on and nobody in the ministry holds: what they are asked about would wait."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from scheduler.db import persons
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import ROLE_PERMISSIONS, Actor
from scheduler.policy.clearance import Step, holds
from scheduler.policy.rules import Policy
from scheduler.services.clearing import permission_for
from scheduler.services.judging import find_required


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacancy:
    offices: tuple[str, ...]  #: any one of them would do
    asked_by: str  #: `workflow statement`, `rule desk.rail`


async def find_vacancies(uow: UnitOfWork, policy: Policy) -> tuple[Vacancy, ...]:
    """What nobody could answer, wherever in the ministry; a grant that is still too young to decide counts as held."""
    people = [person for _, _, person in await persons.find_grants(uow)]
    actors = (await persons.load_actors(uow, people, via="offices")).values()
    found = []
    for step, asked_by in _find_steps(policy):
        wanted = step.offices | step.deputies
        if wanted and not holds(_find_held(actors, step), wanted):
            found.append(Vacancy(offices=tuple(sorted(wanted)), asked_by=asked_by))
    return tuple(found)


def _find_steps(policy: Policy) -> Iterator[tuple[Step, str]]:
    for workflow in policy.workflows:
        for step in workflow.steps:
            yield step, f"workflow {workflow.id}"
    for rule in policy.rules:
        for step in find_required(rule):
            yield step, f"rule {rule.id}"


def _find_held(actors: Iterable[Actor], step: Step) -> frozenset[str]:
    return frozenset(
        name
        for actor in actors
        for grant in actor.grants
        if permission_for(step.mode) in ROLE_PERMISSIONS[grant.role]
        for name in (grant.role.value, grant.office)
        if name
    )
