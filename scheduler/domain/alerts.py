"""What is worth waking a person for: which records are alerts, and how an alert reads.

Most alerts are a record of the audit log seen from the other side: `kind_of` is the one table that says which. The rest
come from time alone and are found by a sweep.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Final
from uuid import UUID

import regex

from scheduler.canonical import JsonObject, JsonValue, canonical
from scheduler.clock import iso
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


class AlertKind(StrEnum):
    APPROVAL_DUE = "approval_due"
    PREFLIGHT_FAILED = "preflight_failed"
    OVERDUE = "overdue"
    LATE = "late"
    HELD = "held"
    UNKNOWN = "unknown"
    FAILED = "failed"
    EXPIRED = "expired"
    REOPENED = "reopened"
    DRIFTED = "drifted"
    ACCOUNT_PAUSED = "account_paused"
    SIGN_IN_EXPIRING = "sign_in_expiring"
    WORKER_SILENT = "worker_silent"
    STOPPED = "stopped"
    RESUMED = "resumed"
    TEST = "test"


class Target(StrEnum):
    """A way to a person; each has an outbox of its own."""

    EMAIL = "email"
    WEBHOOK = "webhook"


class Public(StrEnum):
    """Whether anything of it is public, as far as is known."""

    YES = "yes"
    NO = "no"
    NOT_KNOWN = "not known"


_BY_ACTION: Final[Mapping[str, AlertKind]] = MappingProxyType(
    {
        "delivery.preflight_failed": AlertKind.PREFLIGHT_FAILED,
        "delivery.hold": AlertKind.HELD,
        "delivery.unknown": AlertKind.UNKNOWN,
        "delivery.rejected": AlertKind.FAILED,
        "delivery.expire": AlertKind.EXPIRED,
        "post.reopen": AlertKind.REOPENED,
        "delivery.drift": AlertKind.DRIFTED,
        "account.pause": AlertKind.ACCOUNT_PAUSED,
        "account.expiring": AlertKind.SIGN_IN_EXPIRING,
        "posture.stop": AlertKind.STOPPED,
        "posture.resume": AlertKind.RESUMED,
    }
)


_KEPT: Final = (
    "code", "why", "message", "reason", "differences", "problems", "from", "in_flight", "caught",
)  # fmt: skip


def kind_of(action: str, detail: JsonObject) -> AlertKind | None:
    """The alert that a record is, if it is one."""
    kind = _BY_ACTION.get(action)
    if kind is AlertKind.HELD and detail.get("code") == "late":
        return AlertKind.LATE
    return kind


def keep_detail(detail: JsonObject) -> dict[str, JsonValue]:
    """What an alert needs of a record's detail; evidence stays where it is."""
    return {name: detail[name] for name in _KEPT if name in detail}


def reason_of(detail: JsonObject) -> str:
    """Why, in the words of the record: its code and what it says, or the problems it lists."""
    said = [detail.get(name) for name in ("code", "why", "message", "reason")]
    listed: list[JsonValue] = []
    for name in ("differences", "problems"):
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


@dataclass(frozen=True, slots=True)
class Words:
    headline: str
    what: str
    who: str
    command: str
    page: str  #: below `/api/v1`


_SUPERVISOR: Final = "a supervisor of {mission}"
_DELIVERY: Final = ("chancery delivery show {id}", "/deliveries/{id}")
WORDS: Final[Mapping[AlertKind, Words]] = MappingProxyType(
    {
        AlertKind.APPROVAL_DUE: Words(
            "Waits for approval",
            "It is due soon and nobody has approved it; unapproved it does not go out.",
            "a supervisor of {mission} who did not write it",
            "chancery approval show {post}",
            "/posts/{post}",
        ),
        AlertKind.PREFLIGHT_FAILED: Words(
            "Pre-flight failed",
            "The check ahead of its time found what would stop it.",
            _SUPERVISOR,
            *_DELIVERY,
        ),
        AlertKind.OVERDUE: Words(
            "Has not left",
            "Its time has come and it has not left; soon it is held as late.",
            f"{_SUPERVISOR}, and whoever operates this installation (chancery doctor)",
            *_DELIVERY,
        ),
        AlertKind.LATE: Words(
            "Late",
            "It could not leave in time and is held; a person releases or ends it.",
            _SUPERVISOR,
            *_DELIVERY,
        ),
        AlertKind.HELD: Words(
            "Held",
            "It is held; a person releases or ends it.",
            _SUPERVISOR,
            *_DELIVERY,
        ),
        AlertKind.UNKNOWN: Words(
            "Outcome unknown",
            "The request left and no clear answer came. Chancery looks on the platform: "
            "do not post it by hand meanwhile.",
            _SUPERVISOR,
            *_DELIVERY,
        ),
        AlertKind.FAILED: Words(
            "Refused by the platform",
            "The platform refused it for good; a person releases or ends it.",
            _SUPERVISOR,
            *_DELIVERY,
        ),
        AlertKind.EXPIRED: Words(
            "Expired",
            "Its approved window is over; it does not go out. A new post needs a new approval.",
            "an officer of {mission}",
            "chancery post show {post}",
            "/posts/{post}",
        ),
        AlertKind.REOPENED: Words(
            "A draft again",
            "What it rests on has changed: it does not go out before it is submitted and approved again.",
            "an officer of {mission}",
            "chancery post show {post}",
            "/posts/{post}",
        ),
        AlertKind.DRIFTED: Words(
            "Differs from what was approved",
            "What is public is not what was approved, or is gone.",
            _SUPERVISOR,
            *_DELIVERY,
        ),
        AlertKind.ACCOUNT_PAUSED: Words(
            "Account paused",
            "Nothing leaves on this account; what is due waits, and is held when it is late.",
            "an admin of {mission}",
            "chancery account check {account}",
            "/accounts/{id}",
        ),
        AlertKind.SIGN_IN_EXPIRING: Words(
            "Sign-in ends soon",
            "The sign-in of this account ends soon and has to be renewed by a person.",
            "an admin of {mission}",
            "chancery account check {account}",
            "/accounts/{id}",
        ),
        AlertKind.WORKER_SILENT: Words(
            "Worker silent",
            "A worker ended without a word, or hangs. What it was sending is looked up, not sent again.",
            "whoever operates this installation",
            "chancery doctor",
            "/deliveries?state=sending&state=unknown",
        ),
        AlertKind.STOPPED: Words(
            "Publishing is stopped",
            "What it forbids does not leave until somebody resumes; what comes due is held.",
            "whoever may stop at the headquarters",
            "chancery posture",
            "/posture",
        ),
        AlertKind.RESUMED: Words(
            "Publishing goes on",
            "The stop is lifted; what was held stays held until a person releases it.",
            "supervisors of each mission",
            "chancery delivery list --state held",
            "/deliveries?state=held",
        ),
        AlertKind.TEST: Words(
            "Test",
            "Somebody asked for a test of the alerts; there is nothing to do.",
            "nobody",
            "chancery alert list",
            "/alerts",
        ),
    }
)


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
