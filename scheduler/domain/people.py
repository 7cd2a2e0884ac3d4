"""Who may do what where: roles, the permissions they carry, and the mission tree as their scope."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID

from scheduler.clock import iso
from scheduler.errors import ForbiddenError, NotFoundError


class Role(StrEnum):
    OFFICER = "officer"
    CLEARER = "clearer"
    SUPERVISOR = "supervisor"
    ADMIN = "admin"
    AUDITOR = "auditor"


class Permission(StrEnum):
    READ = "read"  #: posts, deliveries, accounts, missions in scope
    WRITE = "write"  #: draft, edit, submit, withdraw, schedule, cancel
    CLEAR = "clear"  #: say that nothing speaks against a post, for one's office
    APPROVE = "approve"  #: approve and return
    REPAIR = "repair"  #: end a hold or an unknown
    STOP = "stop"  #: freeze and resume
    MANAGE = "manage"  #: missions, persons, grants, accounts, policy
    AUDIT = "audit"  #: read, export and verify the record


#: An admin can neither write nor approve: taking over an admin publishes nothing.
ROLE_PERMISSIONS: Final[Mapping[Role, frozenset[Permission]]] = MappingProxyType(
    {
        Role.OFFICER: frozenset({Permission.READ, Permission.WRITE, Permission.STOP}),
        Role.CLEARER: frozenset({Permission.READ, Permission.CLEAR}),
        Role.SUPERVISOR: frozenset(
            {
                Permission.READ,
                Permission.WRITE,
                Permission.CLEAR,
                Permission.APPROVE,
                Permission.REPAIR,
                Permission.STOP,
            }
        ),
        Role.ADMIN: frozenset({Permission.READ, Permission.MANAGE, Permission.STOP}),
        Role.AUDITOR: frozenset({Permission.READ, Permission.AUDIT}),
    }
)

#: What is said of a post: a young grant may not.
DECIDING: Final = frozenset({Permission.CLEAR, Permission.APPROVE})
#: A grant made after the installation decides nothing before this time is over.
NEW_GRANT_COOLDOWN: Final = timedelta(hours=24)
#: A person who was enrolled again decides nothing before this time is over.
REENROLMENT_SUSPENSION: Final = timedelta(hours=24)

#: What a person who was enrolled again may not do yet: the new token may be somebody else's.
_SUSPENDED: Final = DECIDING | {Permission.MANAGE}


class PermissionDeniedError(ForbiddenError):
    """The person holds no grant for this here."""

    code = "permission_denied"


class ScopeDeniedError(ForbiddenError):
    """The token was issued for less than the person may do."""

    code = "token_scope"


class GrantTooYoungError(PermissionDeniedError):
    """The role is in force, but a new one approves nothing for a day; `until` says when it does."""

    code = "grant_too_young"


class ApprovalsSuspendedError(PermissionDeniedError):
    """The person was enrolled again, so for a day they neither approve nor manage; `until` says when it ends."""

    code = "approvals_suspended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A role on a mission and everything below it, maybe in an office of it."""

    role: Role
    mission_path: str  #: ids from the root to the mission, `/…/…/`
    may_approve_from: datetime  #: a young grant carries every permission but those that decide
    office: str = ""

    def covers(self, mission_path: str) -> bool:
        return mission_path.startswith(self.mission_path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """The person who acts now, with the grants that are in force now."""

    person_id: UUID
    grants: tuple[Grant, ...]
    scopes: frozenset[Permission] = field(default_factory=lambda: frozenset(Permission))
    via: str  #: api, cli, worker
    token_id: UUID | None = None
    approvals_suspended_until: datetime | None = None

    def may(self, permission: Permission, mission_path: str, *, now: datetime) -> bool:
        if permission not in self.scopes:
            return False
        return any(
            permission in ROLE_PERMISSIONS[grant.role] and self._is_ripe(grant, permission, now)
            for grant in self.grants
            if grant.covers(mission_path)
        )

    def require(self, permission: Permission, mission_path: str, *, now: datetime) -> None:
        """Refuse unless the permission is held for the mission.

        Raises:
            NotFoundError: the person cannot even see the mission's things.
            ScopeDeniedError: the token was issued for less.
            PermissionDeniedError: seen, but not allowed.
            GrantTooYoungError, ApprovalsSuspendedError: seen, and allowed later.
        """
        if self.may(permission, mission_path, now=now):
            return
        self.refuse_unripe(permission, mission_path, now=now)
        if not self.sees(mission_path):
            raise NotFoundError("not found")
        if permission not in self.scopes:
            raise ScopeDeniedError(f"this token does not carry the scope {permission}")
        raise PermissionDeniedError(f"{permission} is not granted to you here", needs=permission)

    def refuse_unripe(self, permission: Permission, mission_path: str, *, now: datetime) -> None:
        """Say until when a person waits who has the right role, but may not use it yet.

        Raises:
            GrantTooYoungError, ApprovalsSuspendedError: nothing but time is missing.
        """
        fitting = [
            grant
            for grant in self.grants
            if grant.covers(mission_path) and permission in ROLE_PERMISSIONS[grant.role]
        ]
        if permission not in self.scopes or not fitting:
            return
        suspended = self.approvals_suspended_until
        if permission in _SUSPENDED and suspended is not None and suspended > now:
            raise ApprovalsSuspendedError(
                f"you were enrolled again at {iso(suspended - REENROLMENT_SUSPENSION)}: "
                f"you may {permission} again from {iso(suspended)}",
                needs=permission,
                until=iso(suspended),
            )
        first = min(fitting, key=lambda grant: grant.may_approve_from)
        if not self._is_ripe(first, permission, now):
            ripe = first.may_approve_from
            raise GrantTooYoungError(
                f"your role of {first.role} is in force since {iso(ripe - NEW_GRANT_COOLDOWN)}: "
                f"it may {permission} from {iso(ripe)}",
                needs=permission,
                until=iso(ripe),
            )

    def sees(self, mission_path: str) -> bool:
        return any(grant.covers(mission_path) for grant in self.grants)

    def offices(
        self, permission: Permission, mission_paths: Iterable[str], *, now: datetime
    ) -> frozenset[str]:
        """In what the person may clear or approve on all these missions now: names of roles, and offices on them."""
        held = [
            {
                name
                for grant in self.grants
                if grant.covers(path)
                and permission in ROLE_PERMISSIONS[grant.role]
                and self._is_ripe(grant, permission, now)
                for name in (grant.role.value, grant.office)
                if name
            }
            for path in mission_paths
        ]
        return frozenset(set.intersection(*held)) if held else frozenset()

    def paths(self, permission: Permission) -> frozenset[str]:
        """The mission paths at whose top the permission is held; what is below is included."""
        if permission not in self.scopes:
            return frozenset()
        return frozenset(
            grant.mission_path
            for grant in self.grants
            if permission in ROLE_PERMISSIONS[grant.role]
        )

    def _is_ripe(self, grant: Grant, permission: Permission, now: datetime) -> bool:
        suspended = self.approvals_suspended_until
        if permission in _SUSPENDED and suspended is not None and suspended > now:
            return False
        return permission not in DECIDING or grant.may_approve_from <= now


def path_of(ids: Iterable[UUID]) -> str:
    """The path of a mission, from the ids of the root down to itself."""
    return "/" + "".join(f"{each.hex}/" for each in ids)
