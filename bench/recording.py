"""The record: sealed into the log, and verified offline as a stranger would."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import asyncpg
import orjson

from adapters.registry import build
from bench import limit, seed
from bench.line import Line
from bench.yard import Yard
from scheduler.app import App, application
from scheduler.audit.actions import Action
from scheduler.audit.export import ENTRIES, ExportRequest
from scheduler.audit.verify import verify_export
from scheduler.ids import new_id
from scheduler.publishing.sequencer import Sequencer
from scheduler.services import evidence

_TRANSACTION: Final = 50  # records of one
_BATCH: Final = 500  # of the limit


async def measure(yard: Yard, count: int) -> tuple[Line, Line]:
    """Seal so many records, and verify them."""
    await seed.seed(yard.settings, seed.Order(count=0, due=0, rate=0, url=yard.url))
    async with application(yard.settings, service="bench", platforms=build, ringing=False) as app:
        await _write(app, count)
        before = yard.cpu(os.getpid())
        began = time.perf_counter()
        await Sequencer(app.open_uow, app.log_keys, owner="bench").seal_all()
        sealed_s = time.perf_counter() - began
        sealed_us = yard.cpu(os.getpid()).each_us(before, count)
        folder = yard.folder / f"export-{new_id()}"
        async with app.open_uow.read() as uow:
            request = ExportRequest(at=uow.now, requested_by="bench", reason="measurement")
            size = await evidence.export(uow, folder, trust=app.trust, request=request)
    before = yard.cpu(os.getpid())
    verified_s = _timed(lambda: _verify(folder))
    verified_us = yard.cpu(os.getpid()).each_us(before, size)
    chained_s = await _chain(yard, count)
    read_s = _timed(lambda: _read(folder))
    return (
        Line.of("seal", count / sealed_s, count / chained_s, "records/s", sealed_us),
        Line.of("verify", size / verified_s, size / read_s, "records/s", verified_us),
    )


async def _write(app: App, count: int) -> None:
    for _ in range(0, count, _TRANSACTION):
        async with app.open_uow() as uow:
            for _ in range(_TRANSACTION):
                subject = {"t": "account", "id": str(new_id())}
                uow.record(Action.ACCOUNT_CHECK, subject, detail={"from": "Lipovec"})


async def _chain(yard: Yard, count: int) -> float:
    """What the least chain of as many records takes, stored as durably."""
    now = time.time()
    await limit.seed(yard.limit_dsn, count=0, due=now, rate=0, text="", future=0)
    connection = await asyncpg.connect(yard.limit_dsn)
    began, head = time.perf_counter(), b""
    for start in range(1, count + 1, _BATCH):
        lines = []
        for seq in range(start, min(start + _BATCH, count + 1)):
            line = limit.chain_line(seq, "1")
            head = hashlib.sha256(head + line).digest()
            lines.append((seq, line, head))
        await connection.copy_records_to_table("record", records=lines)
    took_s = time.perf_counter() - began
    await connection.close()
    return took_s


def _verify(folder: Path) -> None:
    report = verify_export(lambda name: (folder / name).open("rb"), trusted=None)
    if not report.ok:
        raise RuntimeError(f"the record does not verify: {report.findings[:3]}")


def _read(folder: Path) -> None:
    """The least that anybody who checks a chain has to do with each record."""
    head = b""
    with (folder / ENTRIES).open("rb") as entries:
        for line in entries:
            orjson.loads(line)
            head = hashlib.sha256(head + line).digest()


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
