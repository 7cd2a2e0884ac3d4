"""Logging in and out, and who am I."""

from datetime import datetime
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from scheduler.domain.people import Permission, Role
from scheduler.services import directory, tokens
from scheduler.services.tokens import EnrolmentRejectedError
from scheduler.web.api.fields import PersonRef
from scheduler.web.parsing import Input
from scheduler.web.refusals import TooManyTriesError
from scheduler.web.routing import Answer, Call, Route, Step, Unit, delete, get, post


class RedeemBody(Input):
    code: Annotated[str, StringConstraints(min_length=1, max_length=60)]
    scopes: Annotated[frozenset[Permission], Field(min_length=1)] | None = None


class TokenAnswer(Answer):
    token: str
    expires_at: datetime
    person: PersonRef


class GrantLine(Answer):
    role: Role
    office: str
    mission: str
    approves_from: datetime | None  #: when the role is too young to clear or approve


class WhoamiAnswer(Answer):
    person: PersonRef
    grants: list[GrantLine]
    scopes: list[Permission]
    token_expires_at: datetime | None
    approvals_suspended_until: datetime | None


async def redeem_enrolment(call: Call, body: RedeemBody) -> TokenAnswer:
    """Turn a one-time code into a token, which is shown this once."""
    async with call.app.open_uow() as uow:
        issued = await tokens.redeem(uow, body.code, scopes=body.scopes)
    return TokenAnswer(
        token=issued.token, expires_at=issued.expires_at, person=PersonRef.of(issued.person)
    )


async def revoke_current_token(step: Step) -> None:
    """End the token of this request."""
    await tokens.log_out(step.uow, step.actor)


async def whoami(step: Step) -> WhoamiAnswer:
    """Who this token belongs to, and what it is good for now."""
    found = await directory.identify(step.uow, step.actor)
    return WhoamiAnswer(
        person=PersonRef.of(found.person),
        grants=[
            GrantLine(role=role, office=office, mission=code, approves_from=ripe)
            for role, office, code, ripe in found.grants
        ],
        scopes=sorted(step.actor.scopes),
        token_expires_at=found.token_expires_at,
        approvals_suspended_until=step.actor.approvals_suspended_until,
    )


ROUTES: Final[tuple[Route, ...]] = (
    post(
        "/enrolments/redeem",
        redeem_enrolment,
        "nobody: the code is the proof",
        unit=Unit.NONE,
        status=201,
        limited=True,
        errors=(EnrolmentRejectedError, TooManyTriesError),
    ),
    delete("/tokens/current", revoke_current_token, "any token"),
    get("/whoami", whoami, "any token"),
)
