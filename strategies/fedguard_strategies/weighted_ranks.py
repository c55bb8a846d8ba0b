"""Weighted quantiles of every column, compiled: each found by bisection over the values' bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedguard.compiled import compiled, flat, load, real
from fedguard.types import Array

__all__ = ["weighted_mean_between"]

COLUMNS = 64
"""Columns that are worked out of one panel."""


@compiled
def _weight_up_to(column: Any, weights: Any, limit: Any) -> Any:
    total = weights[0] - weights[0]  # as wide as the keys, or the loop is half as fast
    for r in range(len(column)):
        total += weights[r] if column[r] <= limit else 0
    return total


@compiled
def _quantile(column: Any, weights: Any, target: int) -> Any:
    """The least key up to which lies more than `target`, what lies below it, and up to it."""
    of = column.dtype.type
    low, high = np.int64(column.min()) - 1, np.int64(column.max())
    below, up_to = np.int64(0), np.int64(weights.sum())
    while low + 1 < high:
        middle = (low & high) + ((low ^ high) >> 1)
        got = np.int64(_weight_up_to(column, weights, of(middle)))
        if got > target:
            high, up_to = middle, got
        else:
            low, below = middle, got
    return high, below, up_to


@compiled
def _means_between(
    values: Any, stride: int, weights: Any, first: int, last: int, keys: Any, out: Any
) -> None:
    of = keys.dtype.type
    columns = len(keys)
    for start in range(0, len(out), columns):
        width = min(columns, len(out) - start)
        load(values, stride, start, width, keys.T)
        for c in range(width):
            column = keys[c]
            low, _, up_to = _quantile(column, weights, first)
            high, below, _ = _quantile(column, weights, last - 1)
            if low == high:
                out[start + c] = real(of(low))
                continue
            total = (up_to - first) * np.float64(real(of(low)))
            total += (last - below) * np.float64(real(of(high)))
            for r in range(len(column)):
                if low < column[r] < high:
                    total += weights[r] * np.float64(real(column[r]))
            out[start + c] = total / (last - first)


def weighted_mean_between(rows: Array, shares: NDArray[np.int64], first: int, last: int) -> Array:
    """The weighted mean of what lies between two quantiles of every column, shape (1, columns).

    `shares` are weights that sum to less than 2^31, shape (n,); of every column, sorted, the
    first `first` of their sum and all beyond `last` are dropped.
    """
    n, columns = rows.shape
    out = np.empty((1, columns), rows.dtype)
    keys = np.empty((COLUMNS, n), f"i{rows.itemsize}")
    _means_between(*flat(rows), shares.astype(keys.dtype), first, last, keys, out[0])
    return out
