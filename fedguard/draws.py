"""Random numbers that belong to a coordinate: the same however the columns are cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedguard.probes import Float64

__all__ = ["normals", "signs", "uniforms"]

WORDS_PER_COUNT = 4
"""Philox makes this many 64-bit words from each value of its counter."""


def _words(key: Sequence[int], first: int, last: int) -> NDArray[np.uint64]:
    """Words first..last-1 of the stream named by `key`."""
    philox = np.random.Philox(np.random.SeedSequence(list(key)))
    philox.advance(first // WORDS_PER_COUNT)
    whole: NDArray[np.uint64] = philox.random_raw(last - first + first % WORDS_PER_COUNT)
    return whole[first % WORDS_PER_COUNT :]


def signs(key: Sequence[int], columns: slice) -> NDArray[np.int8]:
    """-1 or 1 for each of `columns`.

    >>> whole = signs([7], slice(0, 100))
    >>> bool((signs([7], slice(30, 100)) == whole[30:]).all())
    True
    """
    first, last = columns.start // 64, -(-columns.stop // 64)
    octets = _words(key, first, last).astype("<u8").view(np.uint8)
    bits = np.unpackbits(octets, bitorder="little")[columns.start - 64 * first :]
    return (2 * bits[: columns.stop - columns.start].astype(np.int8) - 1).astype(np.int8)


def uniforms(key: Sequence[int], columns: slice) -> Float64:
    """A number in (0, 1] for each of `columns`.

    >>> whole = uniforms([7], slice(0, 100))
    >>> bool((uniforms([7], slice(30, 100)) == whole[30:]).all())
    True
    """
    words = _words(key, columns.start, columns.stop)
    drawn: Float64 = ((words >> np.uint64(11)).astype(np.float64) + 1.0) * 2.0**-53
    return drawn


def normals(key: Sequence[int], columns: slice) -> Float64:
    """A standard normal number for each of `columns`, by Box and Muller's transform.

    >>> whole = normals([7], slice(0, 100))
    >>> bool((normals([7], slice(30, 100)) == whole[30:]).all())
    True
    """
    uniform = uniforms(key, slice(2 * columns.start, 2 * columns.stop))
    turns = 2.0 * np.pi * uniform[1::2]
    drawn: Float64 = np.sqrt(-2.0 * np.log(uniform[::2])) * np.cos(turns)
    return drawn
