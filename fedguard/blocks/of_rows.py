"""Updates as blocks, wherever they lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedguard.blocks.in_memory import InMemory
from fedguard.blocks.local import LocalBlocks
from fedguard.blocks.memmap import Memmap
from fedguard.errors import ShapeMismatch
from fedguard.types import Vector

__all__ = ["blocks_of"]


def blocks_of(rows: Sequence[Vector | Path]) -> LocalBlocks:
    """Rows in memory, or all of them on disk as .npy files of shape (d,)."""
    paths = [row for row in rows if isinstance(row, Path)]
    if not paths:
        return InMemory([row for row in rows if not isinstance(row, Path)])
    if len(paths) < len(rows):
        raise ShapeMismatch("some updates lie in memory and some on disk")
    return Memmap(paths)
