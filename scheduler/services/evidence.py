"""The record for people: list, show, export, and verify it against what the database says today."""

import asyncio
import io
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from scheduler.audit.export import ExportRequest, Leaf, write_export
from scheduler.audit.keys import Trust
from scheduler.audit.verify import Report, verify_export
from scheduler.db import log
from scheduler.db.tables import AuditLeaf
from scheduler.db.uow import UnitOfWork
from scheduler.errors import ConflictError
from scheduler.services.chains import Mismatch
from scheduler.services.comparison import Records, compare

_BATCH: Final = 1000


class FolderInUseError(ConflictError):
    code = "folder_in_use"


class NothingSealedError(ConflictError):
    """The log has no signed head yet: a worker seals within a second."""

    code = "nothing_sealed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The log by itself, and the database against the log."""

    log: Report
    mismatches: tuple[Mismatch, ...]

    @property
    def ok(self) -> bool:
        return self.log.ok and not self.mismatches


async def find_records(
    uow: UnitOfWork, *, subject: str | None, before: int | None, limit: int
) -> Sequence[AuditLeaf]:
    return await log.find_page(uow, subject=subject, before=before, limit=limit)


async def export(uow: UnitOfWork, folder: Path, *, trust: Trust, request: ExportRequest) -> int:
    """Write the log up to its signed head into `folder`, which must be new or empty; answers the size.

    Raises:
        NothingSealedError: there is no signed head yet.
        FolderInUseError: the folder holds something already.
    """
    checkpoint = await log.find_checkpoint(uow)
    if checkpoint is None:
        raise NothingSealedError("no record is sealed yet; try again in a second")
    _make_folder(folder)
    leaves = [leaf async for leaf in _leaves(uow, checkpoint.size)]
    files = write_export(leaves, checkpoint=checkpoint.note.encode(), trust=trust, request=request)
    write_files(folder, files)
    return checkpoint.size


async def verify(uow: UnitOfWork, *, trust: Trust, request: ExportRequest) -> Verdict:
    """Check the whole log, and every post, approval, delivery and attempt against its records."""
    checkpoint = await log.find_checkpoint(uow)
    if checkpoint is None:
        raise NothingSealedError("no record is sealed yet; try again in a second")
    files: dict[str, io.BytesIO] = {}
    leaves = [leaf async for leaf in _leaves(uow, checkpoint.size)]
    for name, data in write_export(
        leaves, checkpoint=checkpoint.note.encode(), trust=trust, request=request
    ):
        files.setdefault(name, io.BytesIO()).write(data)

    def open_file(name: str) -> BinaryIO:
        files[name].seek(0)
        return files[name]

    report = await asyncio.to_thread(verify_export, open_file, trusted=trust)
    bodies = [row.body for row in await log.find_unsealed(uow, limit=None)]
    mismatches = await compare(uow, Records.read(leaves, bodies))
    return Verdict(log=report, mismatches=mismatches)


async def _leaves(uow: UnitOfWork, size: int) -> AsyncIterator[Leaf]:
    for start in range(0, size, _BATCH):
        for row in await log.find_leaves(uow, start=start, limit=min(_BATCH, size - start)):
            yield Leaf(line=bytes(row.line), hash=bytes(row.hash))


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FolderInUseError(f"{folder} is not empty")


def write_files(folder: Path, files: Iterator[tuple[str, bytes]]) -> None:
    """Write what `write_export` yields, as it comes."""
    opened: dict[str, BinaryIO] = {}
    try:
        for name, data in files:
            if name not in opened:
                opened[name] = (folder / name).open("xb")
            opened[name].write(data)
    finally:
        for file in opened.values():
            file.close()
