"""Enrolment and API tokens: nobody ever holds another person's token, and only hashes are kept."""

import base64
import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from scheduler.audit.actions import Action
from scheduler.db import persons
from scheduler.db.tables import ApiToken, Enrolment, Person
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import REENROLMENT_SUSPENSION, Actor, Permission
from scheduler.errors import UnauthenticatedError

ENROLMENT_LIFETIME: Final = timedelta(hours=24)
TOKEN_LIFETIME: Final = timedelta(days=90)
_PREFIX: Final = "chancery_"  # lets secret scanners know it


class TokenRejectedError(UnauthenticatedError):
    """Unknown, revoked or expired: the three are not told apart."""

    code = "token_rejected"


class EnrolmentRejectedError(UnauthenticatedError):
    """Unknown, used or expired: the three are not told apart."""

    code = "enrolment_rejected"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCode:
    """Shown once, to the admin who hands it over."""

    person: Person
    code: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedToken:
    """Shown once, to the person it belongs to."""

    person: Person
    token: str
    expires_at: datetime


async def enrol(uow: UnitOfWork, person: Person, *, issued_by: Actor | None) -> IssuedCode:
    """Issue a one-time code; every earlier code is void.

    To be enrolled by another person, or again, ends a person's tokens and suspends what they could decide: else whoever
    issues codes could act as anybody.
    """
    again = await persons.was_enrolled(uow, person.id)
    await persons.void_enrolments(uow, person.id)
    await revoke_all(uow, person, actor=issued_by)
    if again or issued_by is not None:
        person.approvals_suspended_until = uow.now + REENROLMENT_SUSPENSION
        uow.record(
            Action.PERSON_SUSPEND_APPROVALS, {"t": "person", "id": str(person.id)}, actor=issued_by
        )
    raw = base64.b32encode(secrets.token_bytes(15)).decode()
    code = "-".join(raw[start : start + 6] for start in range(0, 24, 6))
    enrolment = Enrolment(
        person_id=person.id,
        code_sha256=_hash(code),
        issued_by=None if issued_by is None else issued_by.person_id,
        issued_at=uow.now,
        expires_at=uow.now + ENROLMENT_LIFETIME,
    )
    uow.session.add(enrolment)
    uow.record(
        Action.PERSON_ENROL,
        {"t": "person", "id": str(person.id)},
        actor=issued_by,
        detail={"again": again},
    )
    return IssuedCode(person=person, code=code, expires_at=enrolment.expires_at)


async def redeem(
    uow: UnitOfWork, code: str, *, scopes: frozenset[Permission] | None = None
) -> IssuedToken:
    """Turn a code into a token, once.

    Raises:
        EnrolmentRejectedError: the code is unknown, used or older than 24 hours.
    """
    enrolment = await persons.find_enrolment(uow, _hash(code.strip().upper()))
    if enrolment is None or enrolment.redeemed_at or enrolment.expires_at <= uow.now:
        raise EnrolmentRejectedError(
            "this enrolment code is not valid (it works once, for 24 hours); ask an admin for a new one"
        )
    enrolment.redeemed_at = uow.now
    person = await persons.get(uow, enrolment.person_id)
    if not person.active:
        raise EnrolmentRejectedError("this person is no longer active")
    token = _PREFIX + secrets.token_urlsafe(32)
    row = ApiToken(
        person_id=person.id,
        token_sha256=_hash(token),
        scopes=sorted(scopes if scopes is not None else frozenset(Permission)),
        created_at=uow.now,
        expires_at=uow.now + TOKEN_LIFETIME,
    )
    uow.session.add(row)
    uow.record(
        Action.PERSON_REDEEM,
        {"t": "person", "id": str(person.id)},
        detail={"token": str(row.id), "scopes": list(row.scopes)},
    )
    return IssuedToken(person=person, token=token, expires_at=row.expires_at)


async def authenticate(uow: UnitOfWork, token: str, *, via: str) -> Actor:
    """The person behind a token, with the grants in force now.

    Raises:
        TokenRejectedError: unknown, revoked or expired.
    """
    found = await persons.find_token(uow, _hash(token))
    if found is None:
        raise TokenRejectedError("this token is not valid; log in again with `chancery login`")
    row, person = found
    return await persons.load_actor(uow, person, via=via, token=row)


async def log_out(uow: UnitOfWork, actor: Actor) -> None:
    """Revoke the token the actor came with.

    Raises:
        TokenRejectedError: the actor came without one.
    """
    if actor.token_id is None:
        raise TokenRejectedError("there is no token to revoke")
    for token in await persons.find_tokens(uow, actor.person_id, token_id=actor.token_id):
        token.revoked_at = uow.now
    uow.record(Action.TOKEN_REVOKE, {"t": "token", "id": str(actor.token_id)}, actor=actor)


async def revoke_all(uow: UnitOfWork, person: Person, *, actor: Actor | None) -> None:
    for token in await persons.find_tokens(uow, person.id):
        token.revoked_at = uow.now
        uow.record(Action.TOKEN_REVOKE, {"t": "token", "id": str(token.id)}, actor=actor)


def _hash(secret: str) -> str:
    """Plain SHA-256 is enough for secrets of 120 random bits and more."""
    return hashlib.sha256(secret.encode()).hexdigest()
