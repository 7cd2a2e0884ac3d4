"""Exports, and the verifier that judges them without us."""

import json

import pytest

from scheduler.audit.actions import Action
from scheduler.audit.keys import LogKeys
from scheduler.audit.notes import Note
from scheduler.audit.record import build, seal_transaction
from scheduler.audit.transactions import Fault
from scheduler.audit.tree import leaf_hash, root_of
from scheduler.audit.verify import FindingCode
from scheduler.canonical import canonical, sha256_hex
from tests.support.audit_log import (
    INSTANCE,
    LOG_KEYS,
    NOON,
    ORIGIN,
    TRUST,
    a_checkpoint,
    a_log,
    an_export,
    codes,
    flipped,
    lines_of,
    sealed,
    seqs,
    verify,
)

LOG = a_log(1, 3, 1, 2, 1, 4)  # twelve records in six transactions
FILES = an_export(LOG)
STRANGERS = LogKeys.from_seeds(origin=ORIGIN, ed25519=b"\x08" * 32, ml_dsa_44=b"\x09" * 32)
C = FindingCode


def with_lines(lines: list[bytes]) -> dict[str, bytes]:
    return {**FILES, "entries.jsonl": b"".join(line + b"\n" for line in lines)}


# What an export is


def test_an_export_has_the_leaves_their_hashes_and_what_proves_them() -> None:
    assert set(FILES) == {"entries.jsonl", "leaves.bin", "checkpoint", "trust", "manifest.json"}
    assert FILES["entries.jsonl"] == b"".join(line + b"\n" for line in LOG)
    assert FILES["leaves.bin"] == b"".join(leaf_hash(line) for line in LOG)
    assert Note.parse(FILES["checkpoint"]).verify(TRUST.log) == LOG_KEYS.verifier_keys()
    assert FILES["trust"] == TRUST.encode()


def test_the_manifest_says_who_asked_and_measures_every_other_file() -> None:
    others = {name: data for name, data in FILES.items() if name != "manifest.json"}
    assert json.loads(FILES["manifest.json"]) == {
        "format": "chancery/export/v1",
        "at": "2026-11-23T12:00:00.000000Z",
        "by": "auditor",
        "reason": "yearly review",
        "records": 12,
        "files": {
            name: {"size": len(data), "sha256": sha256_hex(data)} for name, data in others.items()
        },
    }


@pytest.mark.parametrize("size", [0, 1, 2, 7])
def test_a_sound_export_verifies(size: int) -> None:
    lines = a_log(*[1] * size)
    report = verify(an_export(lines))
    assert report.findings == ()
    assert report.ok
    assert report.keys_given
    assert report.records == report.size == size
    assert report.root == root_of(leaf_hash(line) for line in lines)
    assert report.first_bad is None


def test_without_trusted_keys_the_report_says_that_the_export_brought_its_own() -> None:
    report = verify(FILES, None)
    assert report.ok
    assert not report.keys_given


def test_a_report_is_json() -> None:
    lines = list(LOG)
    lines[4] = flipped(lines[4], 30)
    report = verify(with_lines(lines))
    value = report.as_json()
    canonical(value)
    assert {key: value[key] for key in ("ok", "keys_given", "records", "size", "first_bad")} == {
        "ok": False,
        "keys_given": True,
        "records": 12,
        "size": 12,
        "first_bad": 4,
    }
    assert value["root"] == report.root.hex()
    assert value["findings"] == [
        {"seq": item.seq, "code": item.code.value, "message": item.message}
        for item in report.findings
    ]


def test_scripts_may_rely_on_the_codes() -> None:
    assert {code.name.lower() for code in FindingCode} == {code.value for code in FindingCode}
    assert {fault.value for fault in Fault} <= {code.value for code in FindingCode}


# Changed records are named


def test_every_changed_byte_is_found_and_its_record_is_named() -> None:
    log = LOG[:4]
    files = an_export(log)
    for seq, line in enumerate(log):
        for at in range(len(line)):
            lines = [*log[:seq], flipped(line, at), *log[seq + 1 :]]
            entries = b"".join(entry + b"\n" for entry in lines)
            report = verify({**files, "entries.jsonl": entries})
            assert report.first_bad == seq
            assert seqs(report, C.RECORD_CHANGED) == [seq]
            assert {C.ROOT_WRONG, C.FILE_CHANGED, C.RECORD_CHANGED} <= codes(report)


def test_the_proven_hash_is_called_signed() -> None:
    lines = list(LOG)
    lines[5] = lines[5].replace(b"petra.zorc", b"tina.hocev")
    (finding,) = [f for f in verify(with_lines(lines)).findings if f.code is C.RECORD_CHANGED]
    assert finding.message == "record 5 does not have the hash that was signed"


