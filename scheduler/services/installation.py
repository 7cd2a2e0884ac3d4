"""`chancery init`: an installation from nothing, and the same call again changes nothing."""

from dataclasses import dataclass
from datetime import datetime

from scheduler.audit.actions import Action
from scheduler.db import missions
from scheduler.db.tables import AuditHead, Mission, PolicyProposal, PolicyVersion
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor, Role
from scheduler.errors import InvalidError
from scheduler.policy.bundle import open_policy
from scheduler.services import people, tokens
from scheduler.services.people import NewGrant, NewMission
from scheduler.services.tokens import IssuedCode


class TwoAdminsError(InvalidError):
    code = "two_admins_needed"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAdmin:
    code: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    mission: Mission
    codes: tuple[IssuedCode, ...]  #: empty when the installation was there already


async def install(
    uow: UnitOfWork,
    *,
    mission: NewMission,
    admins: tuple[NewAdmin, ...],
    policy: bytes,
    public_keys: dict[str, str],
) -> Installed:
    """Make the first mission and its admins; they enrol with the codes in the answer, shown once.

    Raises:
        TwoAdminsError: fewer than two admins; a single one could grant themselves anything.
    """
    found = await missions.find_root(uow)
    if found is not None:
        return Installed(mission=found, codes=())
    if len({admin.code for admin in admins}) < 2:  # noqa: PLR2004 - the rule's own number
        raise TwoAdminsError("an installation needs two admins, who confirm each other's grants")
    uow.session.add(AuditHead(size=0, frontier=[], epoch=0, lease_until=uow.now))
    root = await people.insert_mission(uow, mission, None, None)
    uow.record(
        Action.INSTALLATION_INIT,
        {"t": "mission", "id": str(root.id)},
        detail={"keys": dict(public_keys), "seals": True},
    )
    insert_policy(uow, policy, at=uow.now)
    codes = []
    for admin in admins:
        person = await people.insert_person(uow, admin.code, admin.name, (), None)
        grant = NewGrant(person=admin.code, mission=mission.code, role=Role.ADMIN)
        await people.insert_bootstrap_grant(uow, person, root, grant)
        codes.append(await tokens.enrol(uow, person, issued_by=None))
    return Installed(mission=root, codes=tuple(codes))


def insert_policy(
    uow: UnitOfWork,
    body: bytes,
    *,
    at: datetime,
    actor: Actor | None = None,
    proposal: PolicyProposal | None = None,
) -> PolicyVersion:
    """Put a policy in force; the record tells who proposed it, where somebody did."""
    policy = open_policy(body)
    row = PolicyVersion(
        version=policy.version,
        digest=policy.digest,
        body=body,
        activated_by=None if actor is None else actor.person_id,
        activated_at=at,
    )
    uow.session.add(row)
    proposed = {} if proposal is None else {"proposed_by": str(proposal.proposed_by)}
    uow.record(
        Action.POLICY_ACTIVATE,
        {"t": "policy", "id": str(row.id)},
        actor=actor,
        detail={"version": policy.version, "digest": policy.digest, **proposed},
    )
    return row
