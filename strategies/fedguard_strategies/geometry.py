"""Distances and norms read off the Gram matrix."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedguard.probes import Float64

__all__ = ["distances_to", "nearest", "norms", "squared_distances"]


def norms(gram: Float64) -> Float64:
    """Euclidean norm of every row, shape (n,)."""
    return np.sqrt(np.clip(np.diagonal(gram), 0.0, None))


def squared_distances(gram: Float64) -> Float64:
    """Squared distances between rows, shape (n, n); rounding below zero is clipped."""
    squares = np.diagonal(gram)
    distances = np.clip(squares[:, None] + squares[None, :] - 2.0 * gram, 0.0, None)
    np.fill_diagonal(distances, 0.0)
    return distances


def distances_to(gram: Float64, weights: Float64) -> Float64:
    """Distance of every row to the combination `weights @ rows`, shape (n,)."""
    products = gram @ weights
    return np.sqrt(np.clip(np.diagonal(gram) - 2.0 * products + weights @ products, 0.0, None))


def nearest(gram: Float64, count: int) -> NDArray[np.intp]:
    """For every row the indices of its `count` nearest rows, itself first, shape (n, count)."""
    distances = squared_distances(gram)
    np.fill_diagonal(distances, -1.0)
    return np.argsort(distances, axis=1, kind="stable")[:, :count]
