"""Where a round's updates lie until it is over: in memory, or on disk when they are too many."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType

import numpy as np

from fedguard.types import Vector

__all__ = ["Spool"]


class Spool:
    """Keeps the rows of one round, `count` at most, in `budget` bytes of memory or else on disk.

    Files go to a folder of the round's own in `folder` (the system's for temporary files), which
    is gone when the round is over.
    """

    def __init__(self, count: int, row_bytes: int, budget: int, folder: Path | None) -> None:
        self._on_disk = count * row_bytes > budget
        self._kept, self._parent, self._row_bytes = 0, folder, row_bytes
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Spool:
        if self._on_disk:
            self._folder = tempfile.TemporaryDirectory(prefix="fedguard-round-", dir=self._parent)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._folder:
            self._folder.cleanup()

    @property
    def bytes(self) -> int:
        """What is kept, wherever it lies."""
        return self._kept * self._row_bytes

    def keep(self, row: Vector) -> Vector | Path:
        """The row, or the file that it went to."""
        self._kept += 1
        if not self._folder:
            return row
        path = Path(self._folder.name) / f"{self._kept}.npy"
        np.save(path, row)
        return path
