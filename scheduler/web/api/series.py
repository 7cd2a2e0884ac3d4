"""Recurring posts: drafted by a rule, each with a decision of its own, and ended together."""

from datetime import date, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import Field, StringConstraints

from scheduler.db import series as rows
from scheduler.db.tables import Series
from scheduler.db.uow import UnitOfWork
from scheduler.domain.calendar import (
    Choice,
    TimeOutOfRangeError,
    TimeZoneUnknownError,
)
from scheduler.domain.recurrence import (
    MOST_EVERY,
    MOST_OCCURRENCES,
    ExceptionUnknownError,
    Gap,
    RuleInvalidError,
    SeriesEmptyError,
    SeriesTimesError,
    SeriesTooLongError,
    SeriesUnboundedError,
)
from scheduler.domain.text import TextBidiError, TextControlError, TextTagError
from scheduler.errors import NotFoundError
from scheduler.services import directory, series
from scheduler.services.campaigns import CampaignClosedError
from scheduler.services.postures import ReasonMissingError
from scheduler.services.series import Repeat, SeriesWindowError
from scheduler.services.writing import AccountUnknownError, TargetDeniedError, TimePastError
from scheduler.web.api.accounts import ReasonBody
from scheduler.web.api.fields import PersonRef, Zone
from scheduler.web.api.post_answers import PostLine, build_lines
from scheduler.web.paging import Page, Paging, cut
from scheduler.web.parsing import Input
from scheduler.web.routing import Answer, Errand, Route, Step, Unit, get, post

Days = Annotated[list[date], Field(max_length=MOST_OCCURRENCES, default_factory=list)]


class RepeatBody(Input):
    """A rule such as `weekly MO,TH 09:00`, with `until`, `count` or both; the text of the refusal lists its forms."""

    rule: Annotated[str, StringConstraints(min_length=1, max_length=60)]
    every: Annotated[int, Field(ge=1, le=MOST_EVERY)] = 1
    starts_on: date | None = None
    until: date | None = None
    count: Annotated[int, Field(ge=1, le=MOST_OCCURRENCES)] | None = None
    exceptions: Days
    zone: Zone | None = None
    fold: Choice | None = None
    gap: Gap | None = None


class SeriesAnswer(Answer):
    id: UUID
    mission: str
    author: PersonRef
    source: UUID  #: the post that was copied
    rule: str
    every: int
    zone: str
    starts_on: date
    until: date | None
    count: int | None
    exceptions: list[date]
    fold: Choice | None
    gap: Gap | None
    created_at: datetime
    ended_at: datetime | None
    end_reason: str
    states: dict[str, int]  #: how many of its posts are in each state


class OccurrenceAnswer(Answer):
    day: date
    post: PostLine


class SeriesWhole(SeriesAnswer):
    posts: list[OccurrenceAnswer]


class SeriesEnd(SeriesAnswer):
    """What the end has cancelled; what is `left` was leaving already, or had been tried."""

    cancelled: list[UUID]
    left: list[UUID]


async def repeat_post(step: Step, body: RepeatBody) -> SeriesWhole:
    """Draft a copy of the post, as it stands, for each day of a rule."""
    wanted = Repeat(**{**dict(body), "exceptions": tuple(body.exceptions)})
    made = await series.repeat(step.uow, step.actor, step.uuid("post_id"), wanted)
    return await _whole(step.uow, made)


async def list_series(step: Step, query: Paging) -> Page[SeriesAnswer]:
    """The series in sight, newest first."""
    found = await rows.find_page(step.uow, step.actor, before=query.cursor, limit=query.limit + 1)
    shown, cursor = cut(found, query.limit, lambda each: each.id)
    return Page(items=[SeriesAnswer(**await _line(step.uow, each)) for each in shown], next=cursor)


async def show_series(step: Step) -> SeriesWhole:
    """A series with the post of each day."""
    return await _whole(step.uow, await rows.get(step.uow, step.actor, step.uuid("series_id")))


async def end_series(errand: Errand, body: ReasonBody) -> SeriesEnd:
    """Cancel the posts of a series that are still to come and have not begun to leave."""
    open_uow = errand.app.open_uow
    ended = await series.end(open_uow, errand.actor, errand.uuid("series_id"), reason=body.reason)
    async with open_uow.read() as uow:
        line = await _line(uow, ended.series)
    return SeriesEnd(**line, cancelled=list(ended.cancelled), left=list(ended.left))


async def _whole(uow: UnitOfWork, found: Series) -> SeriesWhole:
    days = await rows.find_posts(uow, found.id)
    lines = await build_lines(uow, [each for _, each in days])
    return SeriesWhole(
        **await _line(uow, found),
        posts=[
            OccurrenceAnswer(day=date.fromisoformat(day), post=line)
            for (day, _), line in zip(days, lines, strict=True)
        ],
    )


async def _line(uow: UnitOfWork, found: Series) -> dict[str, Any]:
    names = await directory.find_names(
        uow, person_ids=[found.author_id], mission_ids=[found.mission_id]
    )
    states = await rows.count_states(uow, [found.id])
    return {
        "id": found.id,
        "mission": names.missions[found.mission_id],
        "author": PersonRef.of(names.persons[found.author_id]),
        "source": found.source_id,
        "rule": found.rule,
        "every": found.every,
        "zone": found.zone,
        "starts_on": date.fromisoformat(found.starts_on),
        "until": None if found.until is None else date.fromisoformat(found.until),
        "count": found.amount,
        "exceptions": [date.fromisoformat(each) for each in found.exceptions],
        "fold": None if found.fold is None else Choice(found.fold),
        "gap": None if found.gap is None else Gap(found.gap),
        "created_at": found.created_at,
        "ended_at": found.ended_at,
        "end_reason": found.end_reason,
        "states": states.get(found.id, {}),
    }


_NEEDS: Final = "write, at the post's mission"
ROUTES: Final[tuple[Route, ...]] = (
    post(
        "/posts/{post_id}/repeat",
        repeat_post,
        _NEEDS,
        status=201,
        errors=(
            NotFoundError,
            AccountUnknownError,
            TargetDeniedError,
            RuleInvalidError,
            SeriesUnboundedError,
            SeriesTooLongError,
            SeriesEmptyError,
            ExceptionUnknownError,
            SeriesTimesError,
            SeriesWindowError,
            CampaignClosedError,
            TimePastError,
            TimeZoneUnknownError,
            TimeOutOfRangeError,
        ),
    ),
    get("/series", list_series),
    get("/series/{series_id}", show_series, errors=(NotFoundError,)),
    post(
        "/series/{series_id}/end",
        end_series,
        "write, at the series' mission",
        unit=Unit.OWN,
        errors=(NotFoundError, ReasonMissingError, TextControlError, TextBidiError, TextTagError),
    ),
)
