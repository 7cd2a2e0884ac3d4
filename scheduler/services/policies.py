"""The policy in force: read, proposed by one admin and activated by another."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from scheduler.audit.actions import Action
from scheduler.db import persons, posts, rules
from scheduler.db.tables import Person, PolicyProposal, PolicyVersion, Post
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor, Permission
from scheduler.errors import ConflictError, ForbiddenError, NotFoundError
from scheduler.policy.bundle import open_policy
from scheduler.policy.lists import fold_value
from scheduler.policy.registries import Registries, find_changed_lines
from scheduler.services.installation import insert_policy
from scheduler.services.offices import Vacancy, find_vacancies
from scheduler.services.people import SecondAdminError
from scheduler.services.posts import reopen
from scheduler.services.scope import require_at_the_top

#: So much later than the one before is a policy at least.
_TICK: Final = timedelta(microseconds=1)


class PolicyUnchangedError(ConflictError):
    code = "policy_unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """What came of an admin's wish: a proposal that waits for another admin, or the policy that is in force now."""

    proposal: PolicyProposal
    active: PolicyVersion | None = None
    reopened: tuple[Post, ...] = ()  #: cited a line-to-take that is another now
    vacancies: tuple[Vacancy, ...] = ()  #: what nobody could answer


async def get_active(uow: UnitOfWork) -> PolicyVersion:
    return await rules.get_policy(uow)


async def find_proposals(uow: UnitOfWork) -> Sequence[tuple[PolicyProposal, str]]:
    """The policies that wait for a second admin, each with the name of who proposed it."""
    found = await rules.find_proposals(uow)
    names = await persons.find_names(uow, [each.proposed_by for each in found])
    return [(each, names[each.proposed_by]) for each in found]


async def get_proposal(uow: UnitOfWork, proposal_id: UUID) -> PolicyProposal:
    for each in await rules.find_proposals(uow):
        if each.id == proposal_id:
            return each
    raise NotFoundError(f"no policy {proposal_id} waits for a second admin")


async def activate(uow: UnitOfWork, actor: Actor, body: bytes) -> Activation:
    """Propose a policy, or put in force what another admin proposed: the same call by two admins.

    What it forbids of the posts already approved will be held, and posts that cite a line-to-take which is another now
    are drafts again.

    Raises:
        PolicyUnchangedError: it is in force.
        SecondAdminError: the actor has proposed it.
    """
    await require_at_the_top(uow, actor, Permission.MANAGE)
    policy = open_policy(body)
    vacancies = await find_vacancies(uow, policy)
    await rules.enter_gate(uow, exclusive=True)
    before = await rules.find_policy(uow)
    if before is not None and policy.digest == before.digest:
        raise PolicyUnchangedError(
            f"this policy is in force already (version {before.version})", version=before.version
        )
    waiting = [each for each in await rules.find_proposals(uow) if each.digest == policy.digest]
    for proposal in waiting:
        if proposal.proposed_by != actor.person_id and await _may_propose(uow, proposal):
            at = await _next_instant(uow)
            active = insert_policy(uow, body, at=at, actor=actor, proposal=proposal)
            old = Registries() if before is None else open_policy(before.body).registries
            reopened = await _reopen(uow, actor, find_changed_lines(old, policy.registries))
            return Activation(
                proposal=proposal, active=active, reopened=reopened, vacancies=vacancies
            )
    if any(each.proposed_by == actor.person_id for each in waiting):
        raise SecondAdminError(
            "you have proposed it: another admin has to run `chancery policy activate` with the same files"
        )
    return Activation(proposal=await _propose(uow, actor, body), vacancies=vacancies)


async def _next_instant(uow: UnitOfWork) -> datetime:
    """Now, but after the last activation also when the clock was set back: what is newest is in force."""
    return max(uow.now, await rules.find_last_activation(uow) + _TICK)


async def _propose(uow: UnitOfWork, actor: Actor, body: bytes) -> PolicyProposal:
    policy = open_policy(body)
    proposal = PolicyProposal(
        version=policy.version,
        digest=policy.digest,
        body=body,
        proposed_by=actor.person_id,
        proposed_at=await _next_instant(uow),
    )
    uow.session.add(proposal)
    uow.record(
        Action.POLICY_PROPOSE,
        {"t": "policy", "id": str(proposal.id)},
        actor=actor,
        detail={"version": policy.version, "digest": policy.digest},
    )
    return proposal


async def _may_propose(uow: UnitOfWork, proposal: PolicyProposal) -> bool:
    """Whether who proposed it could propose it now: two admins stand behind a policy when it comes into force."""
    person = await uow.session.get_one(Person, proposal.proposed_by)
    actor = await persons.load_actor(uow, person, via="proposal")
    try:
        await require_at_the_top(uow, actor, Permission.MANAGE)
    except ForbiddenError:
        return False
    return True


async def _reopen(
    uow: UnitOfWork, actor: Actor, changed: Mapping[str, float | None]
) -> tuple[Post, ...]:
    """Make drafts of what rests on a changed line; what a worker has in hand is asked again before it leaves."""
    found = []
    for post in await posts.lock_citing(uow):
        line = fold_value(str((post.facts or {})["line.id"]))
        if line in changed:
            now = changed[line]
            told = "it is in force no more" if now is None else f"version {now:g} is in force"
            why = f"the line-to-take that it cites has changed: {told}"
            if await reopen(uow, actor, post, why=why):
                found.append(post)
    return tuple(found)
