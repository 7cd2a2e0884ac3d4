"""The files of an export: the log as it is kept, and all that is needed to check it without us.

entries.jsonl  the exact bytes of the leaves, one a line
leaves.bin     32 bytes a leaf: the hashes the log itself kept, from which a changed entry is told by name
checkpoint     the signed note over size and root
trust          the public keys; an auditor compares them with the ones they keep
manifest.json  what was asked by whom, and the size and SHA-256 of every other file
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from scheduler.audit.keys import Trust
from scheduler.audit.parsing import MalformedError, Members, parse_canonical
from scheduler.canonical import JsonObject, canonical
from scheduler.clock import iso

ENTRIES: Final = "entries.jsonl"
LEAVES: Final = "leaves.bin"
CHECKPOINT: Final = "checkpoint"
TRUST: Final = "trust"
MANIFEST: Final = "manifest.json"
FORMAT: Final = "chancery/export/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A line with the leaf hash that was stored beside it when it was sealed."""

    line: bytes
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """Who asked for the export, when and why."""

    requested_by: str
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    size: int
    sha256: str


@dataclass(slots=True)
class Measure:
    """Size and SHA-256 of bytes as they pass."""

    size: int
    _hash: "hashlib._Hash"

    @classmethod
    def start(cls) -> "Measure":
        return cls(0, hashlib.sha256())

    def add(self, data: bytes) -> None:
        self.size += len(data)
        self._hash.update(data)

    def facts(self) -> FileFacts:
        return FileFacts(size=self.size, sha256=self._hash.hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    records: int
    files: dict[str, FileFacts]

    @classmethod
    def parse(cls, data: bytes) -> "Manifest":
        """Read `manifest.json`.

        Raises:
            MalformedError: not a manifest of this version.
        """
        members = Members(parse_canonical(data), "manifest")
        if members.text("format") != FORMAT:
            raise MalformedError("the manifest is of another format")
        for key in ("at", "by", "reason"):
            members.text(key)
        records, files = members.integer("records"), members.mapping("files")
        members.close()
        return cls(records=records, files={name: _parse_facts(files, name) for name in files})


def write_export(
    leaves: Iterable[Leaf], *, checkpoint: bytes, trust: Trust, request: ExportRequest
) -> Iterator[tuple[str, bytes]]:
    """Yield (file name, bytes to append), to be written as they come; the manifest is the last.

    The leaves are those of the checkpoint, all of them in order. Nothing is judged here: a damaged log is exported
    as it is, and the verifier names the damage.
    """
    measures = {name: Measure.start() for name in (ENTRIES, LEAVES, CHECKPOINT, TRUST)}
    yield from ((name, b"") for name in measures)  # an empty log has its files, too
    records = 0
    for leaf in leaves:
        records += 1
        yield from _measured(measures, ENTRIES, leaf.line + b"\n")
        yield from _measured(measures, LEAVES, leaf.hash)
    yield from _measured(measures, CHECKPOINT, checkpoint)
    yield from _measured(measures, TRUST, trust.encode())
    facts = {name: measure.facts() for name, measure in measures.items()}
    manifest: JsonObject = {
        "format": FORMAT,
        "at": iso(request.at),
        "by": request.requested_by,
        "reason": request.reason,
        "records": records,
        "files": {name: {"size": f.size, "sha256": f.sha256} for name, f in facts.items()},
    }
    yield MANIFEST, canonical(manifest)


def _measured(measures: dict[str, Measure], name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    measures[name].add(data)
    yield name, data


def _parse_facts(files: JsonObject, name: str) -> FileFacts:
    members = Members(files[name], f"manifest.files.{name}")
    facts = FileFacts(size=members.integer("size"), sha256=members.text("sha256"))
    members.close()
    return facts
