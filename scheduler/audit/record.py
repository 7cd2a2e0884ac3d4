"""Records: what a business transaction writes, how it is sealed, and the line the log keeps of it.

One record is canonical JSON: `v` 1, `id`, `t` (when), `act`, `res`, `by` (who), `on` (what), `d` (detail), `svc` (which
process, with the key it signs with) and `tx` (its place in the transaction). There is one signature a transaction: the
last record's `tx` has `n`, the number of records, and `sig`, an Ed25519 signature over a label and the SHA-256 of each
record's bytes in order, the last one's without `sig`. A line is `{"rec":…,"seq":…,"st":…}`; its stored bytes are the
leaf of the tree and are never made again from parsed values.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from scheduler.audit.actions import Action
from scheduler.audit.keys import InstanceKey
from scheduler.audit.parsing import (
    MalformedError,
    Members,
    decode_base64,
    encode_base64,
    parse_canonical,
)
from scheduler.canonical import JsonObject, canonical
from scheduler.clock import from_iso, iso

#: Entry bundles of transparency logs have room for 65,535 bytes a leaf (https://c2sp.org/tlog-tiles).
MAX_LINE_SIZE: Final = 65_535
#: A record of this size fits into a line with any sequence number.
MAX_RECORD_SIZE: Final = MAX_LINE_SIZE - len(
    b'{"rec":,"seq":9007199254740991,"st":"2026-11-23T10:00:00.000000Z"}'
)

TRANSACTION_LABEL: Final = b"chancery/tx/v1\0"
_SIGNATURE_PREFIX: Final = "ed25519:"

Result = Literal["ok", "denied"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record whose transaction is still open; made by `build`."""

    members: JsonObject

    @property
    def subject(self) -> tuple[str, str]:
        """Kind and id of what the record is about."""
        on: Any = self.members["on"]
        return on["t"], on["id"]

    @property
    def detail(self) -> JsonObject:
        detail: Any = self.members["d"]
        return detail  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A record's place in its transaction; `count` and `signature` stand in the last record only."""

    id: str
    index: int
    count: int | None
    signature: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRecord:
    """A record as read back from its bytes; reading checks the form, not the signature."""

    id: str
    at: datetime
    action: Action
    result: str
    by: JsonObject
    on: JsonObject
    detail: JsonObject
    key_id: str  #: of the instance that signed
    transaction: Transaction
    signed_hash: bytes  #: SHA-256 of the bytes without the signature
    body: bytes  #: its own bytes, which stand in the line

    @property
    def subject(self) -> str:
        """What the record is about, such as `post:0193…`."""
        return f"{self.on['t']}:{self.on['id']}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    seq: int
    sealed_at: datetime
    record: SignedRecord


def build(  # noqa: PLR0913 - one for each member of a record
    *,
    record_id: str,
    at: datetime,
    action: Action,
    by: JsonObject,
    on: JsonObject,
    detail: JsonObject,
    result: Result,
) -> Record:
    """Make a record of one change; `on` names its `t` (kind) and `id`.

    Raises:
        ValueError: a value that has no canonical form, here where it was made and not at the commit.
    """
    if not all(isinstance(on.get(key), str) and on[key] for key in ("t", "id")):
        raise ValueError("a record says what it is on: `t` and `id`")
    members: JsonObject = {
        "v": 1,
        "id": record_id,
        "t": iso(at),
        "act": action.value,
        "res": result,
        "by": by,
        "on": on,
        "d": detail,
    }
    canonical({"rec": members})  # as deep as it will stand in the line
    return Record(members=members)


def add_rows(record: Record, rows: JsonObject) -> Record:
    """Put into the detail which rows the change was made in: the digests before and after, by the row's name."""
    return Record(members={**record.members, "d": {**record.detail, "rows": rows}})


def seal_transaction(
    records: Sequence[Record], signer: InstanceKey, *, service: str, version: str
) -> list[bytes]:
    """Sign the records of one transaction and return their bytes in order; its id is that of the first.

    Raises:
        ValueError: no record, or one too large for a line of the log.
    """
    if not records:
        raise ValueError("a transaction has at least one record")
    process = {"i": service, "k": signer.key_id, "ver": version}
    places: list[dict[str, str | int]] = [
        {"id": str(records[0].members["id"]), "i": index} for index in range(len(records))
    ]
    places[-1]["n"] = len(records)
    bodies = [_place(record, process, place) for record, place in zip(records, places, strict=True)]
    hashes = [hashlib.sha256(body).digest() for body in bodies]
    signature = signer.sign(transaction_message(hashes))
    places[-1]["sig"] = _SIGNATURE_PREFIX + encode_base64(signature)
    bodies[-1] = _place(records[-1], process, places[-1])
    if max(map(len, bodies)) > MAX_RECORD_SIZE:
        raise ValueError(f"a record has at most {MAX_RECORD_SIZE} bytes; name large things by hash")
    return bodies


