"""Updates that lie on disk, together larger than memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.lib import format as npy

from fedguard.blocks.dtypes import widen, worked_dtype
from fedguard.blocks.local import LocalBlocks
from fedguard.errors import ShapeMismatch, UnreadableUpdate
from fedguard.types import Array

__all__ = ["Memmap"]

KEPT_OPEN = 256
"""Files kept open at once; a process may often have no more than 1024."""


class _Row(NamedTuple):
    """Where one row lies: `d` values of `dtype` in a file, from byte `offset`."""

    path: Path
    offset: int
    dtype: np.dtype[Any]
    d: int


class Memmap(LocalBlocks):
    """Rows in .npy files: one file of shape (n, d), or a file of shape (d,) for each update.

    Blocks are read with positioned reads and not through mapped pages, which would count as
    resident memory and would kill the process when a file shrinks under it. Memory is a block a
    thread. It pickles as paths, so workers that see the same disk read for themselves. Raises
    `ShapeMismatch`, or `UnreadableUpdate` for a file that is missing, damaged or cut short.

    >>> import tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "updates.npy"
    >>> np.save(path, np.ones((3, 20), np.float32))
    >>> list(Memmap(path, block_columns=8).map(lambda block, columns: float(block.sum())))
    [24.0, 24.0, 12.0]
    """

    def __init__(
        self,
        files: str | Path | Sequence[str | Path],
        block_columns: int | None = None,
        threads: int | None = None,
    ) -> None:
        self._files = _Files()
        if isinstance(files, str | Path):
            rows = _rows_of(Path(files), 2)
        else:
            rows = [row for file in files for row in _rows_of(Path(file), 1)]
        self._open(rows, slice(0, rows[0].d if rows else 0), block_columns, threads)

    def _open(
        self, rows: list[_Row], columns: slice, block_columns: int | None, threads: int | None
    ) -> None:
        for row in rows:
            if row.d != rows[0].d:
                raise ShapeMismatch(
                    f"every update must have {rows[0].d} values like {rows[0].path}, "
                    f"{row.path} has {row.d}"
                )
        self._rows = rows
        dtype = worked_dtype(row.dtype for row in rows)
        d = columns.stop - columns.start
        super().__init__(len(rows), d, dtype, block_columns, threads, columns.start)

    def _read(self, columns: slice, scratch: Callable[[], Array]) -> Array:
        block = scratch()
        for into, row in zip(block, self._rows, strict=True):
            values = into if row.dtype == into.dtype else np.empty(into.shape, row.dtype)
            at = row.offset + (self._first + columns.start) * row.dtype.itemsize
            self._files.fill(row.path, values, at)
            if values is not into:
                widen([values], into[None])
        return block

    def take(self, rows: Sequence[int]) -> Memmap:
        return self._with([self._rows[row] for row in rows], slice(0, self.d))

    def part(self, columns: slice) -> Memmap:
        """Some of the columns, which keep their place in the whole vector."""
        return self._with(self._rows, columns)

    def _with(self, rows: list[_Row], columns: slice) -> Memmap:
        other = Memmap.__new__(Memmap)
        other._files = self._files
        moved = slice(self._first + columns.start, self._first + columns.stop)
        other._open(rows, moved, self.width, self._threads)
        return other


def _rows_of(path: Path, ndim: int) -> list[_Row]:
    """The rows a file promises, once it is long enough to hold them."""
    try:
        with path.open("rb") as file:
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, by_column, dtype = read(file)
            offset, size = file.tell(), os.fstat(file.fileno()).st_size
    except (OSError, ValueError) as error:
        raise UnreadableUpdate(str(path), str(error)) from error
    if len(shape) != ndim or (by_column and ndim > 1):
        wanted = "(n, d), row by row" if ndim == 2 else "(d,)"
        raise ShapeMismatch(f"{path} must hold an array of shape {wanted}, it has {shape}")
    if min(shape) < 0:
        raise UnreadableUpdate(str(path), f"it promises an array of shape {shape}")
    worked_dtype([dtype])
    *_, d = shape
    n = shape[0] if ndim == 2 else 1
    row_bytes = d * dtype.itemsize
    if size < offset + n * row_bytes:
        why = f"it has {size} bytes and promises {offset + n * row_bytes}"
        raise UnreadableUpdate(str(path), why)
    return [_Row(path, offset + row * row_bytes, dtype, d) for row in range(n)]


class _Files:
    """Open files, kept while they are few, so that every pass reads the same ones."""

    def __init__(self) -> None:
        self._kept: dict[Path, int] = {}
        self._lock = Lock()

    @contextmanager
    def opened(self, path: Path) -> Iterator[int]:
        with self._lock:
            file = self._kept.get(path)
            if file is None and len(self._kept) < KEPT_OPEN:
                file = self._kept[path] = os.open(path, os.O_RDONLY)
        if file is not None:
            yield file
            return
        file = os.open(path, os.O_RDONLY)
        try:
            yield file
        finally:
            os.close(file)

    def fill(self, path: Path, values: Array, at: int) -> None:
        """Read exactly `values.nbytes` bytes from byte `at`."""
        wanted = values.view(np.uint8).data
        try:
            with self.opened(path) as file:
                while wanted and (got := os.preadv(file, [wanted], at)):
                    wanted, at = wanted[got:], at + got
        except OSError as error:
            raise UnreadableUpdate(str(path), str(error)) from error
        if wanted:
            raise UnreadableUpdate(str(path), f"it ends at byte {at}: was it cut short?")

    def __reduce__(self) -> tuple[type[_Files], tuple[()]]:
        return _Files, ()

    def __del__(self) -> None:
        for file in self._kept.values():
            os.close(file)
