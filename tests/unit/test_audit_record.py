"""Records, the signature of their transaction, and the lines of the log."""

import base64
import hashlib
import json
from dataclasses import replace
from datetime import timedelta, timezone

import pytest

from scheduler.audit.actions import Action
from scheduler.audit.parsing import MalformedError, Members, decode_base64, parse_canonical
from scheduler.audit.record import (
    MAX_LINE_SIZE,
    MAX_RECORD_SIZE,
    Record,
    build,
    parse_line,
    parse_record,
    seal_line,
    seal_transaction,
)
from scheduler.canonical import JsonValue, canonical
from scheduler.domain.delivery_flow import DeliveryMove
from scheduler.domain.post_flow import PostMove
from tests.support.audit_log import INSTANCE, NOON, a_record, changed, lines_of, sealed

TIME = "2026-11-23T12:00:00.000000Z"


# Making records


def test_a_record_has_these_members_and_no_others() -> None:
    (body,) = sealed([1])
    record = json.loads(body)
    signature = record["tx"].pop("sig")
    assert record == {
        "v": 1,
        "id": "record-1",
        "t": TIME,
        "act": "post.approve",
        "res": "ok",
        "by": {"p": "petra.zorc", "via": "web"},
        "on": {"t": "post", "id": "88", "rev": 7},
        "d": {"note": "Poplava na reki Ljubnici: številka za nujne klice"},
        "svc": {"i": "web-1", "k": INSTANCE.key_id, "ver": "0.1.0"},
        "tx": {"id": "record-1", "i": 0, "n": 1},
    }
    unsigned = hashlib.sha256(canonical(record)).digest()
    expected = INSTANCE.sign(b"chancery/tx/v1\0" + unsigned)
    assert signature == "ed25519:" + base64.b64encode(expected).decode()


def test_the_last_record_signs_for_the_whole_transaction() -> None:
    bodies = sealed([1, 2, 3])
    records = [json.loads(body) for body in bodies]
    signature = records[2]["tx"].pop("sig")
    assert [record["tx"] for record in records] == [
        {"id": "record-1", "i": 0},
        {"id": "record-1", "i": 1},
        {"id": "record-1", "i": 2, "n": 3},
    ]
    hashes = [hashlib.sha256(canonical(record)).digest() for record in records]
    expected = INSTANCE.sign(b"chancery/tx/v1\0" + b"".join(hashes))
    assert signature == "ed25519:" + base64.b64encode(expected).decode()


def test_times_are_written_in_utc() -> None:
    lipovec = timezone(timedelta(hours=1))
    record = a_record(1, at=NOON.astimezone(lipovec))
    assert record.members["t"] == TIME


def test_a_transaction_without_records_cannot_be_sealed() -> None:
    with pytest.raises(ValueError, match="at least one"):
        seal_transaction([], INSTANCE, service="web", version="0.1.0")


@pytest.mark.parametrize(
    "on", [{}, {"t": "post"}, {"id": "1"}, {"t": "", "id": "1"}, {"t": "post", "id": 1}]
)
def test_a_record_names_what_it_is_on(on: dict[str, JsonValue]) -> None:
    with pytest.raises(ValueError, match="what it is on"):
        build(record_id="1", at=NOON, action=Action.POST_EDIT, by={}, on=on, detail={}, result="ok")


def detailed(detail: JsonValue) -> Record:
    return build(
        record_id="1",
        at=NOON,
        action=Action.POST_EDIT,
        by={},
        on={"t": "post", "id": "1"},
        detail={"x": detail},
        result="denied",
    )


def test_a_value_without_a_canonical_form_is_refused_where_it_is_made() -> None:
    with pytest.raises(ValueError, match="float"):
        detailed(0.5)  # type: ignore[arg-type]  # what it is about


def test_what_is_built_fits_into_a_line_in_depth() -> None:
    value: JsonValue = 1
    for _ in range(13):
        value = [value]
    bodies = seal_transaction([detailed(value)], INSTANCE, service="web", version="0.1.0")
    assert parse_line(lines_of(bodies)[0]).record.result == "denied"
    with pytest.raises(ValueError, match="deeper"):
        detailed([value])


def test_what_is_sealed_fits_into_a_line_with_any_number() -> None:
    overhead = len(seal_transaction([detailed("")], INSTANCE, service="web", version="1")[0])
    largest = detailed("x" * (MAX_RECORD_SIZE - overhead))
    (body,) = seal_transaction([largest], INSTANCE, service="web", version="1")
    assert len(body) == MAX_RECORD_SIZE
    assert (
        len(seal_line(parse_record(body), seq=2**53 - 1, sealed_at=NOON)) == MAX_LINE_SIZE == 65_535
    )
    one_more = detailed("x" * (MAX_RECORD_SIZE - overhead + 1))
    much_more = detailed("x" * MAX_RECORD_SIZE)
    for records in ([one_more], [much_more, a_record(1)]):
        with pytest.raises(ValueError, match="name large things by hash"):
            seal_transaction(records, INSTANCE, service="web", version="1")
    with pytest.raises(ValueError, match="at most 65535"):
        seal_line(replace(parse_record(body), body=body + b"x"), seq=2**53 - 1, sealed_at=NOON)


# Reading them back


