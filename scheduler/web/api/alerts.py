"""Alerts: what people were told, or would have been, and what became of each message."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field

from scheduler.db import alerts as rows
from scheduler.db.tables import OutboundSend
from scheduler.domain.alert_kinds import AlertKind
from scheduler.domain.alerts import Alert, Public, Target
from scheduler.services import alerts
from scheduler.web.paging import Page, Paging, cut
from scheduler.web.routing import Answer, Route, Step, get


class AlertsQuery(Paging):
    kind: Annotated[list[AlertKind], Field(default_factory=list)]


class SendAnswer(Answer):
    """What became of the alert on one way: `gone` means that the receiver asked for no more."""

    target: Target
    state: str
    attempts: int
    next_at: datetime | None
    error: str


class AlertAnswer(Answer):
    id: UUID
    kind: AlertKind
    at: datetime
    headline: str
    what: str
    public: Public  #: as far as is known now
    post: UUID | None
    title: str
    account: str
    mission: str
    subject: UUID
    due_at: datetime | None
    who: str
    command: str
    page: str
    sends: list[SendAnswer]


async def list_alerts(step: Step, query: AlertsQuery) -> Page[AlertAnswer]:
    """The alerts about missions in sight and about the whole installation, newest first."""
    found = await rows.find_page(
        step.uow, step.actor, kinds=query.kind, before=query.cursor, limit=query.limit + 1
    )
    shown, cursor = cut(found, query.limit, lambda told: told.event.id)
    sends: dict[UUID, list[SendAnswer]] = {told.event.id: [] for told in shown}
    for row in await rows.find_sends(step.uow, list(sends)):
        sends[row.event_id].append(_send(row))
    items = [_answer(alerts.describe(told), sends[told.event.id]) for told in shown]
    return Page(items=items, next=cursor)


def _answer(alert: Alert, sends: list[SendAnswer]) -> AlertAnswer:
    return AlertAnswer(
        id=alert.id,
        kind=alert.kind,
        at=alert.at,
        headline=alert.headline,
        what=alert.what,
        public=alert.public,
        post=alert.post_id,
        title=alert.title,
        account=alert.account,
        mission=alert.mission,
        subject=alert.subject_id,
        due_at=alert.due_at,
        who=alert.who,
        command=alert.command,
        page=alert.page,
        sends=sends,
    )


def _send(row: OutboundSend) -> SendAnswer:
    return SendAnswer(
        target=Target(row.target),
        state=row.state,
        attempts=row.attempts,
        next_at=row.wake_at,
        error=row.error,
    )


ROUTES: Final[tuple[Route, ...]] = (get("/alerts", list_alerts),)
