"""Postures: what is stopped, set and lifted, and the release of what it has caught."""

from datetime import datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field, StringConstraints

from scheduler.db import campaigns
from scheduler.db.postures import Met
from scheduler.db.tables import Account, Posture
from scheduler.domain.delivery_flow import DeliveryState
from scheduler.domain.people import Permission
from scheduler.domain.posture import Restriction
from scheduler.errors import NotFoundError
from scheduler.services import directory, postures, releasing
from scheduler.services.postures import (
    AlreadyStoppedError,
    NewPosture,
    NotStoppedError,
    PostureAmbiguousError,
    PostureTimesError,
    ReasonMissingError,
    SecondPersonError,
)
from scheduler.services.releasing import PostureInForceError
from scheduler.web.api.fields import Code, Instant, Language, Note, PersonRef, PostClass
from scheduler.web.parsing import Input
from scheduler.web.routing import Answer, Route, Step, get, post

_DAY_MINUTES: Final = 24 * 60
Kind = Annotated[str, StringConstraints(pattern=r"^[a-z]+(_[a-z]+){0,4}$", max_length=40)]
Spread = Annotated[int, Field(ge=0, le=_DAY_MINUTES)]


class StopBody(Input):
    """Everything that is named must fit; without a name it holds for all."""

    reason: Note
    kind: Kind = "stop"
    mission: Code | None = None
    account: Code | None = None
    campaign: Code | None = None
    language: Language | None = None
    allowed_classes: Annotated[tuple[PostClass, ...], Field(max_length=40)] = ()
    starts_at: Instant | None = None
    ends_at: Instant | None = None


class ResumeBody(Input):
    reason: Note
    posture: UUID | None = None
    release: bool = False  #: also what it has caught; else nothing
    spread_minutes: Spread = 0


class ReleaseBody(Input):
    reason: Note
    spread_minutes: Spread


class PostureAnswer(Answer):
    id: UUID
    kind: str
    reason: str
    in_force: bool  #: else it is announced
    mission: str | None
    account: str | None
    campaign: str | None
    language: str | None
    allowed_classes: list[str]
    starts_at: datetime
    ends_at: datetime | None
    set_by: PersonRef | None
    set_at: datetime
    end_proposed_by: PersonRef | None


class PosturesAnswer(Answer):
    """`stopped`: nothing at all may leave; the three after it say of what stop. The list holds all that concern you."""

    stopped: bool
    since: datetime | None
    reason: str | None
    by: str | None  #: the person's name
    postures: list[PostureAnswer]


class MetAnswer(Answer):
    delivery: UUID
    post: UUID
    title: str | None  #: None where the post is not yours to read
    account: str
    due_at: datetime | None
    state: DeliveryState


class StopReceipt(Answer):
    """What the stop meets: `in_flight` may still become public, `caught` will not."""

    posture: UUID
    since: datetime
    caught: list[MetAnswer]
    in_flight: list[MetAnswer]


class ReleasedAnswer(Answer):
    delivery: UUID
    account: str
    due_at: datetime


class SkippedAnswer(Answer):
    """It stays held."""

    delivery: UUID
    account: str
    code: str
    message: str


class ReleaseReceipt(Answer):
    released: list[ReleasedAnswer]
    skipped: list[SkippedAnswer]


class ResumeAnswer(PosturesAnswer):
    """`lifted` is false when you had set it yourself: then another person has to confirm."""

    posture: UUID
    lifted: bool
    release: ReleaseReceipt | None


async def show_posture(step: Step) -> PosturesAnswer:
    """What is stopped or will be, since when, why and by whom."""
    return PosturesAnswer(**await _overview(step))


async def stop_publishing(step: Step, body: StopBody) -> StopReceipt:
    """Set a posture: of what it forbids, nothing whose intent is not committed yet will leave."""
    given = body.model_dump(exclude={"reason"})
    receipt = await postures.stop(step.uow, step.actor, reason=body.reason, new=NewPosture(**given))
    posture = receipt.posture
    return StopReceipt(
        posture=posture.id,
        since=posture.starts_at or posture.started_at,
        caught=[_met(step, each) for each in receipt.caught],
        in_flight=[_met(step, each) for each in receipt.in_flight],
    )