def test_a_record_is_read_back_with_its_types() -> None:
    first, last = (parse_record(body) for body in sealed([1, 2]))
    assert (first.id, first.at, first.action, first.result) == (
        "record-1",
        NOON,
        Action.POST_APPROVE,
        "ok",
    )
    assert first.by == {"p": "petra.zorc", "via": "web"}
    assert first.detail["note"]
    assert first.subject == "post:88"
    assert first.key_id == INSTANCE.key_id
    assert (first.transaction.id, first.transaction.index) == ("record-1", 0)
    assert (first.transaction.count, first.transaction.signature) == (None, None)
    assert (last.transaction.index, last.transaction.count) == (1, 2)
    assert last.transaction.signature is not None
    assert len(last.transaction.signature) == 64


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("v", 2),
        ("v", True),
        ("v", "1"),
        ("v", ...),
        ("more", 1),
        ("id", 1),
        ("t", "2026-11-23T12:00:00Z"),
        ("t", "2026-11-23T13:00:00.000000+01:00"),
        ("t", "2026-11-23T12:00:00.000000"),
        ("t", "noon"),
        ("act", "post.applaud"),
        ("res", "maybe"),
        ("by", []),
        ("on", "post:88"),
        ("on", {"t": "post"}),
        ("on", {"t": "", "id": "1"}),
        ("on", {"t": "post", "id": ""}),
        ("d", None),
        ("svc", {}),
        ("svc.i", ...),
        ("svc.k", 1),
        ("svc.ver", None),
        ("svc.more", 1),
        ("tx", ...),
        ("tx", 1),
        ("tx.i", -1),
        ("tx.i", 1),
        ("tx.id", ...),
        ("tx.n", ...),
        ("tx.n", 2),
        ("tx.n", 0),
        ("tx.sig", ...),
        ("tx.sig", "ed448:AAAA"),
        ("tx.sig", "ed25519:AAA"),
        ("tx.more", 1),
    ],
)
def test_a_record_of_another_form_is_refused(path: str, value: object) -> None:
    (body,) = sealed([1])
    with pytest.raises(MalformedError, match=r"\w"):
        parse_record(changed(body, path, value))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b'{"a":1,"a":1}',
        b'{"b":1,"a":1}',
        b'{"a": 1}',
        b'{"a":1}\n',
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":NaN}',
        b'{"a":-0}',
        b'{"a":"\\u010d"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\u0000"}',
        b'{"a":"\xff"}',
        b'{"a":9007199254740992}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' + b"1" * 5000 + b"}",
    ],
)
def test_json_that_reads_in_two_ways_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedError, match="JSON"):
        parse_canonical(data)


def test_base64_has_one_spelling() -> None:
    assert decode_base64("AAE=") == b"\x00\x01"
    for text in ("AAE", "AAF=", "AA E=", "AAE=\n", "A-E=", "č"):
        with pytest.raises(MalformedError, match="base64"):
            decode_base64(text)


def test_members_are_read_once_and_none_is_left() -> None:
    members = Members({"n": 0, "t": "x"}, "thing")
    assert members.integer("n") == 0
    assert "n" not in members
    assert "t" in members
    with pytest.raises(MalformedError, match="thing has no n"):
        members.integer("n")
    with pytest.raises(MalformedError, match="thing has more members: t"):
        members.close()
    assert members.text("t") == "x"
    members.close()


# Lines


def test_a_line_holds_the_very_bytes_of_the_record() -> None:
    (body,) = sealed([1])
    line = seal_line(parse_record(body), seq=12, sealed_at=NOON)
    assert line == b'{"rec":' + body + b',"seq":12,"st":"' + TIME.encode() + b'"}'
    parsed = parse_line(line)
    assert (parsed.seq, parsed.sealed_at, parsed.record) == (12, NOON, parse_record(body))


@pytest.mark.parametrize("body", [b"", b"{}", b"null", sealed([1])[0] + b"\n", b'{"v":1}'])
def test_what_is_no_record_is_never_sealed(body: bytes) -> None:
    with pytest.raises(MalformedError, match=r"\w"):
        parse_record(body)


def test_a_body_cannot_bring_its_own_number() -> None:
    (body,) = sealed([1])
    forged = body + b',"seq":7,"st":"' + TIME.encode() + b'"}'
    with pytest.raises(MalformedError, match="JSON"):
        parse_record(forged)
    with pytest.raises(MalformedError, match="JSON"):
        parse_record(body + b',"rec":' + body)


@pytest.mark.parametrize(
    ("path", "value"),
    [("seq", -1), ("seq", ...), ("st", "now"), ("st", ...), ("rec", 1), ("more", 1)],
)
def test_a_line_of_another_form_is_refused(path: str, value: object) -> None:
    (line,) = lines_of(sealed([1]))
    with pytest.raises(MalformedError, match=r"\w"):
        parse_line(changed(line, path, value))


def test_a_line_longer_than_65535_bytes_is_refused() -> None:
    with pytest.raises(MalformedError, match="at most 65535"):
        parse_line(b" " * 65_536)
    with pytest.raises(MalformedError, match="JSON"):
        parse_line(b" " * 65_535)


def test_the_refusal_has_a_code() -> None:
    assert MalformedError.code == "evidence_malformed"


# Actions


def test_every_action_is_a_noun_and_a_verb_and_named_after_it() -> None:
    for action in Action:
        noun, verb = action.value.split(".")
        assert action.name == f"{noun}_{verb}".upper()


def test_every_move_of_a_post_or_delivery_has_its_action() -> None:
    for post_move in PostMove:
        assert Action(f"post.{post_move}")
    for delivery_move in DeliveryMove:
        assert Action(f"delivery.{delivery_move}")
