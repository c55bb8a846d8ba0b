"""Every pair of rows of a Gram matrix in one pass, compiled."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from fedguard.compiled import compiled
from fedguard.probes import Float64

__all__ = ["angles", "apart", "closest"]


@compiled
def _angles(gram: Any, scale: Any, found: Any) -> None:
    for row in range(len(gram)):
        own, into, factor = gram[row], found[row], scale[row]
        for other in range(len(own)):
            value = own[other] * factor * scale[other]
            into[other] = -1.0 if value < -1.0 else (1.0 if value > 1.0 else value)


@compiled
def _apart(gram: Any, squares: Any, first: int, found: Any) -> None:
    for place in range(len(found)):
        row = first + place
        own, into, square = gram[row], found[place], squares[row]
        for other in range(len(own)):
            value = square + squares[other] - 2.0 * own[other]
            into[other] = 0.0 if value <= 0.0 else value
        into[row] = 0.0


@partial(compiled, fastmath={"nnan", "nsz"})
def _closest(gram: Any, own: Any, others: Any, scale: Any, found: Any) -> None:
    for row in range(len(gram)):
        values, mine, factor, most = gram[row], own[row], scale[row], found[row]
        for other in range(row):
            most = max(most, (values[other] - mine - others[other]) * factor * scale[other])
        for other in range(row + 1, len(values)):
            most = max(most, (values[other] - mine - others[other]) * factor * scale[other])
        found[row] = most


def angles(gram: Float64, scale: Float64) -> Float64:
    """G times the scales of both rows, in [-1, 1], shape (n, n)."""
    found = np.empty(gram.shape)
    _angles(np.ascontiguousarray(gram), scale, found)
    return found


def apart(gram: Float64, rows: slice) -> Float64:
    """Squared distances of `rows` to every row; what rounding leaves below zero is none."""
    first, until, _ = rows.indices(len(gram))
    found = np.empty((until - first, len(gram)))
    _apart(np.ascontiguousarray(gram), np.diagonal(gram).copy(), first, found)
    return found


def closest(gram: Float64, own: Float64, others: Float64, scale: Float64) -> Float64:
    """Of every row the largest of (G - own - others) times both scales, itself left out, from -1.

    `own` belongs to the row and `others` to those it is compared with; nothing may be NaN.
    """
    found = np.full(len(gram), -1.0)
    _closest(np.ascontiguousarray(gram), own, others, scale, found)
    return found
