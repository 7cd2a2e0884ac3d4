"""A platform of each class, with a log of its own that no engine can talk it out of."""

import asyncio
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from adapters.base import Capabilities, LinkCards, Published
from tests.simulation.faults import Fault, Kind, Point
from tests.simulation.loop import Process

TIMEOUT_S = 4.0
SETTLE_S = 3.0
SECRET = "canary-of-a-platform-token"
SESSION = "canary-of-a-session"


class Nature(Protocol):
    """What a run decides for a platform: chance, faults, and who is told."""

    patient_servers: bool
    repeats_requests: bool

    def chance(self) -> float: ...
    def spread(self, low: float, high: float) -> float: ...
    def weather(self, *, at: Point | None = None) -> Fault | None: ...
    async def reach(self, point: Point) -> None: ...
    def reach_now(self, point: Point, process: Process) -> bool: ...
    def wall(self) -> datetime: ...
    def session_ended(self, session: str | None) -> bool: ...
    def saw_call(self, server: "Server", call: "Call") -> None: ...
    def saw_request(self, effect: "Effect") -> None: ...
    def saw_effect(self, effect: "Effect") -> None: ...


@dataclass(eq=False, slots=True)
class Effect:
    """One request that arrived whole, and what became of it."""

    account: str
    body: bytes
    key: str
    arrived_at: datetime
    arrived_s: float
    applied_s: float | None = None
    visible_s: float = 0.0
    remote_id: str = ""
    merged: bool = False  #: answered from the key: nothing new became public
    refused: bool = False
    answered_s: float | None = None

    @property
    def breaks_promise(self) -> bool:
        """Seen only after the platform's settle time: a look-up before it was honest and wrong."""
        return self.visible_s - self.arrived_s > TIMEOUT_S + SETTLE_S

    @property
    def text(self) -> str:
        return str(json.loads(self.body)["text"])


@dataclass(eq=False, slots=True)
class Call:
    process: Process
    account: str  #: of a publish; empty for every other request
    since_s: float


@dataclass(eq=False)
class Server:
    """The far side: it goes on whatever becomes of whoever asked."""

    kind: Kind
    nature: Nature
    log: list[Effect] = field(default_factory=list)
    uploads: int = 0
    sessions: int = 0
    coming: int = 0  #: requests that arrived and were not yet worked on
    calls: list["Call"] = field(default_factory=list)  #: open, as the clients see it

    def public(self) -> list[Effect]:
        return [each for each in self.log if each.applied_s is not None and not each.merged]

    def receive(
        self, effect: Effect, process: Process, answer: "asyncio.Future[Published]"
    ) -> None:
        """Apply the request after a while, mostly soon, sometimes as late as was promised."""
        loop = asyncio.get_running_loop()
        self.log.append(effect)
        self.nature.saw_request(effect)
        chance, spread = self.nature.chance, self.nature.spread
        wait = spread(0.02, 0.3)
        if chance() < 0.12:
            wait = spread(0.3, TIMEOUT_S + SETTLE_S - 0.5)
        lag = spread(0, TIMEOUT_S + SETTLE_S - 0.2 - wait) if chance() < 0.2 else 0.0
        if self.kind is Kind.IDEMPOTENT and chance() < 0.15:
            lag += spread(0, 20)  # the promise is broken: the key alone protects
            wait += spread(0, 10)
        self.coming += 1
        loop.call_later(wait, self._apply, effect, lag, process, answer)

    def _apply(
        self, effect: Effect, lag: float, process: Process, answer: "asyncio.Future[Published]"
    ) -> None:
        self.coming -= 1
        if effect.refused:
            return
        loop = asyncio.get_running_loop()
        earlier = next(
            (
                each
                for each in self.log
                if self.kind is Kind.IDEMPOTENT
                and each is not effect
                and each.applied_s is not None
                and (each.account, each.key) == (effect.account, effect.key)
            ),
            None,
        )
        effect.applied_s = loop.time()
        if earlier is not None:
            effect.merged, effect.remote_id = True, earlier.remote_id
        else:
            effect.remote_id = f"{effect.account}-{len(self.public())}"
            effect.visible_s = effect.applied_s + lag
        self.nature.saw_effect(effect)
        self.nature.reach_now(Point.AFTER_EFFECT, process)
        loop.call_later(self.nature.spread(0.005, 0.1), self._answer, effect, answer)

    def _answer(self, effect: Effect, answer: "asyncio.Future[Published]") -> None:
        effect.answered_s = asyncio.get_running_loop().time()
        if not answer.done():
            answer.set_result(published(effect))


def published(effect: Effect) -> Published:
    return Published(
        remote_id=effect.remote_id,
        url=f"https://{effect.account}.karvenia.example/{effect.remote_id}",
        ref=effect.remote_id,
    )


def capabilities(kind: Kind, *, settle_s: float, lookup: bool | None) -> Capabilities:
    details: dict[str, Any] = {
        "max_length": 500,
        "max_bytes": None,
        "max_media": 4,
        "media_types": frozenset({"image/png"}),
        "max_image_bytes": 1_000_000,
        "max_image_pixels": 1_000_000,
        "max_alt_length": 1000,
        "alt_required": True,
        "threads": True,
        "link_card": LinkCards.NONE,
        "max_languages": 1,
        "edit": False,
        "delete": False,
        "quotas": (),
    }
    can_look = kind is not Kind.PLAIN
    return Capabilities(
        platform=f"sim_{kind}",
        title=f"simulated, {kind}",
        read_back=can_look,
        lookup=can_look if lookup is None else lookup,
        idempotent_for=timedelta(hours=1 if kind is Kind.IDEMPOTENT else 0),
        settle=timedelta(seconds=settle_s),
        publish_timeout=timedelta(seconds=TIMEOUT_S),
        media_lifetime=timedelta(hours=1),
        **details,
    )
