"""What a backend promises: blocks of one canonical size, in order, and sums in one fixed order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedguard.types import Array

__all__ = [
    "FEWEST",
    "BlockSum",
    "Blocks",
    "Node",
    "OnBlock",
    "Terms",
    "block_starts",
    "canonical_columns",
    "joined",
]

BLOCK_VALUES = 2**21
"""A block holds about this many values: large beside a call, small beside the last-level cache."""
WIDEST, NARROWEST = 2**17, 2**9
FEWEST = 4
"""A product of fewer columns has other bits where rows lie apart than where they touch."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Terms = tuple[NDArray[np.float64], ...]


class OnBlock(Protocol[T_co]):
    """A pure function of one block, shape (n, columns), and of where it lies in the vector.

    The block is read-only and its memory is used again after the call: return no view of it.
    """

    def __call__(self, block: Array, columns: slice, /) -> T_co: ...


class Blocks(ABC):
    """n rows of d coordinates that nobody needs to hold whole."""

    @property
    @abstractmethod
    def n(self) -> int: ...

    @property
    @abstractmethod
    def d(self) -> int: ...

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """The dtype blocks are worked in: float64 if a row is, else float32."""

    @abstractmethod
    def map(self, function: OnBlock[T]) -> Iterator[T]:
        """Yield `function(block, columns)` over all blocks, left to right."""

    @abstractmethod
    def take(self, rows: Sequence[int]) -> Blocks:
        """The same blocks of some of the rows, in the order given: as wide as before."""

    def write(self, function: OnBlock[Array], out: Array) -> None:
        """Put `function(block, columns)`, shape (m, columns), into `out[:, columns]`, (m, d)."""
        for place, columns in self.map(lambda block, columns: (function(block, columns), columns)):
            out[:, columns] = place

    def total(self, function: OnBlock[Terms]) -> Terms | None:
        """The sum of `function` over all blocks, or None where there is no column."""
        return joined(Node(0, index, terms) for index, terms in enumerate(self.map(function)))


def canonical_columns(n: int) -> int:
    """The width of a block of n rows on every backend: about `BLOCK_VALUES` in all.

    A little more than a power of two, or the rows of a block would share few sets of a cache. Of
    thousands of rows it is half of n at most: a block's (n, n) products would take more than it.

    >>> [canonical_columns(n) for n in (1, 10, 50, 200, 5000)]
    [131136, 131136, 32832, 8256, 2112]
    """
    power = 1 << (max(BLOCK_VALUES // max(n, 1), n // 2, 1).bit_length() - 1)
    return min(max(power, NARROWEST), WIDEST) + 64


def block_starts(d: int, width: int) -> range:
    """Where blocks begin; fewer than `FEWEST` last columns belong to the block before them.

    >>> [list(block_starts(d, 16)) for d in (0, 1, 16, 19, 20)]
    [[], [0], [0], [0], [0, 16]]
    """
    return range(0, max(d - FEWEST + 1, min(d, 1)), width)


class Node(NamedTuple):
    """The sum of blocks `place * 2**level` up to (not with) `(place + 1) * 2**level`."""

    level: int
    place: int
    terms: Terms


class BlockSum:
    """Adds the terms of blocks as leaves of one binary tree.

    The tree depends on the number of blocks alone, so whoever adds a part of it elsewhere and
    hands in the `nodes` gets the bits of one long sum; at most log2(blocks) sums are held.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def add(self, node: Node) -> None:
        """Take the next node from the left."""
        level, place, terms = node
        while place % 2 and self.nodes and self.nodes[-1][:2] == (level, place - 1):
            terms = _plus(self.nodes.pop().terms, terms)
            level, place = level + 1, place // 2
        self.nodes.append(Node(level, place, terms))

    def total(self) -> Terms | None:
        """The sum of all leaves: what is left over is added from the right."""
        terms: Terms | None = None
        for node in reversed(self.nodes):
            terms = node.terms if terms is None else _plus(node.terms, terms)
        return terms


def joined(nodes: Iterable[Node]) -> Terms | None:
    """The sum of all nodes of one tree, left to right."""
    running = BlockSum()
    for node in nodes:
        running.add(node)
    return running.total()


def _plus(one: Terms, other: Terms) -> Terms:
    return tuple(map(_add, one, other))


def _add(left: Any, right: Any) -> Any:
    """Their sum, in the memory of `left` where that is nobody else's: new memory takes longer."""
    owned = left.flags.owndata and left.flags.writeable and left.dtype == right.dtype
    return np.add(left, right, out=left if owned else None)
