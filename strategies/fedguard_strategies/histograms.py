"""How many values of every row have which size, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.compiled import compiled
from fedguard.probes import Float64
from fedguard.types import Array

__all__ = ["CLASSES", "count_by_size"]

DROPPED_BITS = 22
"""Of a float32: what is left is eight bits of exponent and one of mantissa."""
CLASSES = 2 ** (31 - DROPPED_BITS)


@compiled
def _count(rows: Any, marked: Any, counts: Any) -> None:
    for r in range(rows.shape[0]):
        row, marks, total, hits = rows[r], marked[r], counts[r, 0], counts[r, 1]
        for c in range(len(row)):
            size = np.float32(row[c]).view(np.int32) & 0x7FFFFFFF
            place = CLASSES - 1 - (size >> DROPPED_BITS)
            total[place] += 1.0
            hits[place] += marks[c]


def count_by_size(rows: Array, marked: Array) -> Float64:
    """Values in every class of size, and of these the marked ones: float64, (n, 2, CLASSES).

    `rows` is finite or not, float, shape (n, columns), `marked` bool of that shape. Two classes an
    octave, the largest values first.
    """
    counts = np.zeros((rows.shape[0], 2, CLASSES))
    _count(rows, marked, counts)
    return counts
