"""Deliveries: what became of each post on each account, and how a person ends a hold."""

from base64 import b64encode
from datetime import datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import Field, StringConstraints

from scheduler.db import attempts, preflights, sight
from scheduler.db import deliveries as rows
from scheduler.db.tables import Account, Attempt, Delivery, Preflight
from scheduler.domain.delivery_flow import DeliveryState
from scheduler.domain.post_flow import IllegalMoveError
from scheduler.errors import NotFoundError
from scheduler.services import deliveries
from scheduler.services.deliveries import (
    AddressMissingError,
    MaybePublicError,
    Resolution,
    WindowOverError,
)
from scheduler.services.postures import ReasonMissingError
from scheduler.web.api.fields import Note
from scheduler.web.paging import Page, Paging, cut
from scheduler.web.parsing import Input
from scheduler.web.routing import Answer, Route, Step, get, post

_DAY_MINUTES: Final = 24 * 60


class DeliveriesQuery(Paging):
    state: Annotated[list[DeliveryState], Field(default_factory=list)]


class RetryBody(Input):
    reason: Note
    not_public: bool = False
    delay_minutes: Annotated[int, Field(ge=0, le=_DAY_MINUTES)] = 0


class ResolveBody(Input):
    reason: Note
    resolution: Resolution
    url: Annotated[str, StringConstraints(max_length=2000)] = ""


class PreflightProblem(Answer):
    code: str
    message: str
    next: str  #: the command that helps


class PreflightAnswer(Answer):
    """What the check some minutes before its time has found; it stops nothing by itself."""

    at: datetime
    ok: bool
    problems: list[PreflightProblem]

    @classmethod
    def of(cls, found: Preflight | None) -> "PreflightAnswer | None":
        if found is None:
            return None
        problems = [PreflightProblem(**each) for each in found.problems]
        return cls(at=found.at, ok=found.ok, problems=problems)


class DeliveryAnswer(Answer):
    id: UUID
    post: UUID
    account: str
    platform: str
    language: str
    state: DeliveryState
    due_at: datetime | None
    sent_at: datetime | None
    expires_at: datetime | None
    remote_url: str | None
    reason: str
    preflight: PreflightAnswer | None
    updated_at: datetime


class DeliveryQuery(Input):
    body: bool = False  #: show what was sent, too


class LookAnswer(Answer):
    """What a look at the platform has shown: `absent`, `public`, `no_answer` or `drift`."""

    at: datetime
    saw: str
    code: str = ""
    message: str = ""
    url: str | None = None
    evidence: dict[str, Any] = Field(default_factory=dict)


class AttemptAnswer(Answer):
    """One try of one part: what was sent and when, what came back, and what looks have shown since."""

    number: int
    part: int
    outcome: str | None
    code: str
    message: str
    started_at: datetime
    deadline: datetime
    ended_at: datetime | None
    request_sha256: str
    evidence: dict[str, Any]
    looks: list[LookAnswer]
    body: str | None  #: what was sent, when asked for; not UTF-8 is in base64


class DeliveryWhole(DeliveryAnswer):
    """A delivery with every try of every part."""

    account_url: str  #: where a person looks
    next_look_at: datetime | None  #: when the platform is asked again by itself
    attempts: list[AttemptAnswer]


async def list_deliveries(step: Step, query: DeliveriesQuery) -> Page[DeliveryAnswer]:
    """The deliveries in sight, newest first."""
    found = await rows.find_page(
        step.uow, step.actor, states=query.state, before=query.cursor, limit=query.limit + 1
    )
    shown, cursor = cut(found, query.limit, lambda pair: pair[0].id)
    checks = await preflights.find_for(step.uow, [delivery.id for delivery, _ in shown])
    return Page(
        items=[
            DeliveryAnswer(**_line(delivery, account, checks.get(delivery.id)))
            for delivery, account in shown
        ],
        next=cursor,
    )


async def show_delivery(step: Step, query: DeliveryQuery) -> DeliveryWhole:
    """One delivery, with the evidence of every try."""
    return await _show(step, with_body=query.body)


async def retry_delivery(step: Step, body: RetryBody) -> DeliveryWhole:
    """Let a held or refused delivery go again."""
    await deliveries.release(
        step.uow,
        step.actor,
        step.uuid("delivery_id"),
        reason=body.reason,
        not_public=body.not_public,
        delay=timedelta(minutes=body.delay_minutes),
    )
    return await _show(step)


async def resolve_delivery(step: Step, body: ResolveBody) -> DeliveryWhole:
    """End a held or refused delivery for good."""
    await deliveries.resolve(
        step.uow,
        step.actor,
        step.uuid("delivery_id"),
        reason=body.reason,
        resolution=body.resolution,
        url=body.url,
    )
    return await _show(step)


async def _show(step: Step, *, with_body: bool = False) -> DeliveryWhole:
    delivery, account = await sight.get_delivery(step.uow, step.actor, step.uuid("delivery_id"))
    looked_at = delivery.state in {DeliveryState.UNKNOWN, DeliveryState.SENT}
    checks = await preflights.find_for(step.uow, [delivery.id])
    return DeliveryWhole(
        **_line(delivery, account, checks.get(delivery.id)),
        account_url=account.url,
        next_look_at=delivery.wake_at if looked_at else None,
        attempts=[
            _attempt(attempt, with_body=with_body)
            for attempt in (await attempts.find(step.uow, [delivery.id]))[delivery.id]
        ],
    )


def _attempt(attempt: Attempt, *, with_body: bool) -> AttemptAnswer:
    fields = AttemptAnswer.model_fields.keys() - {"evidence", "looks", "body"}
    evidence = dict(attempt.evidence)
    looks = [LookAnswer(**each) for each in evidence.pop("looks", [])]
    return AttemptAnswer(
        **{name: getattr(attempt, name) for name in fields},
        evidence=evidence,
        looks=looks,
        body=_read(bytes(attempt.request)) if with_body else None,
    )


def _read(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return b64encode(body).decode()


def _line(delivery: Delivery, account: Account, check: Preflight | None) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "post": delivery.post_id,
        "account": account.code,
        "platform": account.platform,
        "language": delivery.language or account.language,
        "state": DeliveryState(delivery.state),
        "due_at": delivery.due_at,
        "sent_at": delivery.sent_at,
        "expires_at": delivery.expires_at,
        "remote_url": delivery.remote_url,
        "reason": delivery.reason,
        "preflight": PreflightAnswer.of(check),
        "updated_at": delivery.updated_at,
    }


_NEEDS: Final = "repair, at the post's mission"
_ENDING: Final = (NotFoundError, IllegalMoveError, ReasonMissingError)
ROUTES: Final[tuple[Route, ...]] = (
    get("/deliveries", list_deliveries),
    get("/deliveries/{delivery_id}", show_delivery, errors=(NotFoundError,)),
    post(
        "/deliveries/{delivery_id}/retry",
        retry_delivery,
        _NEEDS,
        errors=(*_ENDING, MaybePublicError, WindowOverError),
    ),
    post(
        "/deliveries/{delivery_id}/resolve",
        resolve_delivery,
        _NEEDS,
        errors=(*_ENDING, AddressMissingError),
    ),
)
