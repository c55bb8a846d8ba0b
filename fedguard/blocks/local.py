"""What backends on one machine share: canonical blocks, each read by one of a few threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fedguard.blocks.protocol import (
    FEWEST,
    Blocks,
    BlockSum,
    Node,
    OnBlock,
    Terms,
    block_starts,
    canonical_columns,
    joined,
)
from fedguard.blocks.threads import available_cores, share_out
from fedguard.errors import InvalidParameter
from fedguard.types import Array

__all__ = ["LocalBlocks"]

T = TypeVar("T")

FEW_VALUES = 4 * 2**20
"""Under this many values threads cost more than they gain."""
RUNS_A_THREAD = 4
"""Few enough that fetching the next run costs nothing, enough that no thread waits long."""


class LocalBlocks(Blocks):
    """Columns `first` up to `first + d` of a longer vector, or all of it, in canonical blocks."""

    def __init__(
        self,
        n: int,
        d: int,
        dtype: np.dtype[Any],
        block_columns: int | None = None,
        threads: int | None = None,
        first: int = 0,
    ) -> None:
        for name, value in (("block_columns", block_columns), ("threads", threads)):
            if value is not None and value < 1:
                raise InvalidParameter(f"{name} must be at least 1, got {value}")
        self._n, self._d, self._dtype, self._first = n, d, dtype, first
        self._block_columns, self._threads = block_columns, threads

    @property
    def n(self) -> int:
        return self._n

    @property
    def d(self) -> int:
        return self._d

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype

    @property
    def width(self) -> int:
        """Columns of a block; the last may have fewer."""
        return self._block_columns or canonical_columns(self._n)

    def _read(self, columns: slice, scratch: Callable[[], Array]) -> Array:
        """The values of `columns`, counted from `first`: a view, or `scratch()` (n, .) filled."""
        raise NotImplementedError

    def take(self, rows: Sequence[int]) -> LocalBlocks:
        """The same blocks of some of the rows."""
        raise NotImplementedError

    def map(self, function: OnBlock[T]) -> Iterator[T]:
        run = self._reader(function)
        return map(run, block_starts(self._d, self.width))

    def write(self, function: OnBlock[Array], out: Array) -> None:
        into = getattr(function, "into", None)

        def put(block: Array, columns: slice) -> None:
            place = out[:, columns.start - self._first : columns.stop - self._first]
            if into:
                into(block, columns, place)
            else:
                place[:] = function(block, columns)

        run = self._reader(put)

        def run_all(group: _Group) -> None:
            for start in group.starts:
                run(start)

        share_out(run_all, *self._groups())

    def total(self, function: OnBlock[Terms]) -> Terms | None:
        return joined(self.nodes(function))

    def nodes(self, function: OnBlock[Terms], first: int = 0) -> list[Node]:
        """The sum as nodes of the tree whose leaf number `first` is the first block here."""
        run = self._reader(function)

        def add_all(group: _Group) -> list[Node]:
            running = BlockSum()
            for place, start in enumerate(group.starts, first + group.first):
                running.add(Node(0, place, run(start)))
            return running.nodes

        return [node for nodes in share_out(add_all, *self._groups(first)) for node in nodes]

    def _reader(self, function: OnBlock[T]) -> Callable[[int], T]:
        """`function` of the block that begins at a column."""
        own, starts = threading.local(), block_starts(self._d, self.width)

        def run(start: int) -> T:
            stop = self._d if start == starts[-1] else start + self.width

            def scratch() -> Array:
                if not hasattr(own, "memory"):
                    own.memory = np.empty(self._n * min(self.width + FEWEST, self._d), self._dtype)
                taken: Array = own.memory[: self._n * (stop - start)]
                return taken.reshape(self._n, stop - start)

            block = self._read(slice(start, stop), scratch).view()
            block.flags.writeable = False
            return function(block, slice(self._first + start, self._first + stop))

        return run

    def _groups(self, first: int = 0) -> tuple[list[_Group], int]:
        """Runs of blocks that one thread takes at once, whole branches of the tree, and threads."""
        starts = block_starts(self._d, self.width)
        few = self._threads is None and self._n * self._d < FEW_VALUES
        threads = 1 if few else min(self._threads or available_cores(), len(starts))
        if threads <= 1:
            return [_Group(0, starts)], 1
        size = 1 << max(len(starts) // (RUNS_A_THREAD * threads), 1).bit_length() - 1
        cuts = [0, *range(size - first % size, len(starts), size), len(starts)]
        return [_Group(at, starts[at:end]) for at, end in pairwise(cuts)], threads


class _Group(NamedTuple):
    """Neighbouring blocks: the number of the first, and where each begins."""

    first: int
    starts: range
