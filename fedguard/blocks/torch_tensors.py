"""Updates as torch tensors on any device: both passes run where the tensors are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch

from fedguard.blocks.protocol import Blocks, OnBlock, block_starts, canonical_columns
from fedguard.errors import ShapeMismatch

__all__ = ["TorchTensors"]

T = TypeVar("T")

WORKED = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.float32: torch.float32,
    torch.float64: torch.float64,
}


class TorchTensors(Blocks):
    """An (n, d) tensor or a sequence of (d,) tensors of one dtype on one device.

    float16 and bfloat16 are widened to float32 block by block. Only planning and the one row of
    the answer leave the device (AlignIns counts sizes on the CPU). A device's bits are its own:
    the same every time, close to but not those of the other backends. Raises `ShapeMismatch`.

    >>> list(TorchTensors(torch.eye(3)).map(lambda block, columns: tuple(block.shape)))
    [(3, 3)]
    """

    def __init__(
        self,
        rows: torch.Tensor | Sequence[torch.Tensor],
        block_columns: int | None = None,
    ) -> None:
        self._rows = [row.detach() for row in rows]
        first = self._rows[0] if self._rows else torch.empty(0)
        for row in self._rows:
            own, wanted = (
                (row.shape, row.dtype, row.device),
                (first.shape, first.dtype, first.device),
            )
            if row.ndim != 1 or own != wanted or row.dtype not in WORKED:
                raise ShapeMismatch(
                    "every update must be a tensor of shape (d,), a real float dtype and one "
                    f"device, like the first ({tuple(first.shape)}, {first.dtype}, "
                    f"{first.device}); one is {tuple(row.shape)}, {row.dtype}, {row.device}"
                )
        self._first, self._block_columns = first, block_columns
        self._matrix = rows.detach() if isinstance(rows, torch.Tensor) else None

    @property
    def n(self) -> int:
        return len(self._rows)

    @property
    def d(self) -> int:
        return self._first.numel()

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float64 if self._first.dtype == torch.float64 else np.float32)

    @property
    def width(self) -> int:
        """Columns of a block; the last may have fewer."""
        return self._block_columns or canonical_columns(self.n)

    def map(self, function: OnBlock[T]) -> Iterator[T]:
        starts = block_starts(self.d, self.width)
        for start in starts:
            columns = slice(start, self.d if start == starts[-1] else start + self.width)
            if self._matrix is not None:
                block = self._matrix[:, columns]
            else:
                block = torch.stack([row[columns] for row in self._rows])
            wide: Any = block.to(WORKED[block.dtype])
            yield function(wide, columns)

    def take(self, rows: Sequence[int]) -> TorchTensors:
        return TorchTensors([self._rows[row] for row in rows], self.width)
