"""Each rule R1-R10 can be taken out of the path that a run exercises, never out of what judges it.

A switch fails loudly when it does not find what it has to take out.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from scheduler.db.tables import Delivery
from scheduler.services import publishing
from scheduler.services.kit import Kit
from scheduler.services.publishing import Intent, Work
from scheduler.services.release import Clearance

RULES: Final = {
    "R1": "the intent is kept in memory and recorded with the outcome",
    "R2": "a request leaves whatever is left of the lease",
    "R3": "a doubtful delivery is looked up without waiting for the settle time",
    "R4": "a platform without a look-up is taken to say that the post is absent",
    "R5": "no write compares the fence",
    "R6": "an account may have any number of deliveries in hand, and the index is gone",
    "R7": "the intent's transaction checks nothing again",
    "R8": "the clock of the host decides, not the database's",
    "R9": "the transport repeats a request whose answer was lost",
    "R10": "each attempt has a key of its own",
}

_FENCE: Final = "delivery.fence = ?"
_BUSY: Final = "AND delivery_1.state IN ("


@dataclass(slots=True)
class Switches:
    ablated: frozenset[str]
    adapter: dict[str, Any] = field(default_factory=dict)

    @property
    def defers_intents(self) -> bool:
        return "R1" in self.ablated

    @property
    def host_clock_decides(self) -> bool:
        return "R8" in self.ablated

    @property
    def repeats_requests(self) -> bool:
        return "R9" in self.ablated

    def rewrite(self, sql: str) -> str:
        """The rules that stand in SQL."""
        if "R5" in self.ablated:
            sql = sql.replace(_FENCE, f"({_FENCE} OR 1)")
        if "R6" in self.ablated:
            sql = sql.replace(_BUSY, f"AND 0 {_BUSY}")
        return sql

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """The rules that stand in code."""
        with ExitStack() as stack:
            if "R2" in self.ablated:
                stack.enter_context(_replaced(publishing, "intend", _without_deadline))
            if "R7" in self.ablated:
                stack.enter_context(_replaced(publishing, "clear", _without_second_check))
            if "R10" in self.ablated:
                stack.enter_context(_replaced(publishing, "idempotency_key", _with_fresh_key))
            yield


def switches(ablated: frozenset[str]) -> Switches:
    if unknown := ablated - RULES.keys():
        raise ValueError(f"no such rule: {sorted(unknown)}")
    adapter: dict[str, Any] = {}
    if "R3" in ablated:
        adapter["settle_s"] = 0.0
    if "R4" in ablated:
        adapter["lookup"] = True
    return Switches(ablated, adapter)


@contextmanager
def _replaced(
    module: Any, name: str, build: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    real = getattr(module, name)
    setattr(module, name, build(real))
    try:
        yield
    finally:
        setattr(module, name, real)


def _without_deadline(real: Callable[..., Any]) -> Callable[..., Any]:
    async def intend(uow: Any, kit: Kit, work: Work, body: bytes) -> Intent | None:
        intent: Intent | None = await real(uow, kit, work, body)
        return None if intent is None else replace(intent, send_before_s=float("inf"))

    return intend


def _without_second_check(real: Callable[..., Any]) -> Callable[..., Any]:
    async def clear(uow: Any, delivery: Delivery, account: Any) -> Any:
        if delivery.state != "preparing":
            return await real(uow, delivery, account)
        now = uow.now
        return Clearance(digest="", approval_id=delivery.id, approved_at=now, policy="")

    return clear


def _with_fresh_key(real: Callable[..., Any]) -> Callable[..., Any]:
    from scheduler.ids import new_id

    def idempotency_key(*_: object) -> str:
        return new_id().hex

    return idempotency_key
