"""The kinds of alerts: which records are one, and how each reads."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from scheduler.canonical import JsonObject


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
    CLEARANCE_LATE = "clearance_late"
    GLASS_BROKEN = "glass_broken"
    FOR_INFORMATION = "for_information"
    DRIFTED = "drifted"
    ACCOUNT_PAUSED = "account_paused"
    SIGN_IN_EXPIRING = "sign_in_expiring"
    WORKER_SILENT = "worker_silent"
    STOPPED = "stopped"
    RESUMED = "resumed"
    TEST = "test"


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
_DECISIONS: Final = ("post.approve", "post.decide")


def kind_of(action: str, detail: JsonObject) -> AlertKind | None:
    """The alert that a record is, if it is one."""
    if action in _DECISIONS and detail.get("mode") == "break_glass":
        return AlertKind.GLASS_BROKEN
    if action in _DECISIONS and detail.get("inform"):
        return AlertKind.FOR_INFORMATION
    kind = _BY_ACTION.get(action)
    if kind is AlertKind.HELD and detail.get("code") == "late":
        return AlertKind.LATE
    return kind


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
        AlertKind.CLEARANCE_LATE: Words(
            "An office is late",
            "Somebody who is asked has not answered in time; the post waits for them, or for a deputy.",
            "whoever the post waits for, and a supervisor of {mission}",
            "chancery approval show {post}",
            "/approvals/{post}",
        ),
        AlertKind.GLASS_BROKEN: Words(
            "Approved without the offices",
            "It was approved in an emergency before those who are asked had cleared it.",
            "the offices that were passed over, and a supervisor of {mission}",
            "chancery post show {post}",
            "/posts/{post}",
        ),
        AlertKind.FOR_INFORMATION: Words(
            "For information",
            "It is approved; these offices are told of it.",
            "nobody has to",
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
