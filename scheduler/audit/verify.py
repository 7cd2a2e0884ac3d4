"""Check an export without us: from its files and the keys that the auditor keeps.

A changed byte of an entry is named by the record it is in: the hashes in `leaves.bin` make the root that was signed, so
the entry with another hash is the changed one. If somebody changed both files alike, the signature of the transaction
still names the records it covered. What was sealed twice is found by its id, within an hour of the records' own time;
a record older than that against one in front of it is itself a finding.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from io import BytesIO
from typing import BinaryIO, Final

from scheduler.audit.checkpoint import Checkpoint
from scheduler.audit.export import CHECKPOINT, ENTRIES, LEAVES, MANIFEST, TRUST, Manifest, Measure
from scheduler.audit.keys import Trust
from scheduler.audit.notes import MAX_NOTE_SIZE, Note, SignatureRejectedError
from scheduler.audit.parsing import MalformedError
from scheduler.audit.record import MAX_LINE_SIZE, Line, SignedRecord, parse_line
from scheduler.audit.transactions import Fault, TransactionCheck
from scheduler.audit.tree import HASH_SIZE, Frontier, leaf_hash
from scheduler.canonical import JsonObject

MAX_FINDINGS_PER_CODE: Final = 20
#: How far the records' own times may go back; transactions are sealed in the order they ended, not began.
DISORDER: Final = timedelta(hours=1)

#: Opens one file of the export by name; raises OSError when it is not there.
OpenFile = Callable[[str], BinaryIO]


class FindingCode(StrEnum):
    """What can be wrong with an export; scripts may rely on the names."""

    FILE_MISSING = "file_missing"
    FILE_CHANGED = "file_changed"
    MANIFEST_MALFORMED = "manifest_malformed"
    TRUST_MALFORMED = "trust_malformed"
    CHECKPOINT_MALFORMED = "checkpoint_malformed"
    CHECKPOINT_SIGNATURE = "checkpoint_signature"
    SIZE_WRONG = "size_wrong"
    ROOT_WRONG = "root_wrong"
    LEAVES_CHANGED = "leaves_changed"
    RECORD_CHANGED = "record_changed"
    RECORD_MALFORMED = "record_malformed"
    RECORD_REPEATED = "record_repeated"
    SEQUENCE_WRONG = "sequence_wrong"
    TIME_REVERSED = "time_reversed"
    TRANSACTION_OUT_OF_ORDER = "transaction_out_of_order"
    TRANSACTION_INCOMPLETE = "transaction_incomplete"
    TRANSACTION_SIGNATURE = "transaction_signature"
    INSTANCE_UNKNOWN = "instance_unknown"


#: A finding of these is about the one record it names; the others may only follow from another record.
_EXACT: Final = frozenset(
    {
        FindingCode.RECORD_CHANGED,
        FindingCode.RECORD_MALFORMED,
        FindingCode.RECORD_REPEATED,
        FindingCode.SIZE_WRONG,
        FindingCode.SEQUENCE_WRONG,
        FindingCode.TIME_REVERSED,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong; `seq` is the record's place in the log, None when it is about a file."""

    seq: int | None
    code: FindingCode
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The verdict; at most 20 findings a code are listed.

    With `keys_given` False the keys came with the export, and `ok` only says that the export agrees with itself.
    """

    ok: bool
    keys_given: bool
    records: int
    size: int | None  #: as signed; None without a valid checkpoint
    root: bytes  #: of the entries that are in the export
    findings: tuple[Finding, ...]

    @property
    def first_bad(self) -> int | None:
        """The first record that is itself wrong or, when none can be named so exactly, the first in doubt."""
        exact = [f.seq for f in self.findings if f.seq is not None and f.code in _EXACT]
        doubt = [f.seq for f in self.findings if f.seq is not None]
        return min(exact or doubt, default=None)

    def as_json(self) -> JsonObject:
        return {
            "ok": self.ok,
            "keys_given": self.keys_given,
            "records": self.records,
            "size": self.size,
            "root": self.root.hex(),
            "first_bad": self.first_bad,
            "findings": [
                {"seq": f.seq, "code": f.code.value, "message": f.message} for f in self.findings
            ],
        }


def verify_export(open_file: OpenFile, *, trusted: Trust | None) -> Report:
    """Check everything an export promises, streaming; the first bad record is named.

    Without `trusted` the export's own keys are used, which shows no more than that it agrees with itself.
    """
    return _Verification(open_file).run(trusted)


@dataclass(slots=True)
class _Recent:
    """The ids of the last hour of records, by their own time."""

    newest: datetime | None = None
    ids: set[str] = field(default_factory=set)
    order: deque[tuple[datetime, str]] = field(default_factory=deque)

    def add(self, record: SignedRecord) -> FindingCode | None:
        if record.id in self.ids:
            return FindingCode.RECORD_REPEATED
        self.ids.add(record.id)
        self.order.append((record.at, record.id))
        self.newest = max(self.newest or record.at, record.at)
        while self.newest - self.order[0][0] > DISORDER:
            self.ids.remove(self.order.popleft()[1])
        return FindingCode.TIME_REVERSED if self.newest - record.at > DISORDER else None


@dataclass(slots=True)
class _Entries:
    """What streaming the entries and the stored leaf hashes has shown."""

    check: TransactionCheck
    recent: _Recent = field(default_factory=_Recent)
    computed: Frontier = field(default_factory=Frontier)
    stored: Frontier = field(default_factory=Frontier)
    differing: list[int] = field(default_factory=list)
    last_sealed_at: datetime | None = None


class _Verification:
    def __init__(self, open_file: OpenFile) -> None:
        self._open_file = open_file
        self._findings: list[Finding] = []
        self._count: Counter[FindingCode] = Counter()
        self._measures = {name: Measure.start() for name in (ENTRIES, LEAVES, CHECKPOINT, TRUST)}

    def run(self, trusted: Trust | None) -> Report:
        trust = self._read_trust(trusted)
        checkpoint = self._read_checkpoint(trust)
        seen = _Entries(TransactionCheck(trust.instances))
        with self._open(ENTRIES) as entries, self._open(LEAVES) as leaves:
            self._read_entries(seen, entries, leaves)
            self._read_rest_of_leaves(seen, leaves)
        self._compare(seen, checkpoint)
        self._compare_manifest(seen)
        return Report(
            ok=not self._findings,
            keys_given=trusted is not None,
            records=seen.computed.size,
            size=None if checkpoint is None else checkpoint.size,
            root=seen.computed.root(),
            findings=tuple(self._findings),
        )

    def _find(self, code: FindingCode, message: str, *, seq: int | None = None) -> None:
        self._count[code] += 1
        if self._count[code] <= MAX_FINDINGS_PER_CODE:
            self._findings.append(Finding(seq=seq, code=code, message=message))

    def _open(self, name: str) -> BinaryIO:
        """A file that is not there is a finding, and reads as empty."""
        try:
            return self._open_file(name)
        except OSError as exc:
            self._find(FindingCode.FILE_MISSING, f"{name} cannot be read: {exc.strerror}")
            return BytesIO()

    def _read_small(self, name: str) -> bytes:
        with self._open(name) as file:
            data = file.read(MAX_NOTE_SIZE + 1)
        if name in self._measures:
            self._measures[name].add(data)
        return data

    def _read_trust(self, trusted: Trust | None) -> Trust:
        data = self._read_small(TRUST)
        if trusted is not None:
            return trusted
        try:
            return Trust.parse(data)
        except MalformedError as exc:
            self._find(FindingCode.TRUST_MALFORMED, str(exc))
            return Trust(log=(), instances=())

    def _read_checkpoint(self, trust: Trust) -> Checkpoint | None:
        try:
            note = Note.parse(self._read_small(CHECKPOINT))
            checkpoint = Checkpoint.parse(note.text)
            keys = [key for key in trust.log if key.name == checkpoint.origin]
            signers = note.verify(keys)
        except MalformedError as exc:
            self._find(FindingCode.CHECKPOINT_MALFORMED, str(exc))
            return None
        except SignatureRejectedError as exc:
            self._find(FindingCode.CHECKPOINT_SIGNATURE, str(exc))
            return None
        for missing in sorted({key.type for key in keys} - {key.type for key in signers}):
            self._find(FindingCode.CHECKPOINT_SIGNATURE, f"no {missing.name} signature")
        return checkpoint

    def _read_entries(self, seen: _Entries, entries: BinaryIO, leaves: BinaryIO) -> None:
        while data := entries.readline(MAX_LINE_SIZE + 1):
            self._measures[ENTRIES].add(data)
            seq, line = seen.computed.size, data.removesuffix(b"\n")
            self._compare_leaf(seen, leaf_hash(line), leaves)
            try:
                self._check_line(seen, seq, _parse_entry(data))
            except MalformedError as exc:
                self._find(FindingCode.RECORD_MALFORMED, f"record {seq}: {exc}", seq=seq)
        for seq in seen.check.unfinished():
            message = "the end of the transaction that begins here is missing"
            self._find(FindingCode.TRANSACTION_INCOMPLETE, message, seq=seq)

    def _compare_leaf(self, seen: _Entries, computed: bytes, leaves: BinaryIO) -> None:
        stored = leaves.read(HASH_SIZE)
        self._measures[LEAVES].add(stored)
        if len(stored) == HASH_SIZE:
            seen.stored = seen.stored.append(stored)
            if stored != computed and len(seen.differing) < MAX_FINDINGS_PER_CODE:
                seen.differing.append(seen.computed.size)
        seen.computed = seen.computed.append(computed)

    def _check_line(self, seen: _Entries, seq: int, line: Line) -> None:
        if line.seq != seq:
            message = f"in the place of record {seq} is record {line.seq}"
            self._find(FindingCode.SEQUENCE_WRONG, message, seq=seq)
        if seen.last_sealed_at is not None and line.sealed_at < seen.last_sealed_at:
            message = f"record {seq} was sealed before the one in front of it"
            self._find(FindingCode.TIME_REVERSED, message, seq=seq)
        seen.last_sealed_at = line.sealed_at
        misplaced = seen.recent.add(line.record)
        if misplaced is not None:
            message = f"record {seq} repeats or comes long after a newer one: {line.record.id}"
            self._find(misplaced, message, seq=seq)
        fault = seen.check.feed(seq, line.record)
        if fault is not None:
            message = f"transaction {line.record.transaction.id}: {_FAULTS[fault]}"
            self._find(FindingCode(fault), message, seq=seq)

    def _read_rest_of_leaves(self, seen: _Entries, leaves: BinaryIO) -> None:
        """Hashes of entries that are missing still count for the root that proves the others."""
        while stored := leaves.read(HASH_SIZE):
            self._measures[LEAVES].add(stored)
            if len(stored) == HASH_SIZE:
                seen.stored = seen.stored.append(stored)
        if self._measures[LEAVES].size != seen.computed.size * HASH_SIZE:
            message = f"{LEAVES} has {self._measures[LEAVES].size} bytes for {seen.computed.size}"
            self._find(FindingCode.LEAVES_CHANGED, f"{message} entries")

    def _compare(self, seen: _Entries, checkpoint: Checkpoint | None) -> None:
        if checkpoint is None:
            self._name_differing(seen, "kept beside it, and no signature tells which is right")
            return
        if seen.computed.size != checkpoint.size:
            message = f"{seen.computed.size} records, but the checkpoint is of {checkpoint.size}"
            first = min(seen.computed.size, checkpoint.size)
            self._find(FindingCode.SIZE_WRONG, message, seq=first)
        if seen.computed.root() == checkpoint.root:
            for seq in seen.differing:
                message = f"{LEAVES} is wrong for record {seq}, which is itself unchanged"
                self._find(FindingCode.LEAVES_CHANGED, message)
            return
        self._find(FindingCode.ROOT_WRONG, "the entries do not make the root that was signed")
        if seen.stored.root() == checkpoint.root:
            self._name_differing(seen, "signed")
        else:
            self._name_differing(seen, f"kept in {LEAVES}, which is not what was signed either")

    def _name_differing(self, seen: _Entries, which: str) -> None:
        for seq in seen.differing:
            message = f"record {seq} does not have the hash that was {which}"
            self._find(FindingCode.RECORD_CHANGED, message, seq=seq)

    def _compare_manifest(self, seen: _Entries) -> None:
        try:
            manifest = Manifest.parse(self._read_small(MANIFEST))
        except MalformedError as exc:
            self._find(FindingCode.MANIFEST_MALFORMED, str(exc))
            return
        if manifest.records != seen.computed.size:
            message = f"the manifest counts {manifest.records} records"
            self._find(FindingCode.SIZE_WRONG, message)
        if set(manifest.files) != set(self._measures):
            self._find(FindingCode.MANIFEST_MALFORMED, "the manifest names other files")
        for name, measure in self._measures.items():
            if manifest.files.get(name, measure.facts()) != measure.facts():
                self._find(FindingCode.FILE_CHANGED, f"{name} is not the file in the manifest")


def _parse_entry(data: bytes) -> Line:
    if not data.endswith(b"\n"):
        raise MalformedError("the line does not end where it should")
    return parse_line(data[:-1])


_FAULTS: Final = {
    Fault.OUT_OF_ORDER: "a record of it is missing, repeated or moved",
    Fault.UNKNOWN_INSTANCE: "signed by an instance that is not trusted",
    Fault.SIGNATURE: "its records are not those that were signed",
}
