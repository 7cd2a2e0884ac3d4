"""What concerns the whole ministry is decided at the top of the mission tree."""

from scheduler.db import missions
from scheduler.db.tables import Mission
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor, Permission, PermissionDeniedError, ScopeDeniedError
from scheduler.errors import NotFoundError


async def require_at_the_top(uow: UnitOfWork, actor: Actor, permission: Permission) -> Mission:
    """Return the first mission, if the permission is held there.

    Unlike a mission's own things, what concerns everybody is no secret: the refusal says so.

    Raises:
        NotFoundError: nothing is installed here yet.
        ScopeDeniedError, PermissionDeniedError: not with this token, or not by this person.
    """
    root = await missions.find_root(uow)
    if root is None:
        raise NotFoundError("nothing is installed here yet; run `chancery init`")
    if permission not in actor.scopes:
        raise ScopeDeniedError(f"this token does not carry the scope {permission}")
    if not actor.may(permission, root.path, now=uow.now):
        actor.refuse_unripe(permission, root.path, now=uow.now)
        raise PermissionDeniedError(f"{permission} is not granted to you at headquarters")
    return root
