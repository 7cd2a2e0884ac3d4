"""Each rule, taken out of the product wherever it stands; an invariant of the model has to notice.

A rule is often kept in several places, so that one of them may fail: what is taken out here is the rule itself.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from scheduler.db import posts
from scheduler.db.cases import Case
from scheduler.db.posts import PostParts
from scheduler.db.seals import RowSeals
from scheduler.db.tables import Approval
from scheduler.db.uow import UnitOfWork
from scheduler.domain import people as rules
from scheduler.domain.lateness import Timing
from scheduler.policy.clearance import Decision, Mode
from scheduler.services import people, release, tokens
from scheduler.services.release import Clearance
from tests.simulation.ablations import _replaced
from tests.simulation.histories.town import Town

RULES: Final[Mapping[str, str]] = {
    "duties": "whoever wrote a post may approve it: service, intent and trigger",
    "cooldown": "a new role approves at once",
    "suspension": "whoever was enrolled again approves at once",
    "second_admin": "a role is in force as soon as one admin has proposed it",
    "roles": "the intent does not ask whether the approver may still approve",
    "policy": "the intent does not ask the policy",
    "digest": "the intent does not compute the digest again",
    "posture": "the intent does not look for postures",
    "instant": "the intent takes every time for the right one",
    "receipts": "the intent does not compare a delivery with its tries",
    "seals": "every row counts as sealed",
}
_TRIGGERS: Final = (
    "SELECT name, sql FROM main.sqlite_master WHERE type = 'trigger' AND name LIKE 'approval_by%'"
)


@contextmanager
def without(town: Town, rule: str | None) -> Iterator[None]:
    """Take the rule out for as long as the block lasts."""
    with ExitStack() as stack:
        for module, name, build in _SWITCHES.get(rule or "", ()):
            stack.enter_context(_replaced(module, name, build))
        if rule == "duties":
            stack.enter_context(_without_triggers(town))
        yield


@contextmanager
def _without_triggers(town: Town) -> Iterator[None]:
    execute = town.store.monitor.execute
    triggers = [tuple(row) for row in execute(_TRIGGERS)]
    assert triggers, "there is nothing to take out"
    for name, _ in triggers:
        execute(f"DROP TRIGGER main.{name}")
    try:
        yield
    finally:
        town.store.restore_rows("founded")
        for _, sql in triggers:
            execute(sql)


def _answers(what: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return lambda _real: lambda *_: what


def _no_time(_real: Any) -> Any:
    return timedelta(0)


def _of_nobody(real: Callable[..., Any]) -> Callable[..., Any]:
    def build(**values: Any) -> PostParts:
        parts: PostParts = real(**{**values, "editors": frozenset()})
        return parts

    return build


def _without_stops(_real: Callable[..., Any]) -> Callable[..., Any]:
    async def find_stops(*_: object) -> dict[UUID, Any]:
        return {}

    return find_stops


def _in_force_at_once(real: Callable[..., Any]) -> Callable[..., Any]:
    async def propose_grant(uow: UnitOfWork, *asked: Any) -> Any:
        grant = await real(uow, *asked)
        grant.confirmed_at = uow.now
        return grant

    return propose_grant


def _as_of_then(_real: Callable[..., Any]) -> Callable[..., Any]:
    """Whoever decided may do so still."""

    def weigh(approval: Approval, parts: PostParts, *_: object) -> Decision | str:
        if approval.digest != parts.post.digest or approval.person_id in parts.editors:
            return "the approval is for other content"
        return Decision(
            person_id=approval.person_id,
            mode=Mode(approval.mode),
            offices=frozenset({"supervisor"}),
            at=approval.decided_at,
        )

    return weigh


def _cleared(_real: Callable[..., Any]) -> Callable[..., Any]:
    def judge(_bench: object, case: Case, _counted: object) -> Clearance:
        return Clearance(digest=str(case.post.digest), approval_id=case.delivery.id, policy="")

    return judge


_SWITCHES: Final[Mapping[str, tuple[tuple[Any, str, Callable[..., Any]], ...]]] = {
    "duties": ((posts, "PostParts", _of_nobody),),
    "cooldown": ((rules, "NEW_GRANT_COOLDOWN", _no_time),),
    "suspension": ((tokens, "REENROLMENT_SUSPENSION", _no_time),),
    "second_admin": ((people, "propose_grant", _in_force_at_once),),
    "roles": ((release, "weigh", _as_of_then),),
    "policy": ((release, "_judge_policy", _cleared),),
    "digest": ((release, "_find_change", _answers(None)),),
    "posture": ((release, "find_stops", _without_stops),),
    "instant": ((release, "_judge_time", _answers(Timing.IN_TIME)),),
    "receipts": ((release, "_find_flaw", _answers(None)),),
    "seals": ((RowSeals, "holds", _answers(True)),),
}
