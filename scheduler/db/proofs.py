"""Queries on the log's tree: a leaf and the nodes that prove it."""

from collections.abc import Collection

from sqlalchemy import select, tuple_
from sqlmodel import col

from scheduler.db.tables import AuditLeaf, AuditNode
from scheduler.db.uow import UnitOfWork
from scheduler.errors import NotFoundError


async def get_leaf(uow: UnitOfWork, seq: int) -> AuditLeaf:
    leaf = await uow.session.get(AuditLeaf, seq)
    if leaf is None:
        raise NotFoundError(f"no record {seq}")
    return leaf


async def find_nodes(
    uow: UnitOfWork, places: Collection[tuple[int, int]]
) -> dict[tuple[int, int], bytes]:
    """The hashes at (level, position)."""
    query = select(AuditNode).where(
        tuple_(col(AuditNode.level), col(AuditNode.position)).in_(list(places))
    )
    return {
        (node.level, node.position): bytes(node.hash) for node in await uow.session.scalars(query)
    }
