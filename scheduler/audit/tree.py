"""The Merkle tree of RFC 6962 §2.1: hashes, roots and proofs; nothing here is of our own invention.

Proofs are computed from complete subtrees only. `NodeReader(level, index)` answers with the hash over the leaves
`index * 2**level` up to, without, `(index + 1) * 2**level`; such a node never changes once it exists.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from scheduler.canonical import JsonValue

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

NodeReader = Callable[[int, int], bytes]


def leaf_hash(line: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + line).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A complete subtree; level 0 is the leaf itself."""

    level: int
    index: int
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """All that appending needs: the roots of the complete subtrees of a tree, widest first (at most 64).

    Raises:
        ValueError: the hashes do not belong to a tree of this size.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size < 1 << 64 or len(self.hashes) != self.size.bit_count():
            raise ValueError(f"{len(self.hashes)} hashes are no frontier of size {self.size}")
        if any(len(item) != HASH_SIZE for item in self.hashes):
            raise ValueError("a frontier holds SHA-256 hashes")

    def append(self, leaf: bytes) -> "Frontier":
        return self.extend((leaf,)).frontier

    def extend(self, leaves: Iterable[bytes]) -> "Extension":
        """Append leaf hashes; the extension names every node they complete, the leaves included."""
        stack, size, nodes = list(self.hashes), self.size, []
        for leaf in leaves:
            level, index, complete = 0, size, leaf
            nodes.append(Node(level=level, index=index, hash=complete))
            while index % 2 == 1:
                level, index, complete = level + 1, index // 2, node_hash(stack.pop(), complete)
                nodes.append(Node(level=level, index=index, hash=complete))
            stack.append(complete)
            size += 1
        return Extension(frontier=Frontier(size=size, hashes=tuple(stack)), nodes=tuple(nodes))

    def root(self) -> bytes:
        if not self.hashes:
            return EMPTY_ROOT
        *wider, root = self.hashes
        for left in reversed(wider):
            root = node_hash(left, root)
        return root

    def as_json(self) -> list[str]:
        """The hashes as hex; the size is kept beside it."""
        return [item.hex() for item in self.hashes]

    @classmethod
    def from_json(cls, size: int, hashes: Sequence[str]) -> "Frontier":
        return cls(size=size, hashes=tuple(bytes.fromhex(item) for item in hashes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    frontier: Frontier
    nodes: tuple[Node, ...]

    def as_rows(self) -> list[dict[str, JsonValue | bytes]]:
        """The nodes as rows of `audit_node`."""
        return [{"level": n.level, "position": n.index, "hash": n.hash} for n in self.nodes]


def new_nodes(before: Frontier, leaves: Iterable[bytes]) -> tuple[Node, ...]:
    """The nodes that become complete when `leaves` are appended, the leaves included."""
    return before.extend(leaves).nodes


def root_of(leaves: Iterable[bytes]) -> bytes:
    return Frontier().extend(leaves).frontier.root()


def root(size: int, read: NodeReader) -> bytes:
    """The root of the first `size` leaves."""
    return _range_root(0, size, read) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, read: NodeReader) -> tuple[bytes, ...]:
    """The siblings from leaf `index` up to the root of `size` leaves (RFC 6962 §2.1.1).

    Raises:
        ValueError: there is no such leaf in a tree of that size.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} has no leaf {index}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _left_width(end - start)
        if index < middle:
            path.append(_range_root(middle, end, read))
            end = middle
        else:
            path.append(_range_root(start, middle, read))
            start = middle
    return tuple(reversed(path))


def consistency_proof(old_size: int, new_size: int, read: NodeReader) -> tuple[bytes, ...]:
    """What shows that the tree of `old_size` leaves is the beginning of the other (RFC 6962 §2.1.2).

    Raises:
        ValueError: the old tree is the larger one.
    """
    if not 0 <= old_size <= new_size:
        raise ValueError(f"a tree of {new_size} does not begin with {old_size} leaves")
    if old_size in {0, new_size}:
        return ()
    path: list[bytes] = []
    start, end = 0, new_size
    while end != old_size:
        middle = start + _left_width(end - start)
        if old_size <= middle:
            path.append(_range_root(middle, end, read))
            end = middle
        else:
            path.append(_range_root(start, middle, read))
            start = middle
    if start:  # the verifier knows the old root, not this part of it
        path.append(_range_root(start, end, read))
    return tuple(reversed(path))


def verify_inclusion(
    *, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Whether `leaf` (a leaf hash) is at `index` of the tree (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size or not _are_hashes(proof):
        return False
    here, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if here % 2 == 1 or here == last:
            computed = node_hash(sibling, computed)
            here, last = _skip_missing_siblings(here, last)
        else:
            computed = node_hash(computed, sibling)
        here, last = here >> 1, last >> 1
    return last == 0 and computed == root


def verify_consistency(
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the old tree is the beginning of the new one (RFC 9162 §2.1.4.2)."""
    if not 0 <= old_size <= new_size or not _are_hashes(proof):
        return False
    if old_size == new_size:
        return not proof and old_root == new_root
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT
    return bool(proof) and _climb(old_size, new_size, proof, old_root) == (old_root, new_root)


def _climb(
    old_size: int, new_size: int, proof: Sequence[bytes], old_root: bytes
) -> tuple[bytes, bytes] | None:
    """Both roots as the proof has them; None when it is too long or too short."""
    here, last = old_size - 1, new_size - 1
    while here % 2 == 1:
        here, last = here >> 1, last >> 1
    path = proof if here else (old_root, *proof)  # a complete old tree is itself the first node
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return None
        if here % 2 == 1 or here == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            here, last = _skip_missing_siblings(here, last)
        else:
            new = node_hash(new, sibling)
        here, last = here >> 1, last >> 1
    return (old, new) if last == 0 else None


def _skip_missing_siblings(here: int, last: int) -> tuple[int, int]:
    """Go up while a node at the right edge has no sibling."""
    while here and here % 2 == 0:
        here, last = here >> 1, last >> 1
    return here, last


def _range_root(start: int, end: int, read: NodeReader) -> bytes:
    width = end - start
    if width.bit_count() == 1:
        level = width.bit_length() - 1
        return read(level, start >> level)
    middle = start + _left_width(width)
    return node_hash(_range_root(start, middle, read), _range_root(middle, end, read))


def _left_width(width: int) -> int:
    """The largest power of two below `width`."""
    return 1 << ((width - 1).bit_length() - 1)


def _are_hashes(proof: Sequence[bytes]) -> bool:
    return all(len(item) == HASH_SIZE for item in proof)
