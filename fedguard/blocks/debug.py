"""Another backend, with every function on every block checked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedguard.blocks.protocol import Blocks, OnBlock, Terms
from fedguard.errors import FedguardError, StageFailed
from fedguard.types import Array

__all__ = ["Debug"]

T = TypeVar("T")


class Debug(Blocks):
    """Any backend, with every function on every block checked and its failures explained.

    A function that raises, changes its input, returns a view of it or answers differently the
    second time ends in `StageFailed`, which names the stage, the columns and what was wrong.
    """

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks

    @property
    def n(self) -> int:
        return self._blocks.n

    @property
    def d(self) -> int:
        return self._blocks.d

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._blocks.dtype

    def take(self, rows: Sequence[int]) -> Debug:
        return Debug(self._blocks.take(rows))

    def write(self, function: OnBlock[Array], out: Array) -> None:
        Blocks.write(self._blocks, _checked(function), out)

    def total(self, function: OnBlock[Terms]) -> Terms | None:
        return Blocks.total(self._blocks, _checked(function))

    def map(self, function: OnBlock[T]) -> Iterator[T]:
        return self._blocks.map(_checked(function))


def _checked(function: OnBlock[T]) -> Callable[[Array, slice], T]:
    name = str(getattr(function, "name", None) or getattr(function, "__name__", "function"))

    def run(block: Array, columns: slice) -> T:
        before, own = block.copy(), block.copy()
        try:
            result = function(own, columns)
            again = function(before.copy(), columns)
        except FedguardError:
            raise
        except Exception as error:
            raise StageFailed(
                name, columns, block.shape, f"{error!r}; {_describe(before)}"
            ) from error
        if not _same(own, before):
            raise StageFailed(name, columns, block.shape, "it changed its input")
        parts = result if isinstance(result, tuple) else (result,)
        if any(isinstance(part, np.ndarray) and np.shares_memory(part, own) for part in parts):
            raise StageFailed(name, columns, block.shape, "it returned a view of its input")
        if not _same(result, again):
            raise StageFailed(name, columns, block.shape, "it answered differently twice")
        return result

    return run


def _describe(block: Array) -> str:
    wild = np.flatnonzero(~np.isfinite(block).all(axis=1))
    if wild.size:
        return f"rows {wild.tolist()} of its input are not finite"
    return "its input is finite"


def _same(one: object, other: object) -> bool:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if not isinstance(one, np.ndarray):
        return bool(one == other)
    left: NDArray[Any] = one
    return isinstance(other, np.ndarray) and left.tobytes() == other.tobytes()
