"""Distances and norms read off the Gram matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedguard.probes import Float64
from fedguard.scoring import Rows

__all__ = [
    "centred",
    "clip_factors",
    "counted",
    "cosines",
    "distances_to",
    "least",
    "nearest",
    "norms",
    "parts",
    "squared_distances",
]

ALL = slice(None)
CACHED = 2**16
"""Values that stay in a core's cache, while several passes go over them."""


def centred(gram: Float64) -> Float64:
    """G of the rows less their mean, shape (n, n)."""
    to_mean = gram.mean(axis=1)
    moved: Float64 = gram - to_mean[:, None] - to_mean[None, :] + to_mean.mean()
    return moved


def clip_factors(lengths: Float64, longest: float) -> Float64:
    """What scales rows longer than `longest` down to it, and 1 for the others, shape (n,)."""
    factors = np.ones_like(lengths)
    return np.divide(longest, lengths, out=factors, where=lengths > longest)


def counted(gram: Float64, among: Rows) -> Float64:
    """G of the rows `among` alone."""
    return gram if among.all() else gram.compress(among, axis=0).compress(among, axis=1)


def cosines(gram: Float64) -> Float64:
    """Cosine of the angle between every two rows, shape (n, n); 0 where a row is zero."""
    from fedguard_strategies.pairs import angles

    lengths = norms(gram)
    return angles(gram, np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0))


def least(values: Float64, count: int) -> NDArray[np.intp]:
    """The rows of the `count` smallest values, in order; of equal ones the first row."""
    return np.argsort(values, kind="stable")[:count]


def norms(gram: Float64) -> Float64:
    """Euclidean norm of every row, shape (n,)."""
    return np.sqrt(np.clip(np.diagonal(gram), 0.0, None))


def parts(rows: int, columns: int) -> list[slice]:
    """Rows in runs of so few that all their columns stay in a core's cache."""
    own = max(CACHED // max(columns, 1), 1)
    return [slice(at, at + own) for at in range(0, rows, own)]


def squared_distances(gram: Float64, rows: slice = ALL) -> Float64:
    """Squared distances of `rows` to every row; rounding below zero is clipped."""
    from fedguard_strategies.pairs import apart

    return apart(gram, rows)


def distances_to(gram: Float64, weights: Float64) -> Float64:
    """Distance of every row to the combination `weights @ rows`, shape (n,)."""
    products = gram @ weights
    return np.sqrt(np.clip(np.diagonal(gram) - 2.0 * products + weights @ products, 0.0, None))


def nearest(gram: Float64, count: int) -> NDArray[np.intp]:
    """For every row the indices of its `count` nearest rows, itself first, shape (n, count)."""
    distances = squared_distances(gram)
    np.fill_diagonal(distances, -1.0)
    return np.argsort(distances, axis=1, kind="stable")[:, :count]
