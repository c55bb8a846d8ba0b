"""Execution backends: a matrix of updates, met one block of columns at a time, always in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cache
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from fedguard.errors import FedguardError, InvalidParameter, ShapeMismatch, StageFailed
from fedguard.types import Array, Vector

__all__ = ["BLOCK_COLUMNS", "Blocks", "Debug", "InMemory", "OnBlock", "one_blas_thread"]

BLOCK_COLUMNS = 8192
"""The canonical block: sums over blocks are taken in this size and order on every backend."""

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class OnBlock(Protocol[T_co]):
    """A pure function of one block, shape (n, columns), and of where it lies in the vector."""

    def __call__(self, block: Array, columns: slice, /) -> T_co: ...


@runtime_checkable
class Blocks(Protocol):
    """n rows of d coordinates that nobody needs to hold whole."""

    @property
    def n(self) -> int: ...
    @property
    def d(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def map(self, function: OnBlock[T]) -> Iterator[T]:
        """Yield `function(block, columns)` over all blocks, left to right."""

    def take(self, rows: Sequence[int]) -> Blocks:
        """The same columns of some of the rows, in the order given."""


class InMemory:
    """Rows that lie in memory, as an (n, d) array or a sequence of (d,) arrays; never copied whole.

    >>> import numpy as np
    >>> blocks = InMemory(np.arange(6.0).reshape(2, 3), block_columns=2)
    >>> [block.shape for block in blocks.map(lambda block, columns: block)]
    [(2, 2), (2, 1)]
    """

    def __init__(self, rows: Array | Sequence[Vector], block_columns: int = BLOCK_COLUMNS) -> None:
        if block_columns < 1:
            raise InvalidParameter(f"block_columns must be at least 1, got {block_columns}")
        self._rows = [np.asarray(row) for row in rows]
        self._block_columns = block_columns
        for row in self._rows:
            if row.ndim != 1 or row.shape != self._rows[0].shape:
                raise ShapeMismatch(
                    f"every update must have shape {self._rows[0].shape} like the first, "
                    f"one has {row.shape}"
                )
            if row.dtype.kind != "f":
                raise ShapeMismatch(f"updates must be real floats, one is {row.dtype}")

    @property
    def n(self) -> int:
        return len(self._rows)

    @property
    def d(self) -> int:
        return self._rows[0].shape[0] if self._rows else 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype blocks are worked in: at least float32."""
        return np.result_type(np.float32, *{row.dtype for row in self._rows})

    def map(self, function: OnBlock[T]) -> Iterator[T]:
        for start in range(0, self.d, self._block_columns):
            columns = slice(start, min(start + self._block_columns, self.d))
            block = np.empty((self.n, columns.stop - start), self.dtype)
            for row, values in zip(block, self._rows, strict=True):
                row[:] = values[columns]
            yield function(block, columns)

    def take(self, rows: Sequence[int]) -> InMemory:
        return InMemory([self._rows[row] for row in rows], self._block_columns)


class Debug:
    """Another backend, with every function on every block checked and its failures explained.

    A function that raises, changes its input or answers differently the second time ends in
    `StageFailed`, which names the stage, the columns and what was wrong with the inputs.
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

    def map(self, function: OnBlock[T]) -> Iterator[T]:
        return self._blocks.map(_checked(function))


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()


def one_blas_thread() -> AbstractContextManager[Any]:
    """Run BLAS in the calling thread: blocks fit the cache, and the bits depend on no core count.

    (A threaded OpenBLAS also spins after each call and slows whatever runs next.)
    """
    limits: AbstractContextManager[Any] = _blas().limit(limits=1, user_api="blas")
    return limits


def _checked(function: OnBlock[T]) -> Callable[[Array, slice], T]:
    name = str(getattr(function, "name", None) or getattr(function, "__name__", "function"))

    def run(block: Array, columns: slice) -> T:
        before = block.copy()
        try:
            result = function(block, columns)
            again = function(before.copy(), columns)
        except FedguardError:
            raise
        except Exception as error:
            raise StageFailed(
                name, columns, block.shape, f"{error!r}; {_describe(before)}"
            ) from error
        if not _same(block, before):
            raise StageFailed(name, columns, block.shape, "it changed its input")
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
