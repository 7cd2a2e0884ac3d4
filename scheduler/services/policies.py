"""The policy in force: read, tried on posts, and replaced by an admin."""

from scheduler.db import rules
from scheduler.db.tables import PolicyVersion
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor, Permission
from scheduler.errors import ConflictError
from scheduler.services.installation import insert_policy
from scheduler.services.scope import require_at_the_top


class PolicyUnchangedError(ConflictError):
    code = "policy_unchanged"


async def get_active(uow: UnitOfWork) -> PolicyVersion:
    return await rules.get_policy(uow)


async def activate(uow: UnitOfWork, actor: Actor, body: bytes) -> PolicyVersion:
    """Put a policy file in force; what it forbids of the posts already approved will be held."""
    await require_at_the_top(uow, actor, Permission.MANAGE)
    await rules.enter_gate(uow, exclusive=True)
    before = await rules.find_policy(uow)
    row = insert_policy(uow, body, actor=actor)
    if before is not None and row.digest == before.digest:
        raise PolicyUnchangedError(f"this policy is in force already (version {row.version})")
    return row
