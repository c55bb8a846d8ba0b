"""Count sketches: k numbers that stand for a row, with the angles between rows roughly kept."""

from __future__ import annotations

from functools import cache, partial

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array

from fedguard.blocks import to_numpy
from fedguard.draws import signs
from fedguard.probes import Float64, Probe
from fedguard.types import Array, Vector

__all__ = ["sketch", "sketched"]


@cache
def sketch(size: int = 1024, seed: int = 0) -> Probe:
    """The count sketch of every row, shape (n, size): coordinate j adds to bucket j mod `size`.

    Signs are random, one a coordinate, so inner products are kept in expectation, with a standard
    deviation of about |x||y| / sqrt(size). One seed for all rounds makes sketches of several
    rounds comparable; who knows it can hide in it.

    Source: Charikar et al., ICALP 2002, section 3; Weinberger et al., ICML 2009, lemma 2
    """
    return Probe(f"sketch({size}, seed={seed})", partial(_fold, size=size, seed=seed))


def sketched(vector: Vector, size: int, seed: int) -> Float64:
    """The sketch of one vector, shape (size,), comparable with those of rows."""
    buckets: Float64 = _fold(vector[None], slice(0, len(vector)), size, seed)[0]
    return buckets


def _fold(block: Array, columns: slice, size: int, seed: int) -> Float64:
    if is_numpy_array(block):
        from fedguard.products import folded

        return folded(block, signs([seed], columns), columns.start % size, size)
    xp = array_namespace(block)
    drawn = xp.asarray(signs([seed], columns), dtype=block.dtype, device=device(block))
    signed = block * drawn[None, :]
    n, width = signed.shape
    whole = width - width % size
    summed = xp.sum(xp.reshape(signed[:, :whole], (n, whole // size, size)), axis=1)
    buckets = np.array(to_numpy(summed), np.float64)  # of columns from columns.start on
    buckets[:, : width - whole] += to_numpy(signed[:, whole:])
    return np.roll(buckets, columns.start % size, axis=1)
