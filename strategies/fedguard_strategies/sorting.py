"""Order statistics of every column, compiled: what the coordinate-wise rules are made of.

A panel of columns is copied, row by row, to where the second-level cache holds it. A network
then sorts a tile of the panel at a time, comparing whole rows of the tile; for very many rows
the ends of each column are found by bisection, at a cost linear in n.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from fedguard.compiled import compiled, flat, load, real
from fedguard.types import Array
from fedguard_strategies.networks import by_fours

__all__ = ["mean_around_middle", "mean_of_ranks"]

TILE = 64
"""Columns that a comparator takes at once: 100 rows of them fit the first-level cache."""
PANEL_BYTES = 2**18
PADDING = 16
"""Rows of a panel must not lie a power of two apart, or they share few sets of the cache."""
NETWORK_UP_TO = 1024
"""Rows up to which sorting all of a column is faster than bisecting for its ends."""
BISECTED = 64
"""Columns that are bisected out of one panel."""


@compiled
def _sort_tile(keys: Any, at: int, steps: Any) -> None:
    """Run the steps of a network (see `networks.FOURS`) on a tile, whole rows at a time."""
    for s in range(len(steps)):
        a, b = keys[steps[s, 0], at : at + TILE], keys[steps[s, 1], at : at + TILE]
        c, d = keys[steps[s, 2], at : at + TILE], keys[steps[s, 3], at : at + TILE]
        which = steps[s, 4]
        if which == 0:
            for t in range(TILE):
                w, x = a[t], b[t]
                a[t], b[t] = min(w, x), max(w, x)
        elif which == 1:
            for t in range(TILE):
                w, x, y, z = a[t], b[t], c[t], d[t]
                w, x, y, z = min(w, x), max(w, x), min(y, z), max(y, z)
                w, x, y, z = min(w, y), min(x, z), max(w, y), max(x, z)
                a[t], b[t], c[t], d[t] = w, min(x, y), max(x, y), z
        elif which == 2:
            for t in range(TILE):
                w, x, y, z = a[t], b[t], c[t], d[t]
                w, x, y, z = min(w, x), max(w, x), min(y, z), max(y, z)
                a[t], b[t], c[t], d[t] = min(w, y), min(x, z), max(w, y), max(x, z)
        elif which == 3:
            for t in range(TILE):
                w, x, y, z = a[t], b[t], c[t], d[t]
                w, x, y, z = min(w, y), min(x, z), max(w, y), max(x, z)
                a[t], b[t], c[t], d[t] = w, min(x, y), max(x, y), z
        else:
            for t in range(TILE):
                w, x, y, z = a[t], b[t], c[t], d[t]
                w, x, y, z = min(w, x), max(w, x), min(y, z), max(y, z)
                a[t], b[t], c[t], d[t] = w, min(x, y), max(x, y), z


@compiled
def _add_rows(keys: Any, at: int, first: int, last: int, sums: Any) -> None:
    """Add rows first..last-1 of a tile, four at a time."""
    sums[:] = 0.0
    for r in range(first, last - 3, 4):
        a, b = keys[r, at : at + TILE], keys[r + 1, at : at + TILE]
        c, d = keys[r + 2, at : at + TILE], keys[r + 3, at : at + TILE]
        for t in range(TILE):
            one = np.float64(real(a[t])) + np.float64(real(b[t]))
            sums[t] += one + (np.float64(real(c[t])) + np.float64(real(d[t])))
    for r in range(last - (last - first) % 4, last):
        row = keys[r, at : at + TILE]
        for t in range(TILE):
            sums[t] += np.float64(real(row[t]))


@compiled
def _sorted_means(
    values: Any, stride: int, steps: Any, first: int, last: int, keys: Any, out: Any
) -> None:
    """The mean of ranks first..last-1 of each column."""
    sums = np.empty(TILE, np.float64)
    scale = 1.0 / (last - first)
    wide = keys.shape[1] - PADDING
    for start in range(0, len(out), wide):
        width = min(wide, len(out) - start)
        load(values, stride, start, width, keys)
        for at in range(0, width, TILE):
            _sort_tile(keys, at, steps)
            _add_rows(keys, at, first, last, sums)
            for t in range(min(TILE, width - at)):
                out[start + at + t] = sums[t] * scale


@compiled
def _sorted_windows(values: Any, stride: int, steps: Any, keep: int, keys: Any, out: Any) -> None:
    """The mean of the `keep` values of each column that lie nearest its median."""
    n = len(keys)
    sums, middle = np.empty(TILE, np.float64), np.empty(TILE, np.float64)
    first = np.empty(TILE, np.int32)
    wide = keys.shape[1] - PADDING
    for start in range(0, len(out), wide):
        width = min(wide, len(out) - start)
        load(values, stride, start, width, keys)
        for at in range(0, width, TILE):
            _sort_tile(keys, at, steps)
            one, other = keys[(n - 1) // 2, at : at + TILE], keys[n // 2, at : at + TILE]
            for t in range(TILE):
                middle[t] = 0.5 * np.float64(real(one[t])) + 0.5 * np.float64(real(other[t]))
            first[:] = 0
            for r in range(n - keep):
                below, above = keys[r, at : at + TILE], keys[r + keep, at : at + TILE]
                for t in range(TILE):
                    first[t] += middle[t] - real(below[t]) > real(above[t]) - middle[t]
            sums[:] = 0.0
            for r in range(n):
                row = keys[r, at : at + TILE]
                for t in range(TILE):
                    sums[t] += real(row[t]) if first[t] <= r < first[t] + keep else 0.0
            for t in range(min(TILE, width - at)):
                out[start + at + t] = sums[t] / keep


@compiled
def _at_most(column: Any, limit: Any) -> Any:
    count = np.int32(0)  # as wide as the keys, or the loop is half as fast
    for r in range(len(column)):
        count = np.int32(count + (column[r] <= limit))
    return count


@compiled
def _cut(column: Any, rank: int) -> Any:
    """A key, how many values are at most the key, never more than `rank`, and the next value's key.

    Where they are fewer than `rank`, the missing ones equal the next value.
    """
    low, high, count = np.int64(column.min()) - 1, np.int64(column.max()), 0
    if rank == len(column):
        return high, rank, high
    while count < rank and low + 1 < high:
        middle = (low & high) + ((low ^ high) >> 1)
        got = _at_most(column, column.dtype.type(middle))
        if got <= rank:
            low, count = middle, got
        else:
            high = middle
    return low, count, high


@partial(compiled, fastmath={"reassoc"})
def _sum_between(column: Any, low: Any, high: Any) -> float:
    total = 0.0
    for r in range(len(column)):
        total += np.float64(real(column[r])) if low < column[r] <= high else 0.0
    return total


@compiled
def _bisected_means(values: Any, stride: int, first: int, last: int, keys: Any, out: Any) -> None:
    """As `_sorted_means`, without sorting; `keys` holds columns as its rows."""
    columns = len(keys)
    of = keys.dtype.type
    for start in range(0, len(out), columns):
        width = min(columns, len(out) - start)
        load(values, stride, start, width, keys.T)
        for c in range(width):
            low, under, at_first = _cut(keys[c], first)
            high, up_to, at_last = _cut(keys[c], last)
            total = _sum_between(keys[c], low, high)
            total += (last - up_to) * np.float64(real(of(at_last)))
            total -= (first - under) * np.float64(real(of(at_first)))
            out[start + c] = total / (last - first)


def _panel(n: int, dtype: np.dtype[Any]) -> Any:
    """Room for the keys of whole tiles, as many as the bytes of a panel allow."""
    tiles = max(PANEL_BYTES // (n * dtype.itemsize) // TILE, 1)
    return np.empty((n, tiles * TILE + PADDING), f"i{dtype.itemsize}")


def mean_of_ranks(rows: Array, first: int, last: int) -> Array:
    """See `fedguard_strategies.ranks`."""
    n, columns = rows.shape
    out = np.empty((1, columns), rows.dtype)
    if n <= NETWORK_UP_TO:
        steps = by_fours(n, first, last)
        _sorted_means(*flat(rows), steps, first, last, _panel(n, rows.dtype), out[0])
    else:
        keys = np.empty((BISECTED, n), f"i{rows.itemsize}")
        _bisected_means(*flat(rows), first, last, keys, out[0])
    return out


def mean_around_middle(rows: Array, keep: int) -> Array:
    """See `fedguard_strategies.ranks`."""
    n, columns = rows.shape
    out = np.empty((1, columns), rows.dtype)
    steps = by_fours(n, 0, n, ordered=True)
    _sorted_windows(*flat(rows), steps, keep, _panel(n, rows.dtype), out[0])
    return out
