"""What is worth waking a person for, and how it is told.

Most alerts are a record of the audit log seen from the other side, as `scheduler.domain.alert_kinds` says; the rest
come from time alone and are found by a sweep.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import regex

from scheduler.canonical import JsonObject, JsonValue, canonical
from scheduler.clock import iso
from scheduler.domain.alert_kinds import WORDS, AlertKind
from scheduler.domain.delivery_flow import PUBLIC, DeliveryState

#: A post in review that is due within this time needs a person now.
APPROVAL_AHEAD: Final = timedelta(minutes=60)
#: What is due for so long and has not left is worth a look, long before it is held as late.
OVERDUE_AFTER: Final = timedelta(seconds=60)
#: A worker gives a sign of life every 10 s.
SILENT_AFTER: Final = timedelta(seconds=60)

_TITLE_LENGTH: Final = 80
_WHY_LENGTH: Final = 300
#: What could break a line, a header or the reading order.
_UNSAFE: Final = regex.compile(r"[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]")


class Target(StrEnum):
    """A way to a person; each has an outbox of its own."""

    EMAIL = "email"
    WEBHOOK = "webhook"


class Public(StrEnum):
    """Whether anything of it is public, as far as is known."""

    YES = "yes"
    NO = "no"
    NOT_KNOWN = "not known"


_KEPT: Final = (
    "code", "why", "message", "reason", "differences", "problems", "from", "in_flight", "caught", "without", "inform",
)  # fmt: skip


def keep_detail(detail: JsonObject) -> dict[str, JsonValue]:
    """What an alert needs of a record's detail; evidence stays where it is."""
    return {name: detail[name] for name in _KEPT if name in detail}


def reason_of(detail: JsonObject) -> str:
    """Why, in the words of the record: its code and what it says, or the problems it lists."""
    said = [detail.get(name) for name in ("code", "why", "message", "reason")]
    listed: list[JsonValue] = []
    for name in ("differences", "problems", "without", "inform"):
        found = detail.get(name)
        if isinstance(found, Sequence) and not isinstance(found, str):
            listed += found
    for each in listed:
        if isinstance(each, Mapping):
            said.append(": ".join(str(each[name]) for name in ("code", "message") if name in each))
        else:
            said.append(each)
    return "; ".join(str(each) for each in said if each)


def judge_public(
    kind: AlertKind, detail: JsonObject, *, state: DeliveryState | None, parts: int
) -> Public:
    """Whether anything is public, from the delivery's state now and the parts with a receipt.

    A person reads this before posting by hand, so doubt is never called no.
    """
    if state in PUBLIC or parts:
        return Public.YES
    doubted = kind is AlertKind.UNKNOWN or detail.get("from") == DeliveryState.UNKNOWN
    if state in {None, DeliveryState.HELD} and doubted:
        return Public.NOT_KNOWN
    if state in {DeliveryState.UNKNOWN, DeliveryState.SENDING}:
        return Public.NOT_KNOWN
    # What a silent worker, or a stop, met in flight.
    if kind is AlertKind.WORKER_SILENT or detail.get("in_flight"):
        return Public.NOT_KNOWN
    return Public.NO


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """An alert with what is known about its subject; names and reasons may be anything people or servers wrote."""

    id: UUID
    kind: AlertKind
    at: datetime
    subject_id: UUID
    public: Public
    why: str = ""
    post_id: UUID | None = None
    title: str = ""
    account: str = ""
    handle: str = ""
    mission: str = ""
    due_at: datetime | None = None

    @property
    def headline(self) -> str:
        return WORDS[self.kind].headline

    @property
    def what(self) -> str:
        """What happened, and why as far as is known, in one line."""
        why = one_line(self.why, _WHY_LENGTH)
        return f"{WORDS[self.kind].what} ({why})" if why else WORDS[self.kind].what

    @property
    def who(self) -> str:
        """Who may act."""
        return self._filled(WORDS[self.kind].who)

    @property
    def command(self) -> str:
        return self._filled(WORDS[self.kind].command)

    @property
    def page(self) -> str:
        """The path of the API below the installation's address."""
        return f"/api/v1{self._filled(WORDS[self.kind].page)}"

    @property
    def about(self) -> str:
        """The post and the account, in one line."""
        title = one_line(self.title, _TITLE_LENGTH)
        return " on ".join(filter(None, (f"“{title}”" if title else "", self.account)))

    def _filled(self, words: str) -> str:
        return words.format(
            id=self.subject_id,
            post=self.post_id,
            account=self.account or self.subject_id,
            mission=self.mission or "the headquarters",
        )


def one_line(text: str, length: int) -> str:
    """Text by people or servers as one short line without characters that could act."""
    line = " ".join(_UNSAFE.sub(" ", text).split())
    return line if len(line) <= length else f"{line[: length - 1]}…"


def write_mail(alerts: Sequence[Alert], base_url: str) -> tuple[str, str]:
    """The subject and the plain text of one message about all of them."""
    first = alerts[0]
    if len(alerts) == 1:
        about = f": {first.about}" if first.about else ""
        subject = f"[Chancery] {first.headline}{about}"
    else:
        amounts = Counter(alert.headline for alert in alerts)
        named = ", ".join(f"{amount} × {headline}" for headline, amount in amounts.items())
        subject = f"[Chancery] {len(alerts)} alerts: {named}"
    return subject, "\n".join(_block(alert, base_url) for alert in alerts)


def _block(alert: Alert, base_url: str) -> str:
    lines = {
        "Alert": alert.headline,
        "What": alert.what,
        "Public": alert.public.value,
        "When": iso(alert.at),
        "Post": one_line(alert.title, _TITLE_LENGTH),
        "Account": one_line(f"{alert.account} {alert.handle}", _TITLE_LENGTH),
        "Due": "" if alert.due_at is None else iso(alert.due_at),
        "Who may act": alert.who,
        "Next": alert.command,
        "Page": base_url + alert.page,
        "Alert id": str(alert.id),
    }
    return "".join(f"{name + ':':<13}{value}\n" for name, value in lines.items() if value)


def write_webhook(alert: Alert, base_url: str) -> bytes:
    """The body of a webhook: the facts, without the text of any post."""
    return canonical(
        {
            "type": f"alert.{alert.kind}",
            "timestamp": iso(alert.at),
            "data": {
                "id": str(alert.id),
                "kind": alert.kind.value,
                "headline": alert.headline,
                "what": alert.what,
                "public": alert.public.value,
                "post": None if alert.post_id is None else str(alert.post_id),
                "title": one_line(alert.title, _TITLE_LENGTH),
                "account": alert.account,
                "mission": alert.mission,
                "due_at": None if alert.due_at is None else iso(alert.due_at),
                "subject": str(alert.subject_id),
                "who": alert.who,
                "command": alert.command,
                "page": base_url + alert.page,
            },
        }
    )
