"""Which dtypes updates come in, and how a block of them is widened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from array_api_compat import is_numpy_array, to_device
from numpy.typing import NDArray

from fedguard.errors import ShapeMismatch
from fedguard.types import Array, Vector

__all__ = ["to_numpy", "widen", "worked_dtype"]

HALF = np.dtype(np.float16)
FLOATS = ("float16", "float32", "float64")


def _is_bfloat16(dtype: np.dtype[Any]) -> bool:
    # ml_dtypes registers it, as a kind of void; numpy takes long to spell a name
    return dtype.kind == "V" and dtype.name == "bfloat16"


def worked_dtype(dtypes: Iterable[np.dtype[Any]]) -> np.dtype[Any]:
    """The dtype rows are worked in: float64 if one of them is, else float32.

    Raises `ShapeMismatch` for anything but float16, bfloat16, float32 and float64.
    """
    seen = set(dtypes)
    for dtype in seen:
        if dtype.name not in FLOATS and not _is_bfloat16(dtype):
            raise ShapeMismatch(
                f"updates must be real floats (float16, bfloat16, float32 or float64), "
                f"one is {dtype}"
            )
    return np.dtype(np.float64 if any(dtype.name == "float64" for dtype in seen) else np.float32)


def widen(rows: Sequence[Vector], into: Array) -> None:
    """Write equally long rows into `into`, float32 or float64, shape (rows, columns), compact."""
    dtypes = {row.dtype for row in rows}
    if dtypes == {HALF} and into.dtype == np.float32:
        from fedguard.halves import widen_rows

        widen_rows(rows, into)
        return
    if not any(map(_is_bfloat16, dtypes)):
        np.concatenate(rows, out=into.reshape(-1))
        return
    for row, wide in zip(rows, into, strict=True):
        if _is_bfloat16(row.dtype):
            bits = row.view(np.uint16).astype(np.uint32)
            bits <<= 16  # bfloat16 is the upper half of a float32
            wide[:] = bits.view(np.float32)
        else:
            wide[:] = row


def to_numpy(values: Any) -> NDArray[Any]:
    """An array of any library and device as numpy's, copied only if it must be."""
    return values if is_numpy_array(values) else np.asarray(to_device(values, "cpu"))
