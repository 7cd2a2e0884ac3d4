"""From a request to its route's handler and back: read, authenticate, one unit of work, then the answer."""

import re
from dataclasses import dataclass, fields
from typing import Any, Final
from uuid import UUID

from aiohttp import web
from sqlalchemy.exc import IntegrityError

from scheduler.app import App
from scheduler.audit.actions import Action
from scheduler.db.uow import UnitOfWork
from scheduler.domain.people import Actor
from scheduler.errors import ForbiddenError
from scheduler.services import tokens
from scheduler.web import idempotency
from scheduler.web.idempotency import Repetition
from scheduler.web.parsing import parse_body, parse_query, read_body, require_json
from scheduler.web.refusals import (
    ContentTypeError,
    IfMatchInvalidError,
    IfMatchMissingError,
    QueryInvalidError,
    RaceLostError,
    TokenMissingError,
)
from scheduler.web.routing import Answer, Call, Errand, Raw, Route, Step, Unit
from scheduler.web.tries import Tries

_VIA: Final = "api"
_BEARER: Final = re.compile(r"bearer ([A-Za-z0-9._~+/=-]{1,200})", re.IGNORECASE)
_ETAG: Final = re.compile(r'"([1-9][0-9]{0,8})"')
_UNIQUE_VIOLATION: Final = "23505"  # SQLSTATE


@dataclass(slots=True, kw_only=True)
class _Incoming:
    """A request as it was read, and who it turned out to be from."""

    call: Call
    inputs: dict[str, Any]
    token: str
    repetition: Repetition | None
    actor: Actor | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Serves one route; nothing of a request outlives it."""

    app: App
    route: Route
    tries: Tries

    async def __call__(self, request: web.Request) -> web.Response:
        """Answer after the commit, so that a failed one is never a success.

        Raises:
            ChanceryError: for the edge to answer.
        """
        is_open = self.route.unit is Unit.NONE
        if self.route.limited:
            self.tries.count(request.remote or "")
        token = "" if is_open else _read_token(request)
        call = await self._read(request)
        inputs = self._parse(request, call)
        if is_open:
            return build_response(await self.route.handle(call, **inputs), self.route.status)
        incoming = _Incoming(
            call=call, inputs=inputs, token=token, repetition=self._find_repetition(request, call)
        )
        return await self._serve(incoming)

    async def _serve(self, incoming: _Incoming) -> web.Response:
        try:
            match self.route.unit:
                case Unit.WRITE:
                    async with self.app.open_uow() as uow:
                        return await self._step(uow, incoming)
                case Unit.READ:
                    async with self.app.open_uow.read() as uow:
                        return await self._step(uow, incoming)
                case _:
                    return await self._errand(incoming)
        except ForbiddenError as exc:
            await self._record_denial(incoming, exc)
            raise
        except IntegrityError as exc:
            if not _is_unique_violation(exc):
                raise
            raise RaceLostError("somebody else wrote the same at this moment; look again") from exc

    async def _step(self, uow: UnitOfWork, incoming: _Incoming) -> web.Response:
        stored = await self._enter(uow, incoming)
        if stored is not None:
            return stored
        actor = _known(incoming)
        step = Step(**_members(incoming.call), actor=actor, uow=uow)
        answer = await self.route.handle(step, **incoming.inputs)
        response = build_response(answer, self.route.status)
        await self._remember(uow, incoming, response)
        return response

    async def _errand(self, incoming: _Incoming) -> web.Response:
        async with self.app.open_uow.read() as uow:
            stored = await self._enter(uow, incoming)
        if stored is not None:
            return stored
        errand = Errand(**_members(incoming.call), actor=_known(incoming))
        answer = await self.route.handle(errand, **incoming.inputs)
        response = build_response(answer, self.route.status)
        if incoming.repetition is not None:
            async with self.app.open_uow() as uow:
                await self._remember(uow, incoming, response)
        return response

    async def _enter(self, uow: UnitOfWork, incoming: _Incoming) -> web.Response | None:
        """Find out who asks, and whether this was answered already."""
        incoming.actor = await tokens.authenticate(uow, incoming.token, via=_VIA)
        if incoming.repetition is None:
            return None
        return await idempotency.recall(uow, incoming.actor, incoming.repetition)

    async def _remember(self, uow: UnitOfWork, incoming: _Incoming, response: web.Response) -> None:
        if incoming.repetition is not None:
            await idempotency.remember(
                uow,
                _known(incoming),
                incoming.repetition,
                response,
                keep_answer=not self.route.answer_shown_once,
            )

    async def _record_denial(self, incoming: _Incoming, error: ForbiddenError) -> None:
        """Put a refused action on record in a unit of its own, because the action's was undone."""
        subject = {"t": "person", "id": str(_known(incoming).person_id)}
        for name, value in incoming.call.params.items():
            if name.endswith("_id"):
                subject = {"t": name.removesuffix("_id"), "id": str(UUID(value))}
        async with self.app.open_uow() as uow:
            uow.record(
                Action.ACCESS_DENIED,
                subject,
                actor=incoming.actor,
                detail={"code": error.code, "tried": f"{self.route.method} {self.route.path}"},
                refused=True,
            )

    async def _read(self, request: web.Request) -> Call:
        route = self.route
        data = b""
        if route.raw_types:
            if request.content_type not in route.raw_types:
                raise ContentTypeError(f"send one of {', '.join(route.raw_types)}")
            data = await read_body(request, limit=route.max_bytes)
        elif route.body is not None:
            data = await read_body(request, limit=route.max_bytes)
            require_json(request, data)
        return Call(
            app=self.app,
            params=dict(request.match_info),
            data=data,
            content_type=request.content_type,
            revision=_read_revision(request) if route.if_match else 0,
        )

    def _parse(self, request: web.Request, call: Call) -> dict[str, Any]:
        inputs: dict[str, Any] = {}
        if self.route.body is not None:
            inputs["body"] = parse_body(self.route.body, call.data)
        if self.route.query is not None:
            inputs["query"] = parse_query(self.route.query, request.query)
        elif request.query:
            raise QueryInvalidError("this address takes no query")
        return inputs

    def _find_repetition(self, request: web.Request, call: Call) -> Repetition | None:
        if not self.route.is_repeatable:
            return None
        secret = self.app.kit.ring.derive("idempotency")
        return idempotency.find_repetition(request, call.data, secret)


