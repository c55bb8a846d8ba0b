"""Half precision there and back, compiled: numpy goes value by value and takes 20 times as long."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedguard.compiled import compiled

__all__ = ["narrowed", "widen_rows", "widened"]

SIGN, MAGNITUDE = np.uint32(0x8000), np.uint32(0x7FFF)
SMALLEST, WILD = np.uint32(0x0400), np.uint32(0x7C00)
"""Halves from which digits are whole, and from which they are no number, signs left out."""
ALL_ONES = np.uint32(0x7F800000)
"""The exponent of what is no number, as float32."""
REBIASED, LEAST = np.uint32(112 << 23), np.uint32(113 << 23)
"""What exponents of float32 have more than those of halves, and the bits of 2**-14."""
UNIT = np.float32(2.0**-14)


@compiled
def _widen(halves: Any, wide: Any) -> None:
    """Bits of halves into bits of float32; too small for whole digits is what a sum leaves."""
    for k in range(len(halves)):
        half = np.uint32(halves[k])
        rest = np.uint32(half & MAGNITUDE)
        shifted = np.uint32(rest << 13)
        usual = np.uint32(shifted + REBIASED)
        small = np.float32(np.uint32(shifted + LEAST).view(np.float32) - UNIT).view(np.uint32)
        wild = np.uint32(shifted | ALL_ONES)
        bits = small if rest < SMALLEST else (wild if rest >= WILD else usual)
        wide[k] = np.uint32(bits | np.uint32(np.uint32(half & SIGN) << 16))


@compiled
def _narrow32(values: Any, halves: Any) -> None:
    """Bits of float32 into bits of halves, to the nearest, of two equally near to the even one."""
    for k in range(len(values)):
        whole = np.uint32(values[k])
        rest = np.uint32(whole & np.uint32(0x7FFFFFFF))
        odd = np.uint32(np.uint32(rest >> 13) & np.uint32(1))
        usual = np.uint32(np.uint32(rest - REBIASED + np.uint32(0xFFF) + odd) >> 13)
        summed = np.float32(rest.view(np.float32) + np.float32(0.5)).view(np.uint32)
        small = np.uint32(summed - np.uint32(126 << 23))
        wild = np.uint32(0x7E00) if rest > ALL_ONES else WILD
        bits = small if rest < LEAST else (wild if rest >= np.uint32(143 << 23) else usual)
        halves[k] = np.uint16(bits | np.uint32(np.uint32(whole >> 16) & SIGN))


@compiled
def _narrow64(values: Any, halves: Any) -> None:
    """The same of float64: by way of float32 some would be rounded twice."""
    for k in range(len(values)):
        whole = np.uint64(values[k])
        rest = np.uint64(whole & np.uint64(0x7FFFFFFFFFFFFFFF))
        odd = np.uint64(np.uint64(rest >> np.uint64(42)) & np.uint64(1))
        moved = np.uint64(rest - np.uint64(1008 << 52) + np.uint64((1 << 41) - 1) + odd)
        usual = np.uint64(moved >> np.uint64(42))
        summed = np.float64(rest.view(np.float64) + np.float64(2.0**28)).view(np.uint64)
        small = np.uint64(summed - np.uint64((1023 + 28) << 52))
        wild = np.uint64(0x7E00) if rest > np.uint64(0x7FF << 52) else np.uint64(WILD)
        large = rest >= np.uint64((1023 + 16) << 52)
        bits = small if rest < np.uint64((1023 - 14) << 52) else (wild if large else usual)
        halves[k] = np.uint16(bits | np.uint64(np.uint64(whole >> np.uint64(48)) & np.uint64(SIGN)))


def narrowed(values: NDArray[Any]) -> NDArray[np.float16]:
    """Float32 or float64 values as float16, those of `values.astype(np.float16)`, to the bit.

    A NaN loses what else it says.
    """
    plain = np.ascontiguousarray(values)
    halves = np.empty(plain.shape, np.float16)
    own = halves.reshape(-1).view(np.uint16)
    if plain.dtype == np.float64:
        _narrow64(plain.reshape(-1).view(np.uint64), own)
    else:
        _narrow32(plain.reshape(-1).view(np.uint32), own)
    return halves


def widened(halves: NDArray[np.float16]) -> NDArray[np.float32]:
    """Float16 values as float32, which holds every one of them."""
    wide = np.empty(halves.shape, np.float32)
    widen_rows([np.ascontiguousarray(halves).reshape(-1)], wide.reshape(1, -1))
    return wide


def widen_rows(rows: Iterable[NDArray[np.float16]], into: NDArray[np.float32]) -> None:
    """Write rows of float16 values into those of `into`, as long as they are."""
    for row, wide in zip(rows, into.view(np.uint32), strict=True):
        _widen(row.view(np.uint16), wide)
