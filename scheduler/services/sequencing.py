"""The sequencer: moves records from the outbox into the tree, and signs its head.

One sequencer is active at a time, by a lease; two cannot fork the log even so, because whoever extends the tree holds
the head's row, and the sequence numbers come from it.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from scheduler.audit import tree
from scheduler.audit.keys import LogKeys
from scheduler.audit.record import SignedRecord, parse_record, seal_line
from scheduler.db import log
from scheduler.db.log import Row, Unsealed
from scheduler.db.tables import Checkpoint
from scheduler.db.uow import UnitOfWork

LEASE: Final = timedelta(seconds=10)
BATCH: Final = 500


async def count_unsealed(uow: UnitOfWork) -> int:
    return await log.count_unsealed(uow)


async def seal(uow: UnitOfWork, keys: LogKeys, *, owner: str) -> int | None:
    """Seal up to `BATCH` records and sign the new head; None while another sequencer is active.

    Answers how many were sealed; a full batch means that there may be more.
    """
    if await log.take_lease(uow, owner, LEASE) is None:
        return None
    head = await log.lock_head(uow)
    found = await log.find_unsealed(uow, limit=BATCH)
    outbox = _whole_transactions(found)
    if not outbox:
        return 0
    last = await log.find_checkpoint(uow)
    sealed_at = uow.now if last is None else max(uow.now, last.signed_at)  # a clock may step back
    leaves: list[Row] = []
    hashes = []
    for seq, (_, record) in enumerate(outbox, start=head.size):
        line = seal_line(record, seq=seq, sealed_at=sealed_at)
        hashes.append(tree.leaf_hash(line))
        subject = str(record.on["id"])
        leaves.append({"seq": seq, "line": line, "hash": hashes[-1], "subject": subject})
    extended = tree.Frontier.from_json(head.size, head.frontier).extend(hashes)
    await log.append(uow, [row for row, _ in outbox], leaves, extended.as_rows())
    head.size, head.frontier = extended.frontier.size, extended.frontier.as_json()
    note = keys.sign_checkpoint(size=head.size, root=extended.frontier.root(), at=sealed_at)
    uow.session.add(Checkpoint(size=head.size, note=note.decode(), signed_at=sealed_at))
    return len(found)


def _whole_transactions(found: Sequence[Unsealed]) -> list[tuple[Unsealed, SignedRecord]]:
    """Without the records whose transaction the batch cuts in two: a signed head covers whole ones only."""
    records = [(row, parse_record(row.body)) for row in found]
    here = Counter(record.transaction.id for _, record in records)
    ends = {record.transaction.id: record.transaction.count for _, record in records}
    return [
        (row, record)
        for row, record in records
        if ends[record.transaction.id] == here[record.transaction.id]
    ]
