"""The database of today against the record: a row changed or deleted by hand contradicts a record, which is named."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import select
from sqlmodel import col

from scheduler.audit.export import Leaf
from scheduler.canonical import sha256_hex
from scheduler.clock import iso
from scheduler.db import posts
from scheduler.db.tables import Approval, Attempt, Delivery, Post
from scheduler.db.uow import UnitOfWork
from scheduler.policy.clearance import Mode
from scheduler.services import rendering
from scheduler.services.chains import Chains, Mismatch, compare_rows

_SUBMITTED: Final = ("in_review", "approved", "scheduled", "closed")
#: What a record after the intent says of the attempt.
_OUTCOMES: Final[Mapping[str, str]] = {
    "delivery.part_sent": "sent",
    "delivery.sent": "sent",
    "delivery.retry": "not_sent",
    "delivery.rejected": "rejected",
    "delivery.unknown": "unknown",
    "delivery.found": "found",
    "delivery.part_found": "found",
    "delivery.absent": "absent",
}
_AFTER_INTENT: Final = frozenset({"sending", "unknown"})


@dataclass(frozen=True, slots=True)
class Told:
    """What the newest record says of one row."""

    seq: int | None
    rec: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Records:
    """What the records say of every row, and which rows they know."""

    submissions: dict[str, Told] = field(default_factory=dict)
    states: dict[tuple[str, str], Told] = field(default_factory=dict)  #: by kind and id
    approvals: dict[str, Told] = field(default_factory=dict)
    intents: dict[tuple[str, int], Told] = field(default_factory=dict)
    outcomes: dict[tuple[str, int], str] = field(default_factory=dict)
    remotes: dict[str, Told] = field(default_factory=dict)
    last_attempt: dict[str, int] = field(default_factory=dict)
    chains: Chains = field(default_factory=Chains)

    @classmethod
    def read(cls, leaves: Sequence[Leaf], unsealed: Sequence[bytes]) -> "Records":
        """Records that cannot be read are left out: the verifier of the log names them."""
        records = cls()
        for seq, leaf in enumerate(leaves):
            with suppress(ValueError, KeyError, TypeError):
                records.add(seq, json.loads(leaf.line)["rec"])
        for body in unsealed:
            with suppress(ValueError, KeyError, TypeError):
                records.add(None, json.loads(body))
        return records

    def add(self, seq: int | None, rec: Mapping[str, Any]) -> None:
        told, kind, subject, detail = Told(seq, rec), rec["on"]["t"], rec["on"]["id"], rec["d"]
        self.chains.add(seq, detail.get("rows", {}))
        if "to" in detail:
            self.states[kind, subject] = told
        match rec["act"]:
            case "post.submit":
                self.submissions[subject] = told
            case "post.approve" | "post.decide":
                self.approvals[detail["approval"]] = told
            case "delivery.intent":
                self.intents[subject, detail["attempt"]] = told
                self.last_attempt[subject] = detail["attempt"]
            case "delivery.drop":
                self.states.pop((kind, subject), None)
            case act if act in _OUTCOMES and detail.get("from") in _AFTER_INTENT:
                self._add_outcome(told, subject, _OUTCOMES[act], detail)

    def _add_outcome(
        self, told: Told, subject: str, outcome: str, detail: Mapping[str, Any]
    ) -> None:
        if subject in self.last_attempt:
            self.outcomes[subject, self.last_attempt[subject]] = outcome
        if "remote" in detail:
            self.remotes.setdefault(subject, told)  # the first part's address is the delivery's


async def compare(uow: UnitOfWork, records: Records) -> tuple[Mismatch, ...]:
    """Every row that is not what its records say, and every one that is gone; the plainest reason for each."""
    found: list[Mismatch] = []
    for post in (await uow.session.scalars(select(Post).order_by(col(Post.id)))).all():
        found += [*_compare_state(records, post), *await _compare_post(uow, records, post)]
    for delivery in await uow.session.scalars(select(Delivery).order_by(col(Delivery.id))):
        found += [*_compare_state(records, delivery), *_compare_remote(records, delivery)]
    for approval in await uow.session.scalars(select(Approval).order_by(col(Approval.id))):
        found += _compare_approval(records, approval)
    for attempt in await uow.session.scalars(select(Attempt).order_by(col(Attempt.id))):
        found += _compare_attempt(records, attempt)
    found += _find_gone(records)
    told = {each.subject for each in found}
    rows = await compare_rows(uow, records.chains)
    return (*found, *(each for each in rows if each.subject not in told))


async def _compare_post(uow: UnitOfWork, records: Records, post: Post) -> list[Mismatch]:
    if post.state not in _SUBMITTED:
        return []
    told = records.submissions.get(str(post.id))
    recorded = told.rec["d"].get("digest") if told else None
    try:
        parts = await posts.load_parts(uow, post)
        digest = rendering.build_statement(parts, post.policy or "").digest_like(post.digest)
    except (ValueError, KeyError, TypeError) as exc:
        digest = f"unreadable: {exc}"
    if digest == recorded == post.digest:
        return []
    message = "the post is not what was submitted and approved"
    return [_mismatch(f"post:{post.id}", told, "content_changed", message)]


def _compare_approval(records: Records, approval: Approval) -> list[Mismatch]:
    told = records.approvals.pop(str(approval.id), None)
    stands = {
        "digest": approval.digest,
        "policy": approval.policy,
        "person": str(approval.person_id),
        "post": str(approval.post_id),
        "revision": approval.revision,
        "at": iso(approval.decided_at),
        "mode": approval.mode,
        "reason": approval.reason,
    }
    if told is not None:
        rec = told.rec
        recorded = {
            "digest": rec["d"]["digest"],
            "policy": rec["d"]["policy"],
            "person": rec["by"].get("p"),
            "post": rec["on"]["id"],
            "revision": rec["on"]["rev"],
            "at": rec["t"],
            "mode": rec["d"].get("mode", Mode.APPROVE.value),
            "reason": rec["d"].get("reason", ""),
        }
        if recorded == stands:
            return []
    code = "approval_changed" if told else "approval_unrecorded"
    message = "the approval is not what was recorded"
    return [_mismatch(f"approval:{approval.id}", told, code, message)]


def _compare_state(records: Records, row: Post | Delivery) -> list[Mismatch]:
    kind = row.__tablename__
    told = records.states.pop((str(kind), str(row.id)), None)
    state = told.rec["d"]["to"] if told else None
    if row.state == state or (state is None and row.state in {"draft", "planned"}):
        return []
    message = f"it is {row.state}, but the last record says {state}"
    return [_mismatch(f"{kind}:{row.id}", told, "state_changed", message)]


def _compare_remote(records: Records, delivery: Delivery) -> list[Mismatch]:
    """Posts put on record by hand carry a person's address instead of a platform's id."""
    told = records.remotes.get(str(delivery.id))
    if told is None or delivery.remote_id == told.rec["d"]["remote"]:
        return []
    resolved = delivery.remote_id == delivery.remote_url
    if resolved:
        return []
    message = "its id on the platform is not what was recorded"
    return [_mismatch(f"delivery:{delivery.id}", told, "remote_changed", message)]


def _compare_attempt(records: Records, attempt: Attempt) -> list[Mismatch]:
    key = (str(attempt.delivery_id), attempt.number)
    told = records.intents.pop(key, None)
    digest = sha256_hex(bytes(attempt.request))
    same_request = (
        told is not None
        and told.rec["d"]["request"] == f"sha256:{digest}"
        and attempt.request_sha256 == digest
    )
    if same_request and attempt.outcome == records.outcomes.get(key):
        return []
    message = "the attempt is not what was recorded"
    return [_mismatch(f"attempt:{attempt.id}", told, "attempt_changed", message)]


def _find_gone(records: Records) -> Iterator[Mismatch]:
    """Rows that records tell of and that were not met: rows of the past are never deleted."""
    for (kind, subject), told in records.states.items():
        if kind in {"post", "delivery"}:
            yield _mismatch(f"{kind}:{subject}", told, "row_gone", "the row was deleted")
    for approval, told in records.approvals.items():
        yield _mismatch(f"approval:{approval}", told, "row_gone", "the approval was deleted")


def _mismatch(subject: str, told: Told | None, code: str, message: str) -> Mismatch:
    return Mismatch(subject=subject, seq=told.seq if told else None, code=code, message=message)
