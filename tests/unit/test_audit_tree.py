"""The tree, against the recursive definitions of RFC 6962 written out once more, exhaustively up to 70 leaves."""

import hashlib
from itertools import pairwise

import pytest

from scheduler.audit.tree import (
    EMPTY_ROOT,
    Frontier,
    Node,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    new_nodes,
    node_hash,
    root,
    root_of,
    verify_consistency,
    verify_inclusion,
)

LIMIT = 70
LEAVES = [leaf_hash(b"record %d" % number) for number in range(LIMIT)]
NODES = {(node.level, node.index): node.hash for node in new_nodes(Frontier(), LEAVES)}
OTHER = hashlib.sha256(b"another").digest()

#: The roots that certificate transparency's own test data has for its eight entries.
KNOWN_ENTRIES = [
    bytes.fromhex(entry)
    for entry in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
KNOWN_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def read(level: int, index: int) -> bytes:
    return NODES[level, index]


def split(size: int) -> int:
    return max(1 << power for power in range(8) if 1 << power < size)


def rfc_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + rfc_root(leaves[:k]) + rfc_root(leaves[k:])).digest()


def rfc_path(index: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*rfc_path(index, leaves[:k]), rfc_root(leaves[k:])]
    return [*rfc_path(index - k, leaves[k:]), rfc_root(leaves[:k])]


def rfc_subproof(old: int, leaves: list[bytes], *, whole: bool) -> list[bytes]:
    if old == len(leaves):
        return [] if whole else [rfc_root(leaves)]
    k = split(len(leaves))
    if old <= k:
        return [*rfc_subproof(old, leaves[:k], whole=whole), rfc_root(leaves[k:])]
    return [*rfc_subproof(old - k, leaves[k:], whole=False), rfc_root(leaves[:k])]


ROOTS = [rfc_root(LEAVES[:size]) for size in range(LIMIT + 1)]


def test_a_leaf_and_a_node_are_hashed_in_their_own_domains() -> None:
    assert leaf_hash(b"x") == hashlib.sha256(b"\x00x").digest()
    assert node_hash(b"l", b"r") == hashlib.sha256(b"\x01lr").digest()


def test_the_roots_are_those_of_certificate_transparency() -> None:
    hashes = [leaf_hash(entry) for entry in KNOWN_ENTRIES]
    assert [root_of(hashes[:size]).hex() for size in range(1, 9)] == KNOWN_ROOTS
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_every_way_to_a_root_gives_the_root_of_the_definition() -> None:
    frontier = Frontier()
    for size in range(LIMIT + 1):
        assert root(size, read) == root_of(LEAVES[:size]) == frontier.root() == ROOTS[size]
        assert frontier.size == size
        assert Frontier.from_json(size, frontier.as_json()) == frontier
        if size < LIMIT:
            frontier = frontier.append(LEAVES[size])


def test_appending_names_exactly_the_nodes_that_become_complete() -> None:
    for before in range(20):
        for after in range(before, 20):
            frontier = Frontier().extend(LEAVES[:before]).frontier
            extension = frontier.extend(LEAVES[before:after])
            assert extension.frontier == Frontier().extend(LEAVES[:after]).frontier
            expected = {
                (level, index): rfc_root(LEAVES[index << level : (index + 1) << level])
                for level in range(6)
                for index in range(after >> level)
                if (index + 1) << level > before
            }
            assert {(n.level, n.index): n.hash for n in extension.nodes} == expected
            assert len(extension.nodes) == len(expected)
            assert new_nodes(frontier, LEAVES[before:after]) == extension.nodes


def test_nodes_become_rows_with_their_place() -> None:
    extension = Frontier().append(LEAVES[0]).extend([LEAVES[1]])
    joined = node_hash(LEAVES[0], LEAVES[1])
    assert extension.nodes[1] == Node(level=1, index=0, hash=joined)
    assert extension.as_rows() == [
        {"level": 0, "position": 1, "hash": LEAVES[1]},
        {"level": 1, "position": 0, "hash": joined},
    ]


@pytest.mark.parametrize(
    ("size", "hashes"),
    [(-1, ()), (0, (OTHER,)), (1, ()), (3, (OTHER,)), (2, (b"short",)), (1 << 64, (OTHER,))],
)
def test_a_frontier_that_cannot_be_is_refused(size: int, hashes: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match="frontier"):
        Frontier(size=size, hashes=hashes)


def test_the_largest_frontier_has_64_hashes() -> None:
    assert len(Frontier(size=2**64 - 1, hashes=(OTHER,) * 64).hashes) == 64


def test_every_inclusion_proof_is_the_one_of_the_definition_and_verifies() -> None:
    for size in range(1, LIMIT + 1):
        for index in range(size):
            proof = inclusion_proof(index, size, read)
            assert list(proof) == rfc_path(index, LEAVES[:size])
            assert verify_inclusion(
                leaf=LEAVES[index], index=index, size=size, proof=proof, root=ROOTS[size]
            )


