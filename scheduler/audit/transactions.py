"""Whether the records of each transaction are all there, in order, and signed by an instance that is trusted."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from scheduler.audit.keys import InstancePublicKey
from scheduler.audit.record import SignedRecord, parse_record, transaction_message
from scheduler.errors import InvalidError


class Fault(StrEnum):
    """What can be wrong with a transaction."""

    OUT_OF_ORDER = "transaction_out_of_order"  #: a record is missing, repeated or moved
    INCOMPLETE = "transaction_incomplete"  #: the end is missing
    UNKNOWN_INSTANCE = "instance_unknown"  #: signed with a key that is not trusted
    SIGNATURE = "transaction_signature"  #: a record of it was changed


class TransactionRejectedError(InvalidError):
    """The records are not one whole transaction of a trusted instance; `details` name the fault."""

    code = "transaction_rejected"


@dataclass(slots=True)
class _Open:
    first_seq: int
    key_id: str
    hashes: list[bytes] = field(default_factory=list)


class TransactionCheck:
    """Follows records in the order of the log; remembers only transactions whose end has not come yet.

    Transactions that ran at the same time may be interleaved; within each one the order is fixed.
    """

    def __init__(self, instances: Iterable[InstancePublicKey]) -> None:
        self._instances = {key.key_id: key for key in instances}
        self._open: dict[str, _Open] = {}

    def feed(self, seq: int, record: SignedRecord) -> Fault | None:
        """Take the next record; a fault ends its transaction."""
        place = record.transaction
        known = self._open.pop(place.id, None) or _Open(seq, record.key_id)
        if place.index != len(known.hashes) or record.key_id != known.key_id:
            return Fault.OUT_OF_ORDER
        known.hashes.append(record.signed_hash)
        if place.signature is None:
            self._open[place.id] = known
            return None
        instance = self._instances.get(known.key_id)
        if instance is None:
            return Fault.UNKNOWN_INSTANCE
        if not instance.accepts(transaction_message(known.hashes), place.signature):
            return Fault.SIGNATURE
        return None

    def unfinished(self) -> list[int]:
        """The sequence numbers at which transactions began whose end is missing."""
        return sorted(transaction.first_seq for transaction in self._open.values())


def check_transaction(bodies: Iterable[bytes], instances: Iterable[InstancePublicKey]) -> None:
    """Check that the bodies are whole transactions, each signed by one of the instances.

    Raises:
        MalformedError: one of them is no record.
        TransactionRejectedError: a record is missing, moved or changed, or the signer is unknown.
    """
    check = TransactionCheck(instances)
    for seq, body in enumerate(bodies):
        fault = check.feed(seq, parse_record(body))
        if fault is not None:
            raise TransactionRejectedError(f"record {seq}: {fault.value}", fault=fault.value)
    if check.unfinished():
        raise TransactionRejectedError("the last record is missing", fault=Fault.INCOMPLETE.value)
