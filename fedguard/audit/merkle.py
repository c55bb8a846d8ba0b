"""The Merkle tree of RFC 6962 over the hashes of a log's entries, and its two proofs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

from fedguard.errors import InvalidParameter

__all__ = [
    "Frontier",
    "consistency_proof",
    "includes",
    "inclusion_proof",
    "is_prefix",
    "leaf_hash",
    "root_of",
]


def leaf_hash(entry: bytes) -> bytes:
    """The hash of one entry's exact bytes. Source: RFC 6962, section 2.1"""
    return hashlib.sha256(b"\x00" + entry).digest()


def _node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier(NamedTuple):
    """All that is needed to append: the roots of the perfect subtrees, from left to right.

    >>> two = Frontier().plus(leaf_hash(b"a")).plus(leaf_hash(b"b"))
    >>> two.size, two.root == root_of([leaf_hash(b"a"), leaf_hash(b"b")])
    (2, True)
    """

    size: int = 0
    roots: tuple[bytes, ...] = ()

    def plus(self, leaf: bytes) -> Frontier:
        """The frontier of the log with one more entry."""
        roots, whole = list(self.roots), self.size
        while whole % 2:
            leaf, whole = _node_hash(roots.pop(), leaf), whole // 2
        return Frontier(self.size + 1, (*roots, leaf))

    @property
    def root(self) -> bytes:
        """The root hash of the log so far; of none, the hash of nothing."""
        if not self.roots:
            return hashlib.sha256().digest()
        return reduce(lambda right, left: _node_hash(left, right), reversed(self.roots))


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes."""
    return reduce(Frontier.plus, leaves, Frontier()).root


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of entry `index`: its siblings from the leaf up.

    Source: RFC 6962, section 2.1.1
    """
    if not 0 <= index < len(leaves):
        raise InvalidParameter(f"the log has entries 0 to {len(leaves) - 1}, not {index}")
    if len(leaves) == 1:
        return []
    half = _split(len(leaves))
    if index < half:
        return [*inclusion_proof(leaves[:half], index), root_of(leaves[half:])]
    return [*inclusion_proof(leaves[half:], index - half), root_of(leaves[:half])]


def includes(root: bytes, size: int, index: int, leaf: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `leaf` is entry `index` of the log of `size` entries with this root.

    Source: RFC 9162, section 2.1.3.2
    """
    if not 0 <= index < size:
        return False
    at, last, seen = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if at % 2 or at == last:
            seen = _node_hash(sibling, seen)
            while not at % 2 and at:
                at, last = at // 2, last // 2
        else:
            seen = _node_hash(seen, sibling)
        at, last = at // 2, last // 2
    return last == 0 and seen == root


def consistency_proof(leaves: Sequence[bytes], first: int) -> list[bytes]:
    """What shows that the log of the `first` entries is a prefix of this one.

    Source: RFC 6962, section 2.1.2
    """
    if not 0 < first <= len(leaves):
        raise InvalidParameter(f"a log of {first} entries is no prefix of one of {len(leaves)}")
    return _subproof(leaves, first, whole=True)


def _subproof(leaves: Sequence[bytes], first: int, whole: bool) -> list[bytes]:
    if first == len(leaves):
        return [] if whole else [root_of(leaves)]
    half = _split(len(leaves))
    if first <= half:
        return [*_subproof(leaves[:half], first, whole), root_of(leaves[half:])]
    return [*_subproof(leaves[half:], first - half, whole=False), root_of(leaves[:half])]


def is_prefix(
    first: int, first_root: bytes, size: int, root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether the log of `first` entries with `first_root` is a prefix of that with `root`.

    Source: RFC 9162, section 2.1.4.2
    """
    if not 0 < first <= size:
        return False
    if first == size:
        return not proof and first_root == root
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not path:
        return False
    at, last = first - 1, size - 1
    while at % 2:
        at, last = at // 2, last // 2
    old = new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at % 2 or at == last:
            old, new = _node_hash(sibling, old), _node_hash(sibling, new)
            while not at % 2 and at:
                at, last = at // 2, last // 2
        else:
            new = _node_hash(new, sibling)
        at, last = at // 2, last // 2
    return last == 0 and old == first_root and new == root
