"""The database of today against the record: a row changed by hand contradicts a record, which is named."""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import select
from sqlmodel import col

from scheduler.audit.export import Leaf
from scheduler.db import posts
from scheduler.db.tables import Approval, Attempt, Delivery, Post
from scheduler.db.uow import UnitOfWork
from scheduler.services import rendering

_SUBMITTED: Final = ("in_review", "approved", "scheduled", "closed")


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A row of today that is not what its record says."""

    subject: str
    seq: int | None  #: the record it contradicts; None when there is none
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Records:
    """The newest record of each kind and subject, with its place in the log."""

    newest: dict[tuple[str, str], tuple[int | None, dict[str, Any]]]
    last_state: dict[str, tuple[int | None, str]]
    approvals: dict[str, tuple[int | None, dict[str, Any]]]
    intents: dict[tuple[str, int], tuple[int | None, str]]

    @classmethod
    def read(cls, leaves: Sequence[Leaf], unsealed: Sequence[bytes]) -> "Records":
        """Records that cannot be read are left out: the verifier of the log names them."""
        records = cls({}, {}, {}, {})
        for seq, leaf in enumerate(leaves):
            with suppress(ValueError, KeyError, TypeError):
                records.add(seq, json.loads(leaf.line)["rec"])
        for body in unsealed:
            with suppress(ValueError, KeyError, TypeError):
                records.add(None, json.loads(body))
        return records

    def add(self, seq: int | None, rec: dict[str, Any]) -> None:
        subject, detail = rec["on"]["id"], rec["d"]
        self.newest[rec["act"], subject] = (seq, rec)
        if "to" in detail:
            self.last_state[subject] = (seq, detail["to"])
        if rec["act"] == "post.approve":
            self.approvals[detail["approval"]] = (seq, rec)
        if rec["act"] == "delivery.intent":
            self.intents[subject, detail["attempt"]] = (seq, detail["request"])


async def compare(uow: UnitOfWork, records: Records) -> tuple[Mismatch, ...]:
    """Every row of a post, approval, delivery or attempt that is not what its records say."""
    found: list[Mismatch | None] = []
    for post in (await uow.session.scalars(select(Post).order_by(col(Post.id)))).all():
        found += [_compare_state(records, post), await _compare_post(uow, records, post)]
    for delivery in await uow.session.scalars(select(Delivery).order_by(col(Delivery.id))):
        found.append(_compare_state(records, delivery))
    for approval in await uow.session.scalars(select(Approval).order_by(col(Approval.id))):
        found.append(_compare_approval(records, approval))
    for attempt in await uow.session.scalars(select(Attempt).order_by(col(Attempt.id))):
        found.append(_compare_attempt(records, attempt))
    return tuple(each for each in found if each is not None)


async def _compare_post(uow: UnitOfWork, records: Records, post: Post) -> Mismatch | None:
    if post.state not in _SUBMITTED:
        return None
    seq, rec = records.newest.get(("post.submit", str(post.id)), (None, {"d": {}}))
    recorded = rec["d"].get("digest")
    try:
        parts = await posts.load_parts(uow, post)
        digest = rendering.build_statement(parts, post.policy or "").digest()
    except (ValueError, KeyError, TypeError) as exc:
        digest = f"unreadable: {exc}"
    if digest == recorded == post.digest:
        return None
    return Mismatch(
        subject=f"post:{post.id}",
        seq=seq,
        code="content_changed",
        message="the post is not what was submitted and approved",
    )


def _compare_approval(records: Records, approval: Approval) -> Mismatch | None:
    seq, rec = records.approvals.get(str(approval.id), (None, None))
    if rec is not None:
        same = (
            rec["d"]["digest"] == approval.digest
            and rec["d"]["policy"] == approval.policy
            and rec["by"].get("p") == str(approval.person_id)
            and rec["on"]["id"] == str(approval.post_id)
            and rec["on"]["rev"] == approval.revision
        )
        if same:
            return None
    return Mismatch(
        subject=f"approval:{approval.id}",
        seq=seq,
        code="approval_changed" if rec else "approval_unrecorded",
        message="the approval is not what was recorded",
    )


def _compare_state(records: Records, row: Post | Delivery) -> Mismatch | None:
    seq, state = records.last_state.get(str(row.id), (None, None))
    initial = {"draft", "planned"}
    if row.state == state or (state is None and row.state in initial):
        return None
    return Mismatch(
        subject=f"{row.__tablename__}:{row.id}",
        seq=seq,
        code="state_changed",
        message=f"it is {row.state}, but the last record says {state}",
    )


def _compare_attempt(records: Records, attempt: Attempt) -> Mismatch | None:
    key = (str(attempt.delivery_id), attempt.number)
    seq, request = records.intents.get(key, (None, None))
    if request == f"sha256:{attempt.request_sha256}":
        return None
    return Mismatch(
        subject=f"attempt:{attempt.id}",
        seq=seq,
        code="attempt_changed",
        message="the request is not what was recorded",
    )