def build_response(answer: Answer | Raw | None, status: int) -> web.Response:
    match answer:
        case None:
            return web.Response(status=204)
        case Raw():
            headers = {"Content-Type": answer.content_type, **answer.headers}
            return web.Response(status=status, body=answer.data, headers=headers)
        case _:
            return web.Response(
                status=status,
                text=answer.model_dump_json(by_alias=True),
                content_type="application/json",
                headers=answer.headers(),
            )


def _read_token(request: web.Request) -> str:
    given = request.headers.getall("Authorization", [])
    found = _BEARER.fullmatch(given[0]) if len(given) == 1 else None
    if found is None:
        raise TokenMissingError("send `Authorization: Bearer TOKEN`; `chancery login` gets a token")
    return found[1]


def _read_revision(request: web.Request) -> int:
    given = request.headers.getall("If-Match", [])
    if not given:
        raise IfMatchMissingError('send `If-Match: "REVISION"`, the ETag of the post you have read')
    found = _ETAG.fullmatch(given[0]) if len(given) == 1 else None
    if found is None:
        raise IfMatchInvalidError('If-Match is one revision in quotes, such as "3"')
    return int(found[1])


def _known(incoming: _Incoming) -> Actor:
    if incoming.actor is None:
        raise TokenMissingError("nobody was authenticated")
    return incoming.actor


def _members(call: Call) -> dict[str, Any]:
    return {each.name: getattr(call, each.name) for each in fields(call)}


def _is_unique_violation(error: IntegrityError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    return state == _UNIQUE_VIOLATION or "UNIQUE constraint failed" in str(error.orig)
