"""The calendar: posts by their time, as clocks show it at their mission."""

from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Final
from zoneinfo import ZoneInfo

from pydantic import Field

from scheduler.db import posts, preflights
from scheduler.db.tables import Mission, Post, Preflight
from scheduler.domain.calendar import FIRST_YEAR, LAST_YEAR, TimeOutOfRangeError
from scheduler.web.api.post_answers import PostLine, build_lines
from scheduler.web.paging import Page, Paging, page_of
from scheduler.web.routing import Answer, Route, Step, get

_LONGEST: Final = timedelta(days=92)
_DAY: Final = timedelta(days=1)


class PreflightState(StrEnum):
    """Of a post's deliveries together."""

    OPEN = ""  #: not checked yet
    OK = "ok"
    FAILED = "failed"


class CalendarQuery(Paging):
    start: Annotated[date, Field(alias="from")]
    end: Annotated[date, Field(alias="to", description="the day after the last")]


class Entry(Answer):
    post: PostLine
    due_at: datetime
    local: str  #: at the post's mission
    zone: str
    preflight: PreflightState


async def show_calendar(step: Step, query: CalendarQuery) -> Page[Entry]:
    """Posts that are due from one day up to, without, another; days are those of each post's mission."""
    _require_range(query)
    # Local days differ from UTC's by up to 14 hours: a day more on either side, then the exact ones.
    found = await posts.find_due_between(
        step.uow, step.actor, _midnight(query.start - _DAY), _midnight(query.end + _DAY)
    )
    wanted = [
        (post, mission)
        for post, mission in found
        if query.start <= _local(post, mission).date() < query.end
    ]
    shown, cursor = page_of(wanted, query, lambda pair: pair[0].id)
    lines = await build_lines(step.uow, [post for post, _ in shown])
    checks = await preflights.find_by_posts(step.uow, [post.id for post, _ in shown])
    return Page(
        items=[
            Entry(
                post=line,
                due_at=_due(post),
                local=_local(post, mission).isoformat(timespec="minutes"),
                zone=mission.zone,
                preflight=_judge(checks.get(post.id, ())),
            )
            for line, (post, mission) in zip(lines, shown, strict=True)
        ],
        next=cursor,
    )


def _judge(checks: tuple[Preflight, ...]) -> PreflightState:
    if not checks:
        return PreflightState.OPEN
    return PreflightState.OK if all(each.ok for each in checks) else PreflightState.FAILED


def _require_range(query: CalendarQuery) -> None:
    if not FIRST_YEAR < query.start.year <= query.end.year < LAST_YEAR:
        raise TimeOutOfRangeError(f"both days are after {FIRST_YEAR} and before {LAST_YEAR}")
    if not timedelta(0) < query.end - query.start <= _LONGEST:
        raise TimeOutOfRangeError(f"`to` is 1 to {_LONGEST.days} days after `from`")


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _due(post: Post) -> datetime:
    if post.due_at is None:
        raise ValueError("the calendar asks for posts that have a time")
    return post.due_at


def _local(post: Post, mission: Mission) -> datetime:
    """The wall time at the mission; its zone is named beside it."""
    return _due(post).astimezone(ZoneInfo(mission.zone)).replace(tzinfo=None)


ROUTES: Final[tuple[Route, ...]] = (get("/calendar", show_calendar, errors=(TimeOutOfRangeError,)),)
