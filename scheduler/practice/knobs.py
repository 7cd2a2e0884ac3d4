"""Faults on demand: what goes wrong, for which calls, and how often."""

from enum import StrEnum
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from scheduler.practice.model import Account


class CallKind(StrEnum):
    PUBLISH = "publish"
    MEDIA = "media"
    OTHER = "other"


class Reach(StrEnum):
    """Which calls a knob is for; `all` adds reads and sessions, never the pages or the practice API."""

    PUBLISH = "publish"
    MEDIA = "media"
    ALL = "all"


class When(StrEnum):
    BEFORE = "before"
    AFTER = "after"


class Fault(BaseModel):
    """What happens to one call; the default is nothing."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    latency_ms: int = Field(default=0, ge=0)
    status: int | None = Field(default=None, ge=400, le=599)
    when: When = When.BEFORE  #: whether latency and status come before or after the effect
    retry_after: int | None = Field(default=None, ge=0)  #: seconds
    lose_answer: bool = False  #: the effect happens, then the connection is cut
    late_effect_ms: int | None = Field(
        default=None, ge=0
    )  #: the connection is cut, the effect comes later
    html: bool = False  #: the effect happens, the answer is a 200 page of HTML
    truncate: bool = False  #: the effect happens, the answer breaks off in the middle
    honour_key: bool = True  #: false: the Idempotency-Key is ignored, as some servers do
    processing_ms: int | None = Field(default=None, ge=0)  #: how long an upload stays unfinished


class Knob(Fault):
    only: Reach = Reach.PUBLISH
    account: str | None = None  #: handle or id
    count: int | None = Field(default=None, ge=1)  #: only the next so many calls

    def matches(self, kind: CallKind, account: Account | None) -> bool:
        if self.only is not Reach.ALL and self.only.value != kind.value:
            return False
        return self.account is None or (
            account is not None and self.account in {account.handle, account.id}
        )

    def fault(self) -> dict[str, object]:
        return self.model_dump(exclude_unset=True, exclude={"only", "account", "count"})


NO_FAULT: Final = Fault()


class Knobs:
    """The knobs that are turned now; they do not survive a restart."""

    def __init__(self) -> None:
        self._turned: list[Knob] = []

    def turn(self, knob: Knob) -> None:
        self._turned.append(knob)

    def clear(self) -> None:
        self._turned.clear()

    def listed(self) -> list[dict[str, object]]:
        return [knob.model_dump(mode="json", exclude_unset=True) for knob in self._turned]

    def take(self, kind: CallKind, account: Account | None) -> Fault:
        """Merge every matching knob, later ones first in weight, and use up one of each count."""
        if not self._turned:
            return NO_FAULT
        merged: dict[str, object] = {}
        kept: list[Knob] = []
        for knob in self._turned:
            if not knob.matches(kind, account):
                kept.append(knob)
                continue
            merged |= knob.fault()
            if knob.count is None:
                kept.append(knob)
            elif knob.count > 1:
                kept.append(knob.model_copy(update={"count": knob.count - 1}))
        self._turned = kept
        return Fault.model_validate(merged)
