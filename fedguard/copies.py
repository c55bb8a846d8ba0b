"""Who sent what another sent, compiled: every pair is looked at, most are told apart at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedguard.compiled import compiled
from fedguard.probes import Float64

__all__ = ["first_copies"]

SAME = 1e-6
"""Rows are copies when their squared distance is below this part of their squared norm,"""
NEAR = 0.005
"""or below this part of what is usual among all: of honest clients only those come so near, and
rarely, who have a few examples of one class each."""
SEEN = 500
"""Rows of which what is usual is told: spread over all, where there are more."""


@compiled
def _first(gram: Any, squares: Any, order: Any, same: float, near: float, first: Any) -> None:
    for place in range(len(order)):
        row = order[place]
        if not squares[row] > 0:
            continue
        for before in range(place):
            other = order[before]
            apart = squares[row] + squares[other] - 2.0 * gram[row, other]
            if apart <= max(same * max(squares[row], squares[other]), near):
                first[row] = other
                break


@compiled
def _put_apart(gram: Any, squares: Any, every: int, found: Any) -> None:
    place = 0
    for row in range(0, len(gram), every):
        for other in range(row + every, len(gram), every):
            found[place] = squares[row] + squares[other] - 2.0 * gram[row, other]
            place += 1


def first_copies(gram: Float64, order: NDArray[np.intp]) -> NDArray[np.intp]:
    """For each row the first in `order` that is the same, or all but the same, else itself.

    Two honest clients do not come to the same update; rows of zeros are copies of nobody. What is
    usual is the lower quartile of all pairs' squared distances: of less than half of the rows come
    less than a quarter of the pairs, of the others more, so it is neither as small as liars who sit
    together make theirs, nor as large as those far out do.

    >>> rows = np.array([[1.0, 2.0], [0.0, 0.0], [1.0, 2.0], [0.0, 0.0]])
    >>> first_copies(rows @ rows.T, order=np.array([3, 2, 1, 0]))
    array([2, 1, 2, 3])
    """
    first, squares = np.arange(len(gram)), np.diagonal(gram).copy()
    near = NEAR * _usual(gram, squares)
    _first(gram, squares, np.asarray(order, np.intp), SAME, near, first)
    return first


def _usual(gram: Float64, squares: Float64) -> float:
    """The lower quartile of two rows' squared distances, 0 where there is one row."""
    every = max(-(-len(gram) // SEEN), 1)
    some = -(-len(gram) // every)
    if some < 2:
        return 0.0
    apart = np.empty(some * (some - 1) // 2)
    _put_apart(gram, squares, every, apart)
    return float(np.quantile(apart, 0.25))
