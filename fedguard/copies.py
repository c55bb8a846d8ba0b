"""Who sent what another sent, compiled: every pair is looked at, most are told apart at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedguard.compiled import compiled
from fedguard.probes import Float64

__all__ = ["first_copies"]

SAME = 1e-6
"""Rows are copies when their squared distance is below this part of their squared norm."""


@compiled
def _first(gram: Any, order: Any, same: float, first: Any) -> None:
    for place in range(len(order)):
        row = order[place]
        for before in range(place):
            other = order[before]
            apart = gram[row, row] + gram[other, other] - 2.0 * gram[row, other]
            if apart <= same * max(gram[row, row], gram[other, other]) and gram[row, row] > 0:
                first[row] = other
                break


def first_copies(gram: Float64, order: NDArray[np.intp]) -> NDArray[np.intp]:
    """For each row the first in `order` that is the same but for rounding, else itself.

    Two honest clients do not come to the same update; rows of zeros are copies of nobody.

    >>> rows = np.array([[1.0, 2.0], [0.0, 0.0], [1.0, 2.0], [0.0, 0.0]])
    >>> first_copies(rows @ rows.T, order=np.array([3, 2, 1, 0]))
    array([2, 1, 2, 3])
    """
    first = np.arange(len(gram))
    _first(gram, np.asarray(order, np.intp), SAME, first)
    return first