def test_when_the_stored_hash_was_changed_too_the_transaction_names_the_records() -> None:
    changed = list(LOG)
    changed[5] = changed[5].replace(b"petra.zorc", b"tina.hocev")
    report = verify(an_export(changed, checkpoint=a_checkpoint(LOG)))
    assert codes(report) == {C.ROOT_WRONG, C.TRANSACTION_SIGNATURE}
    assert seqs(report, C.TRANSACTION_SIGNATURE) == [6]
    assert report.first_bad == 6  # the last of the transaction of records 5 and 6


def test_a_log_rewritten_by_whoever_has_its_keys_still_lacks_the_instance() -> None:
    changed = list(LOG)
    changed[7] = changed[7].replace(b"petra.zorc", b"tina.hocev")
    report = verify(an_export(changed))
    assert codes(report) == {C.TRANSACTION_SIGNATURE}
    assert report.first_bad == 7


def test_when_neither_hash_is_proven_the_report_says_so() -> None:
    changed = list(LOG)
    changed[2] = changed[2].replace(b"petra.zorc", b"tina.hocev")
    files = an_export(changed, stored=LOG, checkpoint=a_checkpoint(LOG[:11] + LOG[10:11]))
    (finding,) = [f for f in verify(files).findings if f.code is C.RECORD_CHANGED]
    assert finding.seq == 2
    assert "not what was signed either" in finding.message


def test_without_a_valid_checkpoint_the_difference_is_still_reported() -> None:
    changed = list(LOG)
    changed[2] = changed[2].replace(b"petra.zorc", b"tina.hocev")
    files = {**an_export(changed, stored=LOG), "checkpoint": b"nothing\n"}
    report = verify(files)
    assert report.size is None
    assert seqs(report, C.RECORD_CHANGED) == [2]
    assert C.CHECKPOINT_MALFORMED in codes(report)
    assert C.ROOT_WRONG not in codes(report)


def test_a_changed_hash_of_an_unchanged_record_blames_the_hash() -> None:
    files = {**FILES, "leaves.bin": flipped(FILES["leaves.bin"], 3 * 32)}
    report = verify(files)
    assert codes(report) == {C.LEAVES_CHANGED, C.FILE_CHANGED}
    assert report.first_bad is None
    assert "record 3, which is itself unchanged" in report.findings[0].message


# Missing, added and moved records


def test_a_missing_record_is_named_by_its_place() -> None:
    for seq in range(12):
        lines = [*LOG[:seq], *LOG[seq + 1 :]]
        report = verify(with_lines(lines))
        assert report.first_bad == seq
        assert {C.SIZE_WRONG, C.ROOT_WRONG, C.LEAVES_CHANGED} <= codes(report)
        assert (C.SEQUENCE_WRONG in codes(report)) is (seq < 11)
        assert report.records == 11
        assert report.size == 12


def test_an_added_record_is_named_by_its_place() -> None:
    added = lines_of(sealed([99]), start=12)
    report = verify(with_lines([*LOG, *added]))
    assert report.first_bad == 12
    assert seqs(report, C.SIZE_WRONG) == [12, None]
    assert C.LEAVES_CHANGED in codes(report)


def test_moved_records_are_named() -> None:
    lines = list(LOG)
    lines[8], lines[7] = lines[7], lines[8]
    report = verify(with_lines(lines))
    assert seqs(report, C.SEQUENCE_WRONG) == [7, 8]
    assert seqs(report, C.TIME_REVERSED) == [8]
    assert report.first_bad == 7


def test_a_lost_line_end_is_found() -> None:
    report = verify({**FILES, "entries.jsonl": FILES["entries.jsonl"][:-1]})
    assert seqs(report, C.RECORD_MALFORMED) == [11]
    assert codes(report) == {C.RECORD_MALFORMED, C.FILE_CHANGED, C.TRANSACTION_INCOMPLETE}
    assert report.first_bad == 11


def test_an_endless_line_is_read_in_pieces_and_refused() -> None:
    report = verify({**FILES, "entries.jsonl": b"x" * 300_000})
    assert report.records == 5
    assert seqs(report, C.RECORD_MALFORMED) == [0, 1, 2, 3, 4]


def test_the_longest_line_is_read_whole() -> None:
    def body(padding: int) -> bytes:
        record = build(
            record_id="record-0",
            at=NOON,
            action=Action.POST_EDIT,
            by={},
            on={"t": "post", "id": "88"},
            detail={"x": "x" * padding},
            result="ok",
        )
        return seal_transaction([record], INSTANCE, service="web", version="1")[0]

    padding = 65_535 - len(lines_of([body(0)])[0])
    with pytest.raises(ValueError, match="at most"):
        body(padding)
    longest = lines_of([body(padding - 15)])  # a larger number has 15 digits more
    assert len(longest[0]) == 65_520
    assert verify(an_export(longest)).ok
