"""Stop and resume, for the whole installation."""

from datetime import datetime
from typing import Final
from uuid import UUID

from scheduler.db import rules
from scheduler.errors import NotFoundError
from scheduler.services import directory, postures
from scheduler.services.postures import AlreadyStoppedError, NotStoppedError, ReasonMissingError
from scheduler.web.api.accounts import ReasonBody
from scheduler.web.routing import Answer, Route, Step, get, post


class PostureAnswer(Answer):
    stopped: bool
    since: datetime | None
    reason: str | None
    by: str | None  #: the person's name


class StopReceipt(Answer):
    """What the stop meets: `in_flight` may still become public, `caught` will not."""

    since: datetime
    caught: list[UUID]
    in_flight: list[UUID]


async def show_posture(step: Step) -> PostureAnswer:
    """Whether publishing is stopped, since when, why and by whom."""
    stop = await rules.find_stop(step.uow)
    if stop is None:
        return PostureAnswer(stopped=False, since=None, reason=None, by=None)
    names = await directory.find_names(step.uow, person_ids=[stop.started_by])
    by = None if stop.started_by is None else names.persons[stop.started_by].name
    return PostureAnswer(stopped=True, since=stop.started_at, reason=stop.reason, by=by)


async def stop_publishing(step: Step, body: ReasonBody) -> StopReceipt:
    """Freeze the installation: nothing whose intent is not committed yet will leave."""
    receipt = await postures.stop(step.uow, step.actor, reason=body.reason)
    return StopReceipt(
        since=receipt.posture.started_at,
        caught=list(receipt.caught),
        in_flight=list(receipt.in_flight),
    )


async def resume_publishing(step: Step, body: ReasonBody) -> PostureAnswer:
    """Lift the stop; what was held stays held until a person releases it."""
    await postures.resume(step.uow, step.actor, reason=body.reason)
    return PostureAnswer(stopped=False, since=None, reason=None, by=None)


_NEEDS: Final = "stop, at the headquarters"
ROUTES: Final[tuple[Route, ...]] = (
    get("/posture", show_posture, "any token"),
    post(
        "/posture/stop",
        stop_publishing,
        _NEEDS,
        errors=(NotFoundError, AlreadyStoppedError, ReasonMissingError),
    ),
    post(
        "/posture/resume",
        resume_publishing,
        _NEEDS,
        errors=(NotFoundError, NotStoppedError, ReasonMissingError),
    ),
)