def test_an_inclusion_proof_shows_nothing_else() -> None:
    for size in range(1, LIMIT + 1):
        for index in range(size):
            leaf, root_hash = LEAVES[index], ROOTS[size]
            proof = inclusion_proof(index, size, read)

            def holds(
                leaf: bytes = leaf,
                index: int = index,
                size: int = size,
                proof: tuple[bytes, ...] = proof,
                root: bytes = root_hash,
            ) -> bool:
                return verify_inclusion(leaf=leaf, index=index, size=size, proof=proof, root=root)

            assert not holds(leaf=OTHER)
            assert not holds(root=OTHER)
            assert not holds(proof=(*proof, OTHER))
            assert not holds(index=index + size)
            assert not holds(index=-1)
            for wrong in {index - 1, index + 1} & set(range(size)):
                assert not holds(index=wrong)
            for position in range(len(proof)):
                assert not holds(proof=proof[:position] + proof[position + 1 :])
                changed = (*proof[:position], OTHER, *proof[position + 1 :])
                assert not holds(proof=changed)


def test_a_proof_of_anything_but_hashes_is_refused() -> None:
    left, right = LEAVES[:2]
    assert verify_inclusion(leaf=left, index=0, size=2, proof=(right,), root=ROOTS[2])
    assert not verify_inclusion(leaf=left, index=0, size=2, proof=(right + b"x",), root=ROOTS[2])
    assert not verify_consistency(
        old_size=1, old_root=left, new_size=2, new_root=ROOTS[2], proof=(right[:-1],)
    )
    forged = hashlib.sha256(b"\x01" + left + b"long").digest()
    assert not verify_inclusion(leaf=left, index=0, size=2, proof=(b"long",), root=forged)
    assert not verify_consistency(
        old_size=1, old_root=left, new_size=2, new_root=forged, proof=(b"long",)
    )


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (6, 5), (-1, 5)])
def test_there_is_no_proof_for_a_leaf_outside_of_the_tree(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="has no leaf"):
        inclusion_proof(index, size, read)


def test_every_consistency_proof_is_the_one_of_the_definition_and_verifies() -> None:
    for new in range(LIMIT + 1):
        for old in range(new + 1):
            proof = consistency_proof(old, new, read)
            if old > 0:
                assert list(proof) == rfc_subproof(old, LEAVES[:new], whole=True)
            assert verify_consistency(
                old_size=old, old_root=ROOTS[old], new_size=new, new_root=ROOTS[new], proof=proof
            )


def test_a_consistency_proof_shows_nothing_else() -> None:
    for new in range(1, 40):
        for old in range(new + 1):
            proof = consistency_proof(old, new, read)

            def holds(
                old: int = old,
                old_root: bytes = ROOTS[old],
                new: int = new,
                new_root: bytes = ROOTS[new],
                proof: tuple[bytes, ...] = proof,
            ) -> bool:
                return verify_consistency(
                    old_size=old, old_root=old_root, new_size=new, new_root=new_root, proof=proof
                )

            assert not holds(old_root=OTHER)
            assert not holds(proof=(*proof, OTHER))
            assert not holds(old=new + 1)
            assert not holds(old=-1)
            if old > 0:
                assert not holds(new_root=OTHER)
                assert not holds(old=old - 1)
            for position in range(len(proof)):
                assert not holds(proof=proof[:position] + proof[position + 1 :])
                changed = (*proof[:position], OTHER, *proof[position + 1 :])
                assert not holds(proof=changed)


def test_a_fork_is_not_consistent() -> None:
    forked = [*LEAVES[:10], OTHER, *LEAVES[11:]]
    nodes = {(n.level, n.index): n.hash for n in new_nodes(Frontier(), forked)}
    proof = consistency_proof(20, 40, lambda level, index: nodes[level, index])
    kept, new = ROOTS[20], root_of(forked[:40])
    assert not verify_consistency(
        old_size=20, old_root=kept, new_size=40, new_root=new, proof=proof
    )


@pytest.mark.parametrize(("old", "new"), [(-1, 3), (4, 3)])
def test_there_is_no_proof_that_a_tree_shrank(old: int, new: int) -> None:
    with pytest.raises(ValueError, match="does not begin with"):
        consistency_proof(old, new, read)


def test_proofs_read_complete_subtrees_only_and_few_of_them() -> None:
    asked: list[tuple[int, int]] = []

    def watched(level: int, index: int) -> bytes:
        asked.append((level, index))
        return read(level, index)

    inclusion_proof(37, LIMIT, watched)
    assert all((index + 1) << level <= LIMIT for level, index in asked)
    assert len(asked) <= 2 * LIMIT.bit_length()


def test_a_node_once_complete_never_changes() -> None:
    for before, after in pairwise(range(LIMIT + 1)):
        added = {(n.level, n.index) for n in new_nodes(frontier_of(before), LEAVES[before:after])}
        earlier = {(n.level, n.index) for n in new_nodes(Frontier(), LEAVES[:before])}
        assert not added & earlier


def frontier_of(size: int) -> Frontier:
    return Frontier().extend(LEAVES[:size]).frontier
