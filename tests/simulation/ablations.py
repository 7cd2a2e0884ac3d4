"""Each rule R1-R10 can be taken out of the path that a run exercises, never out of what judges it.

A switch that no longer finds what it has to take out changes nothing, is not caught, and fails its test.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Final

from scheduler.db import deliveries
from scheduler.db.cases import Case
from scheduler.ids import new_id
from scheduler.services import publishing
from scheduler.services.publishing import Intent
from scheduler.services.release import Bench, Clearance
from tests.simulation.loop import Process
from tests.simulation.store import Facts, Session, Store

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

_FENCE: Final = "delivery.fence = x.was_fence"
_INDEX: Final = "uq_delivery_sending"
_BUSY: Final = "AND delivery_1.state IN ("


@dataclass(slots=True)
class Switches:
    ablated: frozenset[str]
    adapter: dict[str, Any] = field(default_factory=dict)
    deferred: dict[Process, list[tuple[str, str, Any]]] = field(default_factory=dict)

    def defers(self, session: Session, facts: Facts) -> bool:
        """R1: keep the intent's statements instead of committing them."""
        if "R1" not in self.ablated or not facts.enters("sending"):
            return False
        self.deferred.setdefault(facts.process, []).extend(session.statements)
        return True

    def catch_up(self, session: Session) -> None:
        """R1: what was kept becomes part of the next transaction, the outcome's."""
        for execute, sql, parameters in self.deferred.pop(session.process, []):
            if not sql.startswith(("SELECT", "BEGIN")):
                getattr(session.raw.cursor(), execute)(sql, parameters)

    @property
    def host_clock_decides(self) -> bool:
        return "R8" in self.ablated

    @property
    def repeats_requests(self) -> bool:
        return "R9" in self.ablated

    def rewrite(self, sql: str) -> str:
        """The rules that stand in SQL."""
        if "R5" in self.ablated:
            return sql.replace(_FENCE, f"({_FENCE} OR 1)")
        if "R6" in self.ablated:
            return sql.replace(_BUSY, f"AND 0 {_BUSY}")
        return sql

    @contextmanager
    def in_force(self, store: Store) -> Iterator[None]:
        """The rules that stand in code or in the schema."""
        with ExitStack() as stack:
            if "R2" in self.ablated:
                stack.enter_context(_replaced(publishing, "intend", _without_deadline))
            if "R5" in self.ablated:
                stack.enter_context(_replaced(deliveries, "is_held", _without_fence))
            if "R6" in self.ablated:
                stack.enter_context(_without_index(store))
            if "R7" in self.ablated:
                stack.enter_context(_replaced(Bench, "judge", _without_second_check))
            if "R10" in self.ablated:
                stack.enter_context(_replaced(publishing, "idempotency_key", _with_fresh_key))
            yield


def switches(ablated: frozenset[str]) -> Switches:
    if unknown := ablated - RULES.keys():
        raise ValueError(f"no such rule: {sorted(unknown)}")
    adapter: dict[str, Any] = {}
    if "R3" in ablated:
        adapter["settle_s"] = -60.0  # neither the deadline nor the settle time is waited for
    if "R4" in ablated:
        adapter["lookup"] = True
    return Switches(ablated, adapter)


@contextmanager
def _without_index(store: Store) -> Iterator[None]:
    """R6: the database refuses a second publish on an account by this index."""
    execute = store.monitor.execute
    [(sql,)] = execute("SELECT sql FROM main.sqlite_master WHERE name = ?", (_INDEX,))
    execute(f"DROP INDEX main.{_INDEX}")
    try:
        yield
    finally:
        store.restore_rows("founded")
        execute(sql)


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
    async def intend(*asked: Any) -> list[Any]:
        told = await real(*asked)
        return [
            replace(each, send_before_s=float("inf")) if isinstance(each, Intent) else each
            for each in told
        ]

    return intend


def _without_fence(_real: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *_: True


def _without_second_check(real: Callable[..., Any]) -> Callable[..., Any]:
    def judge(bench: Bench, case: Case) -> Any:
        if case.delivery.state != "preparing":
            return real(bench, case)
        return Clearance(digest="", approval_id=case.delivery.id, policy="")

    return judge


def _with_fresh_key(real: Callable[..., Any]) -> Callable[..., Any]:
    def idempotency_key(*_: object) -> str:
        return new_id().hex

    return idempotency_key