def transaction_message(hashes: Sequence[bytes]) -> bytes:
    """What the instance signs: the label and each record's hash, in order."""
    return TRANSACTION_LABEL + b"".join(hashes)


def parse_record(body: bytes) -> SignedRecord:
    """Read a record's bytes.

    Raises:
        MalformedError: not exactly a record of this version.
    """
    return _read_record(parse_canonical(body), body)


def seal_line(record: SignedRecord, *, seq: int, sealed_at: datetime) -> bytes:
    """The line that the tree commits to, around the record's own bytes.

    Raises:
        ValueError: over 65,535 bytes.
    """
    line = b'{"rec":%b,"seq":%d,"st":"%b"}' % (record.body, seq, iso(sealed_at).encode())
    if len(line) > MAX_LINE_SIZE:
        raise ValueError(f"a line of the log has at most {MAX_LINE_SIZE} bytes")
    return line


def parse_line(line: bytes) -> Line:
    """Read a line of the log.

    Raises:
        MalformedError: not exactly a line, in canonical bytes.
    """
    if len(line) > MAX_LINE_SIZE:
        raise MalformedError(f"a line of the log has at most {MAX_LINE_SIZE} bytes")
    members = Members(parse_canonical(line), "line")
    record = members.mapping("rec")
    parsed = Line(
        seq=members.integer("seq"),
        sealed_at=_read_time(members, "st"),
        record=_read_record(record, canonical(record)),
    )
    members.close()
    return parsed


def _place(record: Record, process: JsonObject, place: JsonObject) -> bytes:
    return canonical({**record.members, "svc": process, "tx": place})


def _read_record(value: JsonObject, body: bytes) -> SignedRecord:
    members = Members(value, "record")
    if members.integer("v") != 1:
        raise MalformedError("record.v is not 1")
    on = members.mapping("on")
    _read_subject(on)
    service = members.members("svc")
    service.text("i")
    service.text("ver")
    record = SignedRecord(
        id=members.text("id"),
        at=_read_time(members, "t"),
        action=_read_action(members.text("act")),
        result=_read_result(members.text("res")),
        by=members.mapping("by"),
        on=on,
        detail=members.mapping("d"),
        key_id=service.text("k"),
        transaction=_read_transaction(members.members("tx")),
        signed_hash=_signed_hash(value, body),
        body=body,
    )
    service.close()
    members.close()
    return record


def _signed_hash(record: JsonObject, body: bytes) -> bytes:
    place = record["tx"]
    if isinstance(place, dict) and "sig" in place:
        unsigned = {key: value for key, value in place.items() if key != "sig"}
        body = canonical({**record, "tx": unsigned})
    return hashlib.sha256(body).digest()


def _read_transaction(members: Members) -> Transaction:
    transaction_id, index = members.text("id"), members.integer("i")
    count, signature = None, None
    if "n" in members:
        count = members.integer("n")
        signature = _read_signature(members.text("sig"))
        if count != index + 1:
            raise MalformedError("record.tx.n stands in another record than the last")
    members.close()
    return Transaction(id=transaction_id, index=index, count=count, signature=signature)


def _read_signature(text: str) -> bytes:
    if not text.startswith(_SIGNATURE_PREFIX):
        raise MalformedError("record.tx.sig is not an Ed25519 signature")
    return decode_base64(text.removeprefix(_SIGNATURE_PREFIX))


def _read_time(members: Members, key: str) -> datetime:
    text = members.text(key)
    try:
        moment = from_iso(text)
    except ValueError as exc:
        raise MalformedError(f"{text[:40]!r} is not a time") from exc
    if iso(moment) != text:
        raise MalformedError(f"{text[:40]!r} is not written as times are")
    return moment


def _read_action(text: str) -> Action:
    try:
        return Action(text)
    except ValueError as exc:
        raise MalformedError(f"{text[:64]!r} is no action this version knows") from exc


def _read_result(text: str) -> str:
    if text not in {"ok", "denied"}:
        raise MalformedError(f"{text[:32]!r} is no result")
    return text


def _read_subject(on: JsonObject) -> None:
    members = Members(on, "record.on")
    if not members.text("t") or not members.text("id"):
        raise MalformedError("record.on is empty")
