"""A small log of Karvenia's ministry: real keys from fixed seeds, real records, a real tree."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any, BinaryIO

from scheduler.audit.actions import Action
from scheduler.audit.export import ExportRequest, Leaf, write_export
from scheduler.audit.keys import InstanceKey, LogKeys, Trust, build_trust
from scheduler.audit.record import Record, build, parse_record, seal_line, seal_transaction
from scheduler.audit.tree import leaf_hash, root_of
from scheduler.audit.verify import FindingCode, OpenFile, Report, verify_export
from scheduler.canonical import canonical

ORIGIN = "audit.karvenia.example/log1"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LOG_KEYS = LogKeys.from_seeds(origin=ORIGIN, ed25519=b"\x01" * 32, ml_dsa_44=b"\x02" * 32)
INSTANCE = InstanceKey.from_seed(b"\x03" * 32)
TRUST = build_trust(LOG_KEYS, [INSTANCE])


def a_record(number: int, *, at: datetime = NOON, action: Action = Action.POST_APPROVE) -> Record:
    return build(
        record_id=f"record-{number}",
        at=at,
        action=action,
        by={"p": "petra.zorc", "via": "web"},
        on={"t": "post", "id": "88", "rev": 7},
        detail={"note": "Poplava na reki Ljubnici: številka za nujne klice"},
        result="ok",
    )


def sealed(numbers: Iterable[int], *, signer: InstanceKey = INSTANCE) -> list[bytes]:
    records = [a_record(number) for number in numbers]
    return seal_transaction(records, signer, service="web-1", version="0.1.0")


def lines_of(bodies: Sequence[bytes], *, start: int = 0) -> list[bytes]:
    return [
        seal_line(parse_record(body), seq=seq, sealed_at=NOON + timedelta(seconds=seq))
        for seq, body in enumerate(bodies, start)
    ]


def a_log(*sizes: int) -> list[bytes]:
    """The lines of transactions of these sizes, one after the other."""
    bodies: list[bytes] = []
    for size in sizes:
        bodies += sealed(range(len(bodies), len(bodies) + size))
    return lines_of(bodies)


def a_checkpoint(lines: Iterable[bytes], *, keys: LogKeys = LOG_KEYS) -> bytes:
    hashes = [leaf_hash(line) for line in lines]
    return keys.sign_checkpoint(size=len(hashes), root=root_of(hashes), at=NOON)


def an_export(
    lines: Sequence[bytes],
    *,
    stored: Sequence[bytes] | None = None,
    checkpoint: bytes | None = None,
    trust: Trust = TRUST,
) -> dict[str, bytes]:
    """An export's files; `stored` are the lines whose hashes were kept, when they are others."""
    kept = [leaf_hash(line) for line in (lines if stored is None else stored)]
    leaves = [Leaf(line=line, hash=kept[seq]) for seq, line in enumerate(lines)]
    request = ExportRequest(requested_by="auditor", reason="yearly review", at=NOON)
    note = a_checkpoint(lines if stored is None else stored) if checkpoint is None else checkpoint
    files: dict[str, bytes] = {}
    for name, data in write_export(leaves, checkpoint=note, trust=trust, request=request):
        files[name] = files.get(name, b"") + data
    return files


def opener(files: Mapping[str, bytes]) -> OpenFile:
    def open_file(name: str) -> BinaryIO:
        if name not in files:
            raise FileNotFoundError(2, "No such file", name)
        return BytesIO(files[name])

    return open_file


def changed(body: bytes, path: str, value: object) -> bytes:
    """The canonical bytes of `body` with the member at `path` replaced; ... removes it."""
    document: dict[str, Any] = json.loads(body)
    place = document
    *parents, name = path.split(".")
    for parent in parents:
        place = place[parent]
    if value is ...:
        del place[name]
    else:
        place[name] = value
    return canonical(document)


def verify(files: dict[str, bytes], trusted: Trust | None = TRUST) -> Report:
    return verify_export(opener(files), trusted=trusted)


def codes(report: Report) -> set[FindingCode]:
    return {finding.code for finding in report.findings}


def seqs(report: Report, code: FindingCode) -> list[int | None]:
    return [finding.seq for finding in report.findings if finding.code is code]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 2]) + data[at + 1 :]
