"""What a route is: one declaration, from which the router and the OpenAPI document are both made.

The body, query and answer models are read off the handler's own annotations, so that the document cannot differ from
the code: `async def approve(step: Step, body: ApproveBody) -> PostAnswer`.
"""

import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, get_type_hints
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from scheduler.app import App
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor
from scheduler.errors import ChanceryError, NotFoundError
from scheduler.web.parsing import MAX_JSON_BYTES

CODE: Final = r"^[a-z0-9][a-z0-9._-]{0,62}[a-z0-9]$"
SHA256: Final = r"^[0-9a-f]{64}$"
_SEQ: Final = r"^(0|[1-9][0-9]{0,14})$"


class Answer(BaseModel):
    """The base of what is answered: closed, so that nothing slips out unnoticed."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    def headers(self) -> dict[str, str]:
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Raw:
    """An answer that is not JSON; an iterator is sent piece by piece as it is read."""

    data: bytes | AsyncIterator[bytes]
    content_type: str
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request by nobody in particular; the handler opens its own units of work."""

    app: App
    params: dict[str, str]
    data: bytes  #: the body as it came
    content_type: str
    revision: int  #: from If-Match; 0 where the route wants none

    def uuid(self, name: str) -> UUID:
        """A path parameter; one that is no id names nothing."""
        try:
            return UUID(self.params[name])
        except ValueError as exc:
            raise NotFoundError(
                f"no {name.removesuffix('_id')} {self.params[name][:60]!a}"
            ) from exc

    def code(self, name: str = "code") -> str:
        return self._matched(name, CODE)

    def sha256(self) -> str:
        return self._matched("sha256", SHA256)

    def seq(self) -> int:
        return int(self._matched("seq", _SEQ))

    def _matched(self, name: str, pattern: str) -> str:
        text = self.params[name]
        if re.fullmatch(pattern, text) is None:
            raise NotFoundError(f"no {name} {text[:60]!a}")
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand(Call):
    """A request by a person; the handler opens its own units of work, because it waits between them."""

    actor: Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Errand):
    """A request by a person in one unit of work, which commits before the answer leaves."""

    uow: UnitOfWork


class Unit(StrEnum):
    """Who opens the unit of work."""

    NONE = "none"  #: nobody is asked who they are
    OWN = "own"  #: the handler
    READ = "read"
    WRITE = "write"


Handler = Callable[..., Awaitable[Answer | Raw | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One method of one path, below `/api/v1`."""

    method: str
    path: str
    handle: Handler
    unit: Unit
    needs: str  #: the permission, in words for the document
    status: int = 200
    errors: tuple[type[ChanceryError], ...] = ()
    if_match: bool = False
    answer_shown_once: bool = False  #: it holds a secret: a repeated request does not see it again
    limited: bool = False  #: only so many tries a minute from one address
    raw_types: tuple[str, ...] = ()  #: media types of a body that is not JSON
    max_bytes: int = MAX_JSON_BYTES
    answer_types: tuple[str, ...] = ()  #: media types of an answer that is not JSON

    @property
    def name(self) -> str:
        return self.handle.__name__

    @property
    def noun(self) -> str:
        return self.path.split("/")[1]

    @property
    def summary(self) -> str:
        return inspect.getdoc(self.handle) or self.name.replace("_", " ").capitalize() + "."

    @property
    def body(self) -> type[BaseModel] | None:
        return self._annotation("body")

    @property
    def query(self) -> type[BaseModel] | None:
        return self._annotation("query")

    @property
    def answer(self) -> Any:  # noqa: ANN401 - a model, Raw or NoneType
        return get_type_hints(self.handle)["return"]

    @property
    def is_repeatable(self) -> bool:
        """Whether it takes an `Idempotency-Key`: a POST that changes something, by somebody."""
        return self.method == "POST" and self.unit in {Unit.WRITE, Unit.OWN}

    def _annotation(self, name: str) -> type[BaseModel] | None:
        found: type[BaseModel] | None = get_type_hints(self.handle).get(name)
        return found


def get(path: str, handle: Handler, needs: str = "read", **more: Any) -> Route:  # noqa: ANN401 - Route's own
    more.setdefault("unit", Unit.READ)
    return Route(method="GET", path=path, handle=handle, needs=needs, **more)


def post(path: str, handle: Handler, needs: str, **more: Any) -> Route:  # noqa: ANN401 - Route's own
    more.setdefault("unit", Unit.WRITE)
    return Route(method="POST", path=path, handle=handle, needs=needs, **more)


def patch(path: str, handle: Handler, needs: str, **more: Any) -> Route:  # noqa: ANN401 - Route's own
    return Route(method="PATCH", path=path, handle=handle, needs=needs, unit=Unit.WRITE, **more)


def delete(path: str, handle: Handler, needs: str, **more: Any) -> Route:  # noqa: ANN401 - Route's own
    return Route(
        method="DELETE", path=path, handle=handle, needs=needs, unit=Unit.WRITE, status=204, **more
    )
