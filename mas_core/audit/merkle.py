"""The Merkle tree over a log's records, as in RFC 6962 and RFC 9162 section 2.1.

Hashes of a growing tree lie in one sequence, in the order in which they become known: each leaf, followed by
the inner nodes that it completes. Nothing in it ever changes, a tree of `n` leaves is its first
`stored_count(n)` hashes, and a proof reads a few dozen of them wherever they lie.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""

ReadHash = Callable[[int], bytes]
"""Gives the hash at a place in the sequence."""


def leaf_hash(record: bytes) -> bytes:
    """The hash of a leaf; it can never be that of an inner node."""
    return hashlib.sha256(b"\x00" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def stored_count(size: int) -> int:
    """How many hashes a tree of so many leaves has in its sequence: its leaves and all whole subtrees."""
    return 2 * size - size.bit_count()


def stored_place(level: int, index: int) -> int:
    """Where in the sequence the root of the `index`-th whole subtree of 2**`level` leaves lies."""
    last_leaf = ((index + 1) << level) - 1
    return stored_count(last_leaf) + level


class TreeHead:
    """The growing edge of a tree: what is needed to add leaves and to name the root, and no more.

    Args:
        size: Leaves that there are.
        read: Gives the hashes of these; not needed for a new tree.
    """

    __slots__ = ("_edge", "size")

    def __init__(self, size: int = 0, read: ReadHash | None = None) -> None:
        self.size = size
        self._edge = [read(place) for place in _subtree_places(0, size)] if read is not None else []
        """Roots of the whole subtrees that the leaves divide into, the largest first."""

    def append(self, leaf: bytes) -> list[bytes]:
        """Add the hash of a leaf.

        Returns:
            What comes next in the sequence of hashes.
        """
        return self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> list[bytes]:
        """Add the hashes of several leaves; returns what comes next in the sequence of hashes."""
        edge, size = self._edge, self.size
        completed = []
        for leaf in leaves:
            found = leaf
            completed.append(found)
            left = size
            while left & 1:
                found = hashlib.sha256(b"\x01" + edge.pop() + found).digest()
                completed.append(found)
                left >>= 1
            edge.append(found)
            size += 1
        self.size = size
        return completed

    def root(self) -> bytes:
        """The hash of the whole tree."""
        return _folded(self._edge)


def root_of(size: int, read: ReadHash) -> bytes:
    """The root of the tree of the first `size` leaves."""
    return _range_root(0, size, read)


def inclusion_proof(index: int, size: int, read: ReadHash) -> list[bytes]:
    """What proves that leaf number `index`, counted from 0, is in the tree of the first `size` leaves.

    Raises:
        ValueError: There is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    proof: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            proof.append(_range_root(middle, high, read))
            high = middle
        else:
            proof.append(_range_root(low, middle, read))
            low = middle
    return proof[::-1]


def consistency_proof(old_size: int, size: int, read: ReadHash) -> list[bytes]:
    """What proves that the tree of `size` leaves begins with the tree of its first `old_size`.

    Raises:
        ValueError: The older tree is empty, or larger than the other.
    """
    if not 0 < old_size <= size:
        raise ValueError(f"a tree of {size} leaves has no proof for one of {old_size}")
    proof: list[bytes] = []
    low, high, is_left_edge = 0, size, True
    while old_size < high:
        middle = low + _split(high - low)
        if old_size <= middle:
            proof.append(_range_root(middle, high, read))
            high = middle
        else:
            proof.append(_range_root(low, middle, read))
            low, is_left_edge = middle, False
    if not is_left_edge:
        proof.append(_range_root(low, high, read))
    return proof[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the proof shows a leaf in the tree with this root (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size or not _are_hashes(leaf, root, *proof):
        return False
    place, last = index, size - 1
    found = leaf
    for step in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(step, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, step)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(
    old_size: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes
) -> bool:
    """Whether the proof shows that the larger tree begins with the smaller (RFC 9162, section 2.1.4.2)."""
    if old_size == size > 0:
        return not proof and old_root == root
    if not 0 < old_size < size or not _are_hashes(old_root, root, *proof):
        return False
    steps = list(proof)
    if old_size & (old_size - 1) == 0:
        steps.insert(0, old_root)
    if not steps:
        return False
    place, last = old_size - 1, size - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old_found = found = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old_found, found = node_hash(step, old_found), node_hash(step, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, step)
        place, last = place >> 1, last >> 1
    return last == 0 and old_found == old_root and found == root


def _are_hashes(*found: bytes) -> bool:
    return all(len(item) == HASH_SIZE for item in found)


def _split(count: int) -> int:
    """The largest power of two below `count`, which is at least two."""
    return 1 << ((count - 1).bit_length() - 1)


def _subtree_places(low: int, high: int) -> list[int]:
    """Where the roots of the whole subtrees lie that these leaves divide into, the largest first."""
    places = []
    while low < high:
        level = (high - low).bit_length() - 1
        places.append(stored_place(level, low >> level))
        low += 1 << level
    return places


def _range_root(low: int, high: int, read: ReadHash) -> bytes:
    return _folded([read(place) for place in _subtree_places(low, high)])


def _folded(roots: Sequence[bytes]) -> bytes:
    if not roots:
        return EMPTY_ROOT
    found = roots[-1]
    for left in reversed(roots[:-1]):
        found = node_hash(left, found)
    return found
