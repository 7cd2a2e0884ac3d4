"""Whole transactions: what their one signature proves."""

import json

import pytest

from scheduler.audit.keys import InstanceKey
from scheduler.audit.record import parse_record
from scheduler.audit.transactions import (
    Fault,
    TransactionCheck,
    TransactionRejectedError,
    check_transaction,
)
from tests.support.audit_log import INSTANCE, changed, sealed

STRANGER = InstanceKey.from_seed(b"\x09" * 32)


def test_the_refusal_has_a_code() -> None:
    assert TransactionRejectedError.code == "transaction_rejected"


def fault_of(bodies: list[bytes], *, signer: InstanceKey = INSTANCE) -> str | None:
    try:
        check_transaction(bodies, [signer.public])
    except TransactionRejectedError as exc:
        return str(exc.details["fault"])
    return None


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_whole_transaction_passes(size: int) -> None:
    assert fault_of(sealed(range(size))) is None


def test_no_record_of_a_transaction_can_be_changed() -> None:
    bodies = sealed([1, 2, 3])
    for index in range(3):
        forged = list(bodies)
        forged[index] = changed(bodies[index], "by.p", "tina.hocevar")
        assert fault_of(forged) == "transaction_signature"


def test_no_record_of_a_transaction_can_be_left_out_repeated_or_moved() -> None:
    one, two, three = sealed([1, 2, 3])
    assert fault_of([two, three]) == "transaction_out_of_order"
    assert fault_of([one, three]) == "transaction_out_of_order"
    assert fault_of([one, one, two, three]) == "transaction_out_of_order"
    assert fault_of([two, one, three]) == "transaction_out_of_order"
    assert fault_of([one, two]) == "transaction_incomplete"
    assert fault_of([one]) == "transaction_incomplete"


def test_a_shorter_transaction_cannot_be_made_of_a_longer_one() -> None:
    one, two, three = sealed([1, 2, 3])
    signature = json.loads(three)["tx"]["sig"]
    ended = changed(changed(two, "tx.n", 2), "tx.sig", signature)
    assert fault_of([one, ended]) == "transaction_signature"


def test_a_record_of_another_instance_is_not_part_of_the_transaction() -> None:
    one, two = sealed([1, 2])
    mixed = changed(two, "svc.k", STRANGER.key_id)
    assert fault_of([one, mixed]) == "transaction_out_of_order"


def test_a_transaction_of_an_instance_that_is_not_trusted_is_named_so() -> None:
    assert fault_of(sealed([1], signer=STRANGER)) == "instance_unknown"
    assert fault_of(sealed([1], signer=STRANGER), signer=STRANGER) is None


def test_a_signature_by_another_key_under_a_trusted_name_does_not_fit() -> None:
    (body,) = sealed([1], signer=STRANGER)
    assert fault_of([changed(body, "svc.k", INSTANCE.key_id)]) == "transaction_signature"


def test_transactions_may_be_interleaved() -> None:
    (a1, a2), (b1, b2) = sealed([1, 2]), sealed([3, 4])
    check = TransactionCheck([INSTANCE.public])
    assert [check.feed(n, parse_record(body)) for n, body in enumerate([a1, b1, a2, b2])] == [
        None
    ] * 4
    assert check.unfinished() == []


def test_transactions_without_an_end_are_known_by_their_beginning() -> None:
    check = TransactionCheck([INSTANCE.public])
    for seq, body in ((7, sealed([3, 4])[0]), (5, sealed([1, 2])[0])):
        assert check.feed(seq, parse_record(body)) is None
    assert check.unfinished() == [5, 7]


def test_after_a_fault_the_transaction_is_forgotten() -> None:
    one, two, _ = sealed([1, 2, 3])
    check = TransactionCheck([INSTANCE.public])
    assert check.feed(0, parse_record(one)) is None
    assert check.feed(1, parse_record(one)) is Fault.OUT_OF_ORDER
    assert check.feed(2, parse_record(two)) is Fault.OUT_OF_ORDER
    assert check.unfinished() == []
