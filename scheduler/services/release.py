"""May this delivery leave now? One pure function over fresh rows, asked inside the intent transaction (R7)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from scheduler.db import cases, postures, rules
from scheduler.db.cases import Case
from scheduler.db.posts import PostParts
from scheduler.db.tables import Delivery, PolicyVersion
from scheduler.db.uow import UnitOfWork
from scheduler.domain.lateness import Timing, timing, window_end
from scheduler.domain.post_flow import PostState
from scheduler.domain.posture import STOPPED, describe, find_block
from scheduler.policy.bundle import open_policy
from scheduler.policy.clearance import Decision
from scheduler.services import judging, rendering
from scheduler.services.clearing import Standing, describe_open, weigh
from scheduler.services.judging import Judgement


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why a delivery must not leave; `code` is stable and shown to people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearance:
    """What the intent's record says was checked."""

    digest: str
    approval_id: UUID
    policy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Deliveries to be judged, with what is in force for everybody; all read in one transaction."""

    now: datetime
    stops: Mapping[UUID, Obstacle]  #: by delivery: the posture that forbids it
    policy: PolicyVersion | None  #: None: changed by hand
    cases: Mapping[UUID, Case]
    changes: Mapping[UUID, Obstacle | None]  #: by post: is its content still what was approved
    judgements: dict[UUID, Judgement] = field(default_factory=dict)  #: by post, once asked

    def clear(self, case: Case) -> Clearance | Obstacle:
        """Check posture, account, content, approval, roles and policy; the time is another question."""
        if (stop := self.stops.get(case.delivery.id)) is not None:
            return stop
        if case.account.state != "active":
            return Obstacle(code="account_out_of_service", message=case.account.state_reason)
        if case.post.state != PostState.SCHEDULED:
            return Obstacle(code="post_not_scheduled", message=f"the post is {case.post.state}")
        if (changed := self.changes[case.post.id] or _find_flaw(case)) is not None:
            return changed
        counted = _find_counted(case, self.now)
        if isinstance(counted, Obstacle):
            return counted
        return _judge_policy(self, case, counted)

    def judge(self, case: Case) -> Clearance | Obstacle | Timing:
        """Whether the delivery may leave now: cleared, or why not; a cleared one may be early or late."""
        cleared = self.clear(case)
        if isinstance(cleared, Obstacle):
            return cleared
        verdict = _judge_time(case, self.now)
        return cleared if verdict is Timing.IN_TIME else verdict


async def load(uow: UnitOfWork, deliveries: Collection[Delivery]) -> Bench:
    found = await cases.load(uow, deliveries)
    parts = {case.post.id: case.parts for case in found.values()}
    return Bench(
        now=uow.now,
        stops=await find_stops(uow, deliveries),
        policy=await rules.find_policy(uow),
        cases=found,
        changes={post_id: _find_change(each) for post_id, each in parts.items()},
    )


async def clear(uow: UnitOfWork, delivery: Delivery) -> Clearance | Obstacle:
    """Check one delivery against fresh rows."""
    bench = await load(uow, [delivery])
    return bench.clear(bench.cases[delivery.id])


async def find_stops(uow: UnitOfWork, deliveries: Collection[Delivery]) -> dict[UUID, Obstacle]:
    """The postures that forbid these deliveries at their times, which may be some seconds ahead.

    What is asked ahead is asked again at the intent; there an instant ahead is early, and does not leave.
    """
    in_force = await rules.load_postures(uow)
    if not in_force:
        return {}
    departures = await postures.load_departures(uow, [each.id for each in deliveries])
    blocks = {key: find_block(in_force, each) for key, each in departures.items()}
    return {
        key: Obstacle(code=STOPPED, message=describe(block))
        for key, block in blocks.items()
        if block is not None
    }


def approved_due(case: Case) -> datetime:
    """The instant that was approved; at once means when the last one decided so."""
    decided = (each.decided_at for each in case.approvals if each.digest == case.post.digest)
    return case.post.due_at or max(decided)


def due(case: Case) -> datetime:
    """When it is to leave: the approved instant, or a later one to which somebody released it."""
    approved = approved_due(case)
    return max(approved, case.delivery.due_at or approved)


def _judge_time(case: Case, now: datetime) -> Timing:
    """By the times that were approved; a changed row cannot make a delivery early or long-lived."""
    return timing(
        now=now,
        due_at=due(case),
        late_minutes=case.post.late_minutes,
        expires_at=window_end(due_at=approved_due(case), not_after=case.post.not_after),
    )


def _find_change(parts: PostParts) -> Obstacle | None:
    """Is every byte as approved? By recomputing, because anybody may have edited the database."""
    try:
        statement = rendering.build_statement(parts, parts.post.policy or "")
        digest = statement.digest_like(parts.post.digest)
    except (ValueError, KeyError, TypeError) as exc:
        return Obstacle(code="content_changed", message=f"the stored post cannot be read: {exc}")
    if digest != parts.post.digest:
        return Obstacle(code="content_changed", message="the content is not what was approved")
    return None


def _find_flaw(case: Case) -> Obstacle | None:
    """Is the next part really the next? The tries say so, because anybody may have edited the progress."""
    delivery = case.delivery
    public = {
        each.part: each.evidence.get("remote_id")
        for each in case.attempts
        if each.outcome in {"sent", "found"}
    }
    receipts = delivery.progress.get("parts", [])
    told = {part: receipt.get("id") for part, receipt in enumerate(receipts)}
    if told != public or len(told) != delivery.next_part:
        message = "what it says of its public parts is not what its tries say"
        return Obstacle(code="progress_changed", message=message)
    if any(each.outcome is None for each in case.attempts):
        return Obstacle(code="progress_changed", message="it has a try whose end is not recorded")
    return None


def _find_counted(case: Case, now: datetime) -> Mapping[UUID, Decision] | Obstacle:
    """What was decided on this digest, by approval, and counts now; somebody among them approves."""
    reason, counted = "nobody approved this revision", {}
    for approval in case.approvals:
        weighed = weigh(approval, case.parts, case.approvers.get(approval.person_id), now)
        if isinstance(weighed, str):
            reason = weighed
        else:
            counted[approval.id] = weighed
    if not any(each.mode.approves for each in counted.values()):
        return Obstacle(code="approval_lost", message=reason)
    return counted


def _judge_policy(
    bench: Bench, case: Case, counted: Mapping[UUID, Decision]
) -> Clearance | Obstacle:
    """Ask the policy in force of the post as it stands, once for all its deliveries in the group.

    Asked at the approval is not enough under the same policy either: a post that goes at once is judged by the time at
    which it goes, and what an approval's row says of its policy is no proof.
    """
    policy, post_id = bench.policy, case.post.id
    if policy is None:
        message = "the policy in force was changed by hand"
        return Obstacle(code="policy_changed", message=message)
    if post_id not in bench.judgements:
        judged = judging.judge(open_policy(policy.body), case.parts, bench.now)
        bench.judgements[post_id] = judged
    judgement = bench.judgements[post_id]
    if judgement.blocking:
        first = judgement.blocking[0]
        return Obstacle(code="policy_blocked", message=f"rule {first.rule}: {first.message}")
    if lacking := Standing.of(case.parts, judgement, counted.values()).open:
        return Obstacle(code="clearance_missing", message=describe_open(lacking))
    approving = [key for key, each in counted.items() if each.mode.approves]
    return Clearance(digest=case.post.digest or "", approval_id=approving[-1], policy=policy.digest)
