"""What compiled kernels share: floats as integers of the same order, and rows as flat memory.

Processors have a minimum and a maximum of integers that need not think of NaN.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.extending import overload
from numpy.lib.stride_tricks import as_strided

from fedguard.types import Array

__all__ = ["compiled", "flat", "key", "load", "real"]


def compiled(function: Any, **options: Any) -> Any:
    """Compile on the first call, and keep the machine code where there is a place for it."""
    try:
        return numba.njit(nogil=True, cache=True, **options)(function)
    except RuntimeError:  # neither this directory nor the user's cache can be written
        return numba.njit(nogil=True, **options)(function)


def key(value: Any) -> Any:
    """A float as an integer of the same order."""


def real(key: Any) -> Any:
    """The float of a key."""


@overload(key)
def _key_of(value: Any) -> Any:
    def key32(value: Any) -> Any:
        return np.int32(_ordered(np.float32(value).view(np.int32), 31, 0x7FFFFFFF))

    def key64(value: Any) -> Any:
        return _ordered(np.float64(value).view(np.int64), 63, 0x7FFFFFFFFFFFFFFF)

    return key32 if value == numba.float32 else key64


@overload(real)
def _real_of(key: Any) -> Any:
    def real32(key: Any) -> Any:
        return np.int32(_ordered(key, 31, 0x7FFFFFFF)).view(np.float32)

    def real64(key: Any) -> Any:
        return np.int64(_ordered(key, 63, 0x7FFFFFFFFFFFFFFF)).view(np.float64)

    return real32 if key == numba.int32 else real64


@compiled
def _ordered(bits: Any, top: int, rest: int) -> Any:
    """Negative floats have their bits in falling order: turn all but the sign, there and back."""
    return bits ^ ((bits >> top) & rest)


@compiled
def load(values: Any, stride: int, start: int, width: int, keys: Any) -> None:
    for r in range(len(keys)):
        row, into = values[r * stride + start : r * stride + start + width], keys[r]
        for t in range(width):
            into[t] = key(row[t])


def flat(rows: Array) -> tuple[Array, int]:
    """All that the rows span in memory, read-only, and how many values lie from row to row."""
    straight = rows.strides[0] >= 0 and (rows.shape[1] < 2 or rows.strides[1] == rows.itemsize)
    rows = rows if straight and rows.flags.aligned else np.ascontiguousarray(rows)
    stride = rows.strides[0] // rows.itemsize
    span = (len(rows) - 1) * stride + rows.shape[1]
    return as_strided(rows, (span,), (rows.itemsize,), writeable=False), stride
