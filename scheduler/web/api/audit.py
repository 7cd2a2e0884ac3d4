"""The record: list, show with proof, hand out for an export, verify."""

import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from scheduler.app import App
from scheduler.audit.export import ExportRequest
from scheduler.db import log
from scheduler.db.tables import AuditLeaf
from scheduler.domain.people import Permission
from scheduler.errors import NotFoundError
from scheduler.services import evidence, proofs
from scheduler.services.evidence import NothingSealedError
from scheduler.services.proofs import LogDamagedError
from scheduler.services.scope import require_at_the_top
from scheduler.web.api.persons import NoBody
from scheduler.web.paging import Page, cut
from scheduler.web.parsing import Input
from scheduler.web.routing import Answer, Errand, Raw, Route, Step, Unit, get, post

_BATCH: Final = 500
_TEXT: Final = "text/plain; charset=utf-8"
_Seq = Annotated[int, Field(ge=0, le=2**53 - 1)]


class AuditQuery(Input):
    subject: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z-]{1,100}$")] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: _Seq | None = None


class LeavesQuery(Input):
    start: _Seq = 0


class RecordLine(Answer):
    """A sealed record as read from its line; `record` is null when somebody damaged the line."""

    seq: int
    sealed_at: str | None
    record: dict[str, Any] | None


class RecordAnswer(RecordLine):
    """A record, the exact line the log commits to, and what proves it; hashes are hexadecimal."""

    line: str
    leaf_hash: str
    proof: list[str]
    size: int
    checkpoint: str


class LogFinding(Answer):
    seq: int | None
    code: str
    message: str


class MismatchAnswer(Answer):
    """A row of the database that contradicts the record `seq`."""

    subject: str
    seq: int | None
    code: str
    message: str


class VerifyAnswer(Answer):
    """The log by itself, and the database of today against it."""

    ok: bool
    keys_given: bool
    records: int
    size: int | None
    root: str
    first_bad: int | None
    findings: list[LogFinding]
    mismatches: list[MismatchAnswer]


async def list_records(step: Step, query: AuditQuery) -> Page[RecordLine]:
    """The sealed records, newest first; of one subject when its id is given."""
    await require_at_the_top(step.uow, step.actor, Permission.AUDIT)
    found = await evidence.find_records(
        step.uow, subject=query.subject, before=query.cursor, limit=query.limit + 1
    )
    shown, cursor = cut(found, query.limit, lambda leaf: leaf.seq)
    return Page(items=[RecordLine(**_line(leaf)) for leaf in shown], next=cursor)


async def show_record(step: Step) -> RecordAnswer:
    """One record with its inclusion proof and the signed head it leads to."""
    await require_at_the_top(step.uow, step.actor, Permission.AUDIT)
    proven = await proofs.get_proven(step.uow, step.seq())
    return RecordAnswer(
        **_line(proven.leaf),
        line=_text(proven.leaf),
        leaf_hash=bytes(proven.leaf.hash).hex(),
        proof=[each.hex() for each in proven.proof],
        size=proven.checkpoint.size,
        checkpoint=proven.checkpoint.note,
    )


async def show_checkpoint(step: Step) -> Raw:
    """The newest signed head of the log, as a note."""
    await require_at_the_top(step.uow, step.actor, Permission.AUDIT)
    found = await log.find_checkpoint(step.uow)
    if found is None:
        raise NothingSealedError("no record is sealed yet; try again in a second")
    return Raw(data=found.note.encode(), content_type=_TEXT)


async def show_trust(step: Step) -> Raw:
    """The public keys with which an auditor checks the log."""
    await require_at_the_top(step.uow, step.actor, Permission.AUDIT)
    return Raw(data=step.app.trust.encode(), content_type=_TEXT)


async def stream_leaves(errand: Errand, query: LeavesQuery) -> Raw:
    """The exact lines of the log from `start` on, up to the newest signed head."""
    async with errand.app.open_uow.read() as uow:
        await require_at_the_top(uow, errand.actor, Permission.AUDIT)
        found = await log.find_checkpoint(uow)
    size = 0 if found is None else found.size
    return Raw(data=_read_lines(errand.app, query.start, size), content_type="application/jsonl")


async def verify_log(step: Step, body: NoBody) -> VerifyAnswer:  # noqa: ARG001 - an empty body is checked
    """Check the whole log, and every post, approval, delivery and attempt against it."""
    await require_at_the_top(step.uow, step.actor, Permission.AUDIT)
    request = ExportRequest(
        requested_by=str(step.actor.person_id), reason="verify", at=step.uow.now
    )
    verdict = await evidence.verify(step.uow, trust=step.app.trust, request=request)
    report = verdict.log
    return VerifyAnswer(
        ok=verdict.ok,
        keys_given=report.keys_given,
        records=report.records,
        size=report.size,
        root=report.root.hex(),
        first_bad=report.first_bad,
        findings=[
            LogFinding(seq=each.seq, code=each.code, message=each.message)
            for each in report.findings
        ],
        mismatches=[
            MismatchAnswer(subject=each.subject, seq=each.seq, code=each.code, message=each.message)
            for each in verdict.mismatches
        ],
    )


async def _read_lines(app: App, start: int, size: int) -> AsyncIterator[bytes]:
    for first in range(start, size, _BATCH):
        async with app.open_uow.read() as uow:
            leaves = await log.find_leaves(uow, start=first, limit=min(_BATCH, size - first))
        yield b"".join(bytes(leaf.line) + b"\n" for leaf in leaves)


def _line(leaf: AuditLeaf) -> dict[str, Any]:
    sealed_at, record = None, None
    with suppress(ValueError, KeyError, TypeError):
        parsed = json.loads(leaf.line)
        sealed_at, record = str(parsed["st"]), dict(parsed["rec"])
    return {"seq": leaf.seq, "sealed_at": sealed_at, "record": record}


def _text(leaf: AuditLeaf) -> str:
    return bytes(leaf.line).decode(errors="replace")


_NEEDS: Final = "audit, at the headquarters"
ROUTES: Final[tuple[Route, ...]] = (
    get("/audit", list_records, _NEEDS, errors=(NotFoundError,)),
    get(
        "/audit/checkpoint",
        show_checkpoint,
        _NEEDS,
        answer_types=("text/plain",),
        errors=(NotFoundError, NothingSealedError),
    ),
    get(
        "/audit/trust",
        show_trust,
        _NEEDS,
        answer_types=("text/plain",),
        errors=(NotFoundError,),
    ),
    get(
        "/audit/leaves",
        stream_leaves,
        _NEEDS,
        unit=Unit.OWN,
        answer_types=("application/jsonl",),
        errors=(NotFoundError,),
    ),
    post(
        "/audit/verify",
        verify_log,
        _NEEDS,
        unit=Unit.READ,
        errors=(NotFoundError, NothingSealedError),
    ),
    get("/audit/{seq}", show_record, _NEEDS, errors=(NotFoundError, LogDamagedError)),
)
