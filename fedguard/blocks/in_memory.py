"""Updates that lie in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fedguard.blocks.dtypes import widen, worked_dtype
from fedguard.blocks.local import LocalBlocks
from fedguard.blocks.protocol import FEWEST
from fedguard.errors import ShapeMismatch
from fedguard.types import Array, Vector

__all__ = ["InMemory"]


class InMemory(LocalBlocks):
    """Rows that lie in memory, as an (n, d) array or a sequence of (d,) arrays; never copied whole.

    float16 and bfloat16 (of ml_dtypes) are widened to float32 block by block. Raises
    `ShapeMismatch` for rows that are not all one-dimensional, equally long and real floats.

    >>> import numpy as np
    >>> blocks = InMemory(np.zeros((2, 20)), block_columns=8)
    >>> list(blocks.map(lambda block, columns: block.shape))
    [(2, 8), (2, 8), (2, 4)]
    """

    def __init__(
        self,
        rows: Array | Sequence[Vector],
        block_columns: int | None = None,
        threads: int | None = None,
        first: int = 0,
    ) -> None:
        if isinstance(rows, np.ndarray) and rows.ndim != 2:
            raise ShapeMismatch(f"an array of updates must have shape (n, d), got {rows.shape}")
        self._rows = [np.asarray(row) for row in rows]
        for row in self._rows:
            if row.ndim != 1 or row.shape != self._rows[0].shape:
                raise ShapeMismatch(
                    f"every update must have shape ({self._rows[0].size},) like the first, "
                    f"one has {row.shape}"
                )
        dtype = worked_dtype(row.dtype for row in self._rows)
        d = self._rows[0].size if self._rows else 0
        super().__init__(len(self._rows), d, dtype, block_columns, threads, first)
        self._matrix = rows if isinstance(rows, np.ndarray) and _is_plain(rows, dtype) else None

    def _read(self, columns: slice, scratch: Callable[[], Array]) -> Array:
        if self._matrix is not None:
            return self._matrix[:, columns]
        block = scratch()
        widen([row[columns] for row in self._rows], block)
        return block

    def take(self, rows: Sequence[int]) -> InMemory:
        kept = [self._rows[row] for row in rows]
        return InMemory(kept, self.width, self._threads, self._first)

    def part(self, columns: slice) -> InMemory:
        """Some of the columns, which keep their place in the whole vector."""
        cut = self._matrix[:, columns] if self._matrix is not None else None
        rows = [row[columns] for row in self._rows] if cut is None else cut
        return InMemory(rows, self.width, self._threads, self._first + columns.start)


def _is_plain(rows: Array, dtype: np.dtype[Any]) -> bool:
    """Whether blocks can be views: native values, one after another in a row."""
    straight = rows.shape[1] >= FEWEST and rows.strides[1] == rows.itemsize
    return rows.dtype == dtype and rows.dtype.isnative and rows.flags.aligned and straight
