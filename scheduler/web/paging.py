"""Lists: `{"items": […], "next": cursor or null}`; the cursor is the id of the last item of the page before."""

from collections.abc import Callable, Sequence
from typing import Annotated, Generic, TypeVar
from uuid import UUID

from pydantic import Field

from scheduler.web.parsing import Input
from scheduler.web.refusals import CursorGoneError
from scheduler.web.routing import Answer

T = TypeVar("T")
A = TypeVar("A", bound=Answer)


class Paging(Input):
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: UUID | None = None


class Page(Answer, Generic[A]):
    items: list[A]
    next: str | None


def cut(
    rows: Sequence[T], limit: int, key: Callable[[T], object]
) -> tuple[Sequence[T], str | None]:
    """Of `limit + 1` rows asked for, those to show, and the cursor when there are more."""
    shown = rows[:limit]
    return shown, str(key(shown[-1])) if len(rows) > limit else None


def page_of(
    rows: Sequence[T], query: Paging, key: Callable[[T], UUID]
) -> tuple[Sequence[T], str | None]:
    """One page of a list that is read whole, because it is short.

    Raises:
        CursorGoneError: the item that the cursor names has left the list.
    """
    start = 0
    if query.cursor is not None:
        places = [index for index, row in enumerate(rows) if key(row) == query.cursor]
        if not places:
            raise CursorGoneError("the list has changed; start again without the cursor")
        start = places[0] + 1
    return cut(rows[start : start + query.limit + 1], query.limit, key)
