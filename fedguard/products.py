"""Sums over a block's columns, compiled: products of few rows, squares, sketches."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedguard.compiled import compiled, flat
from fedguard.types import Array

__all__ = ["FEW_ROWS_BYTES", "folded", "products", "squares"]

FEW_ROWS_BYTES = 512
"""Of a column, up to which these loops are faster than a BLAS: 128 rows of float32."""
COLUMNS = 1024
"""Columns that are summed in the rows' own dtype, before float64 takes over: a tile fits L1."""
DOWN, ACROSS = 4, 3
"""A tile: twelve sums and what they multiply stay in the sixteen registers that AVX2 has."""

_vectorised = partial(compiled, fastmath={"reassoc", "contract", "nsz"})


@_vectorised
def _add_tile(values: Any, rows: Any, others: Any, width: int, sums: Any) -> None:
    """Add the products of four rows with three others, which begin at these places."""
    a, b = values[rows[0] : rows[0] + width], values[rows[1] : rows[1] + width]
    c, d = values[rows[2] : rows[2] + width], values[rows[3] : rows[3] + width]
    p, q = values[others[0] : others[0] + width], values[others[1] : others[1] + width]
    r = values[others[2] : others[2] + width]
    zero = values.dtype.type(0)
    ap, aq, ar, bp, bq, br = zero, zero, zero, zero, zero, zero
    cp, cq, cr, dp, dq, dr = zero, zero, zero, zero, zero, zero
    for k in range(width):
        ap, aq, ar = ap + a[k] * p[k], aq + a[k] * q[k], ar + a[k] * r[k]
        bp, bq, br = bp + b[k] * p[k], bq + b[k] * q[k], br + b[k] * r[k]
        cp, cq, cr = cp + c[k] * p[k], cq + c[k] * q[k], cr + c[k] * r[k]
        dp, dq, dr = dp + d[k] * p[k], dq + d[k] * q[k], dr + d[k] * r[k]
    for row, three in enumerate(((ap, aq, ar), (bp, bq, br), (cp, cq, cr), (dp, dq, dr))):
        for column, product in enumerate(three):
            sums[row, column] += np.float64(product)


@compiled
def _add_products(values: Any, stride: int, last: int, columns: int, sums: Any) -> None:
    """The upper triangle of X Xᵀ in tiles of `DOWN` by `ACROSS`; the last row fills up a tile."""
    for start in range(0, columns, COLUMNS):
        width = min(COLUMNS, columns - start)
        for i in range(0, last + 1, DOWN):
            rows = (
                i * stride + start,
                min(i + 1, last) * stride + start,
                min(i + 2, last) * stride + start,
                min(i + 3, last) * stride + start,
            )
            for j in range(i - i % ACROSS, last + 1, ACROSS):
                others = (
                    j * stride + start,
                    min(j + 1, last) * stride + start,
                    min(j + 2, last) * stride + start,
                )
                _add_tile(values, rows, others, width, sums[i : i + DOWN, j : j + ACROSS])


@_vectorised
def _add_squares(values: Any, stride: int, columns: int, sums: Any) -> None:
    for row in range(len(sums)):
        for start in range(0, columns, COLUMNS):
            at = row * stride + start
            part = values[at : at + min(COLUMNS, columns - start)]
            total = values.dtype.type(0)
            for k in range(len(part)):
                total += part[k] * part[k]
            sums[row] += np.float64(total)


@compiled
def _fold(values: Any, stride: int, drawn: Any, first: int, sums: Any) -> None:
    size = sums.shape[1]
    for row in range(len(sums)):
        into, at, start = sums[row], first, 0
        into[:] = 0.0
        while start < len(drawn):
            width = min(size - at, len(drawn) - start)
            own = values[row * stride + start : row * stride + start + width]
            sign = drawn[start : start + width]
            part = into[at : at + width]
            for k in range(width):
                part[k] += np.float64(own[k]) * sign[k]
            at, start = 0, start + width


def products(block: Array) -> Array:
    """X Xᵀ of one block of float rows, shape (n, n), float64."""
    n, columns = block.shape
    if not block.size:
        return np.zeros((n, n))
    if n * block.itemsize > FEW_ROWS_BYTES:
        wide: Array = (block @ block.T).astype(np.float64, copy=False)
        return wide
    sums = np.zeros((-(-n // DOWN) * DOWN, -(-n // ACROSS) * ACROSS))
    _add_products(*flat(block), n - 1, columns, sums)
    upper: Array = np.triu(sums[:n, :n])
    return upper + np.triu(upper, 1).T


def folded(block: Array, drawn: NDArray[np.int8], first: int, size: int) -> NDArray[np.float64]:
    """Every row times signs, added up in `size` buckets from bucket `first` on; (n, size)."""
    if not block.size:
        return np.zeros((len(block), size))
    sums = np.empty((len(block), size))
    _fold(*flat(block), drawn, first, sums)
    return sums


def squares(block: Array) -> Array:
    """The squared norm of every row of one block, shape (n,), float64."""
    sums = np.zeros(len(block))
    if block.size:
        _add_squares(*flat(block), block.shape[1], sums)
    return sums
