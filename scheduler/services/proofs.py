"""One record with the proof that it is in the signed log."""

from dataclasses import dataclass

from scheduler.audit import tree
from scheduler.db import log, proofs
from scheduler.db.tables import AuditLeaf, Checkpoint
from scheduler.db.uow import UnitOfWork
from scheduler.errors import NotFoundError, UnavailableError


class LogDamagedError(UnavailableError):
    """The tree of the log has a gap: `chancery audit verify` says more."""

    code = "log_damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvenRecord:
    """A leaf, its inclusion proof (RFC 6962 §2.1.1) and the head that it leads to."""

    leaf: AuditLeaf
    proof: tuple[bytes, ...]
    checkpoint: Checkpoint


async def get_proven(uow: UnitOfWork, seq: int) -> ProvenRecord:
    """The record at a place of the log.

    Raises:
        NotFoundError: the log is not that long.
        LogDamagedError: a node that the proof needs is gone.
    """
    leaf = await proofs.get_leaf(uow, seq)
    checkpoint = await log.find_checkpoint(uow)
    if checkpoint is None or seq >= checkpoint.size:
        raise NotFoundError(f"record {seq} is in no signed head yet")
    wanted: list[tuple[int, int]] = []

    def note(level: int, index: int) -> bytes:
        wanted.append((level, index))
        return bytes(tree.HASH_SIZE)

    tree.inclusion_proof(seq, checkpoint.size, note)  # only to learn which nodes it needs
    nodes = await proofs.find_nodes(uow, wanted)
    if set(wanted) - nodes.keys():
        raise LogDamagedError("a node of the log's tree is missing")
    proof = tree.inclusion_proof(seq, checkpoint.size, lambda level, index: nodes[level, index])
    return ProvenRecord(leaf=leaf, proof=proof, checkpoint=checkpoint)
