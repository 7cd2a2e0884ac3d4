"""What the verifier finds beside changed bytes: transactions, time, keys and files."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from scheduler.audit.export import Manifest
from scheduler.audit.keys import InstanceKey, LogKeys, build_trust
from scheduler.audit.notes import Note
from scheduler.audit.parsing import MalformedError
from scheduler.audit.record import parse_record, seal_line, seal_transaction
from scheduler.audit.tree import EMPTY_ROOT
from scheduler.audit.verify import FindingCode
from scheduler.canonical import canonical
from tests.support.audit_log import (
    INSTANCE,
    NOON,
    ORIGIN,
    TRUST,
    a_checkpoint,
    a_log,
    a_record,
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


# Transactions, repetition and time


def test_a_transaction_without_its_end_is_named_by_its_beginning() -> None:
    lines = lines_of([*sealed([0]), *sealed([1, 2, 3])[:2]])
    report = verify(an_export(lines))
    assert codes(report) == {C.TRANSACTION_INCOMPLETE}
    assert seqs(report, C.TRANSACTION_INCOMPLETE) == [1]


def test_a_record_put_into_the_outbox_by_a_stranger_is_named() -> None:
    stranger = InstanceKey.from_seed(b"\x0a" * 32)
    lines = lines_of([*sealed([0]), *sealed([1], signer=stranger), *sealed([2])])
    report = verify(an_export(lines))
    assert codes(report) == {C.INSTANCE_UNKNOWN}
    assert report.first_bad == 1
    widened = replace(TRUST, instances=(*TRUST.instances, stranger.public))
    assert verify(an_export(lines), widened).ok


def test_an_incomplete_middle_is_out_of_order() -> None:
    one, _, three = sealed([1, 2, 3])
    report = verify(an_export(lines_of([one, three])))
    assert codes(report) == {C.TRANSACTION_OUT_OF_ORDER}


def test_a_transaction_sealed_twice_is_found() -> None:
    again = sealed([1, 2])
    report = verify(an_export(lines_of([*again, *sealed([3]), *again])))
    assert seqs(report, C.RECORD_REPEATED) == [3, 4]
    assert codes(report) == {C.RECORD_REPEATED}


def at_minutes(*minutes: int) -> list[bytes]:
    bodies = []
    for number, minute in enumerate(minutes):
        record = a_record(number, at=NOON + timedelta(minutes=minute))
        bodies += seal_transaction([record], INSTANCE, service="web", version="1")
    return lines_of(bodies)


def test_a_record_repeated_after_more_than_an_hour_is_out_of_time() -> None:
    early, late, later = at_minutes(0, 60, 61)
    assert verify(an_export(at_minutes(0, 60, 0))).ok
    report = verify(an_export(at_minutes(0, 61, 0, 61)))
    assert seqs(report, C.TIME_REVERSED) == [2]
    assert report.first_bad == 2
    body = early[len(b'{"rec":') : early.index(b',"seq":')]
    replayed = seal_line(parse_record(body), seq=3, sealed_at=NOON + timedelta(seconds=3))
    report = verify(an_export([early, late, later, replayed]))
    assert seqs(report, C.TIME_REVERSED) == [3]


def test_a_repetition_is_found_at_exactly_an_hour() -> None:
    early, late = at_minutes(0, 60)
    body = early[len(b'{"rec":') : early.index(b',"seq":')]
    replayed = seal_line(parse_record(body), seq=2, sealed_at=NOON + timedelta(seconds=2))
    assert seqs(verify(an_export([early, late, replayed])), C.RECORD_REPEATED) == [2]


def test_a_line_sealed_before_the_one_in_front_of_it_is_named() -> None:
    first, second = sealed([1]), sealed([2])
    lines = [
        seal_line(parse_record(first[0]), seq=0, sealed_at=NOON),
        seal_line(parse_record(second[0]), seq=1, sealed_at=NOON - timedelta(microseconds=1)),
    ]
    report = verify(an_export(lines))
    assert codes(report) == {C.TIME_REVERSED}
    assert report.first_bad == 1
    lines[1] = seal_line(parse_record(second[0]), seq=1, sealed_at=NOON)
    assert verify(an_export(lines)).ok


# The checkpoint and the keys


def test_a_checkpoint_of_other_keys_is_not_believed() -> None:
    files = an_export(LOG, checkpoint=a_checkpoint(LOG, keys=STRANGERS))
    report = verify(files)
    assert codes(report) == {C.CHECKPOINT_SIGNATURE}
    assert report.size is None


def test_an_export_cannot_vouch_for_itself_before_an_auditor() -> None:
    trust = build_trust(STRANGERS, [INSTANCE])
    files = an_export(LOG, checkpoint=a_checkpoint(LOG, keys=STRANGERS), trust=trust)
    assert verify(files, None).ok
    assert not verify(files, TRUST).ok


def test_both_signatures_must_be_there() -> None:
    note = Note.parse(FILES["checkpoint"])
    for kept, missing in ((0, "ML_DSA_44"), (1, "ED25519")):
        one = Note(text=note.text, signatures=(note.signatures[kept],))
        report = verify(an_export(LOG, checkpoint=one.encode()))
        assert [f.message for f in report.findings] == [f"no {missing} signature"]


def test_a_damaged_signature_is_found() -> None:
    note = Note.parse(FILES["checkpoint"])
    for position in (0, 1):
        signatures = list(note.signatures)
        damaged = flipped(signatures[position].signature, 40)
        signatures[position] = replace(signatures[position], signature=damaged)
        damaged_note = Note(text=note.text, signatures=tuple(signatures))
        report = verify(an_export(LOG, checkpoint=damaged_note.encode()))
        assert codes(report) == {C.CHECKPOINT_SIGNATURE}


def test_a_key_of_another_log_does_not_sign_for_this_one() -> None:
    other = LogKeys.from_seeds(origin="elsewhere", ed25519=b"\x01" * 32, ml_dsa_44=b"\x02" * 32)
    note = Note.parse(FILES["checkpoint"])
    key = other.verifier_keys()[0]
    signature = replace(note.signatures[0], name=key.name, key_id=key.key_id)
    assert Note(text=note.text, signatures=(signature,)).verify([key])
    forged = Note(text=note.text, signatures=(signature,)).encode()
    report = verify(an_export(LOG, checkpoint=forged), build_trust(other, [INSTANCE]))
    assert codes(report) == {C.CHECKPOINT_SIGNATURE}


def test_a_checkpoint_with_an_older_root_does_not_fit() -> None:
    report = verify(an_export(LOG, checkpoint=a_checkpoint(LOG[:5])))
    assert {C.SIZE_WRONG, C.ROOT_WRONG} == codes(report)
    assert report.first_bad == 5
    assert (report.records, report.size) == (12, 5)


# The files themselves


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_named_and_the_rest_still_checked(name: str) -> None:
    files = {key: data for key, data in FILES.items() if key != name}
    report = verify(files)
    missing = [f.message for f in report.findings if f.code is C.FILE_MISSING]
    assert missing == [f"{name} cannot be read: No such file"]
    assert report.records == (0 if name == "entries.jsonl" else 12)
    assert (report.size is None) is (name == "checkpoint")
    assert C.RECORD_CHANGED not in codes(report)


def test_an_empty_folder_is_no_sound_export() -> None:
    report = verify({}, None)
    assert not report.ok
    assert report.root == EMPTY_ROOT
    assert {C.FILE_MISSING, C.TRUST_MALFORMED, C.CHECKPOINT_MALFORMED, C.MANIFEST_MALFORMED} == (
        codes(report)
    )


def test_a_damaged_trust_file_is_no_matter_to_an_auditor_with_their_own() -> None:
    files = {**FILES, "trust": b"nothing"}
    assert codes(verify(files)) == {C.FILE_CHANGED}
    assert {C.TRUST_MALFORMED, C.CHECKPOINT_SIGNATURE, C.INSTANCE_UNKNOWN} <= codes(
        verify(files, None)
    )


@pytest.mark.parametrize("name", ["leaves.bin", "checkpoint", "trust", "entries.jsonl"])
def test_a_file_that_is_not_the_one_measured_is_named(name: str) -> None:
    report = verify({**FILES, name: FILES[name] + b"#\n"})
    messages = [f.message for f in report.findings if f.code is C.FILE_CHANGED]
    assert messages == [f"{name} is not the file in the manifest"]


def manifest_with(**members: object) -> dict[str, bytes]:
    value = {**json.loads(FILES["manifest.json"]), **members}
    return {**FILES, "manifest.json": canonical(value)}


def test_a_manifest_that_counts_otherwise_is_found() -> None:
    report = verify(manifest_with(records=11))
    assert [f.message for f in report.findings] == ["the manifest counts 11 records"]


@pytest.mark.parametrize(
    "members",
    [
        {"format": "chancery/export/v2"},
        {"records": "12"},
        {"records": -1},
        {"files": {}},
        {"files": []},
        {"files": {"entries.jsonl": {"size": 1}}},
        {"files": {"entries.jsonl": {"size": 1, "sha256": "", "more": 1}}},
        {"by": 1},
        {"more": 1},
    ],
)
def test_another_form_of_manifest_is_refused(members: dict[str, object]) -> None:
    assert C.MANIFEST_MALFORMED in codes(verify(manifest_with(**members)))


def test_a_manifest_is_read_in_its_canonical_form_only() -> None:
    assert Manifest.parse(FILES["manifest.json"]).records == 12
    with pytest.raises(MalformedError, match="canonical"):
        Manifest.parse(FILES["manifest.json"] + b"\n")


def test_a_ruined_log_gives_a_short_report() -> None:
    lines = [flipped(line, 20) for line in a_log(*[1] * 50)]
    report = verify(an_export(lines, stored=a_log(*[1] * 50)))
    assert report.records == 50
    for code in codes(report):
        assert len(seqs(report, code)) <= 20
    assert seqs(report, C.RECORD_MALFORMED) == list(range(20))
    assert seqs(report, C.RECORD_CHANGED) == list(range(20))