async def resume_publishing(step: Step, body: ResumeBody) -> ResumeAnswer:
    """Lift a posture that another person has set; what was held stays held unless asked otherwise."""
    posture = await postures.resume(
        step.uow, step.actor, reason=body.reason, posture_id=body.posture
    )
    lifted = posture.ended_at is not None
    released = None
    if lifted and body.release:
        spread = timedelta(minutes=body.spread_minutes)
        released = await _release(step, posture.id, body.reason, spread)
    return ResumeAnswer(
        **await _overview(step), posture=posture.id, lifted=lifted, release=released
    )


async def release_caught(step: Step, body: ReleaseBody) -> ReleaseReceipt:
    """Release what a posture that is over has caught, spread evenly; what cannot go stays held and is named."""
    spread = timedelta(minutes=body.spread_minutes)
    return await _release(step, step.uuid("posture_id"), body.reason, spread)


async def _release(step: Step, posture_id: UUID, reason: str, spread: timedelta) -> ReleaseReceipt:
    receipt = await releasing.release_caught(
        step.uow, step.actor, posture_id, reason=reason, spread=spread
    )
    return ReleaseReceipt(
        released=[
            ReleasedAnswer(delivery=each.delivery_id, account=each.account, due_at=each.due_at)
            for each in receipt.released
        ],
        skipped=[
            SkippedAnswer(
                delivery=each.delivery_id,
                account=each.account,
                code=each.code,
                message=each.message,
            )
            for each in receipt.skipped
        ],
    )


async def _overview(step: Step) -> dict[str, object]:
    visible = await postures.find_visible(step.uow, step.actor)
    answers = [await _answer(step, *each) for each in visible]
    wide = (
        answer
        for answer, (_, restriction) in zip(answers, visible, strict=True)
        if answer.in_force and restriction.stops_everything
    )
    stop = next(wide, None)
    return {
        "stopped": stop is not None,
        "since": stop and stop.starts_at,
        "reason": stop and stop.reason,
        "by": stop and stop.set_by and stop.set_by.name,
        "postures": answers,
    }


async def _answer(step: Step, posture: Posture, restriction: Restriction) -> PostureAnswer:
    uow, mission, account = step.uow, posture.mission_id, posture.account_id
    names = await directory.find_names(
        uow,
        person_ids=[posture.started_by, posture.end_proposed_by],
        mission_ids=[] if mission is None else [mission],
    )
    persons = {key: PersonRef.of(person) for key, person in names.persons.items()}
    return PostureAnswer(
        id=posture.id,
        kind=posture.kind,
        reason=posture.reason,
        in_force=restriction.is_in_force(uow.now),
        mission=None if mission is None else names.missions[mission],
        account=None if account is None else (await uow.session.get_one(Account, account)).code,
        campaign=(
            None
            if posture.campaign_id is None
            else await campaigns.find_code(uow, posture.campaign_id)
        ),
        language=posture.language,
        allowed_classes=posture.allowed_classes,
        starts_at=posture.starts_at or posture.started_at,
        ends_at=posture.ends_at,
        set_by=None if posture.started_by is None else persons[posture.started_by],
        set_at=posture.started_at,
        end_proposed_by=(
            None if posture.end_proposed_by is None else persons[posture.end_proposed_by]
        ),
    )


def _met(step: Step, met: Met) -> MetAnswer:
    may_read = step.actor.may(Permission.READ, met.post_path, now=step.uow.now)
    return MetAnswer(
        delivery=met.delivery_id,
        post=met.post_id,
        title=met.title if may_read else None,
        account=met.account,
        due_at=met.due_at,
        state=met.state,
    )


_NEEDS: Final = "stop, for all that is named, or at the headquarters"
ROUTES: Final[tuple[Route, ...]] = (
    get("/posture", show_posture, "any token"),
    post(
        "/posture/stop",
        stop_publishing,
        _NEEDS,
        errors=(NotFoundError, AlreadyStoppedError, PostureTimesError, ReasonMissingError),
    ),
    post(
        "/posture/resume",
        resume_publishing,
        "stop, where it was set from; repair to release",
        errors=(
            NotFoundError,
            NotStoppedError,
            PostureAmbiguousError,
            SecondPersonError,
            ReasonMissingError,
        ),
    ),
    post(
        "/posture/{posture_id}/release",
        release_caught,
        "repair, at each post's mission",
        errors=(NotFoundError, PostureInForceError, ReasonMissingError),
    ),
)
