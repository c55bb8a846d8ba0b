"""Min-Max: as far out as can be while no nearer outlier exists among the honest."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.defence import Blockwise, Stage
from fedguard.errors import InvalidParameter
from fedguard.probes import Float64, Probe, Statistics, gram
from fedguard.types import Array

__all__ = ["largest_gamma", "min_max"]


def _products_with_deviation(block: Array, columns: slice) -> Float64:
    """For p the negated standard deviation: <p, x_i> and, in every row, <p, p>; shape (n, 2)."""
    rows = block.astype(np.float64)
    deviation = -rows.std(axis=0)
    return np.stack([rows @ deviation, np.full(len(rows), deviation @ deviation)], axis=1)


deviation = Probe("deviation", _products_with_deviation, linear=False, collective=True)


def largest_gamma(honest: Statistics) -> float:
    """The largest g for which mean + g p is as near every honest row as two of them are.

    For each row that is a quadratic in g: ||mean - x_i||² + 2g <p, mean - x_i> + g² ||p||² <= D².
    The paper bisects for it; here it is solved.
    """
    squares, products = np.diagonal(honest.gram), honest.values[deviation][:, 0]
    length = float(honest.values[deviation][0, 1])
    limit = float((squares[:, None] + squares[None, :] - 2 * honest.gram).max())
    to_mean = squares - 2 * honest.gram.mean(axis=1) + honest.gram.mean()
    half = products.mean() - products
    if length <= 0.0:
        return 0.0
    roots = (-half + np.sqrt(np.maximum(half**2 + length * (limit - to_mean), 0.0))) / length
    return float(max(roots.min(), 0.0))


def min_max(f: int) -> Stage:
    """Send mean - g std, f times, with g the largest that leaves no honest pair farther apart.

    Knows: every honest update of the round
    Source: Shejwalkar and Houmansadr, NDSS 2021, section IV-C (perturbation "inverse std")
    """
    if f < 1:
        raise InvalidParameter(f"f must be at least 1, got {f!r}")

    def plan(honest: Statistics, state: Any) -> tuple[Blockwise, Any]:
        gamma = largest_gamma(honest)

        def kernel(rows: Array, columns: slice) -> Array:
            crafted = rows.mean(axis=0) - np.asarray(gamma, rows.dtype) * rows.std(axis=0)
            return np.repeat(crafted[None, :], f, axis=0)

        return Blockwise(kernel, rows=f), state

    bound = "n >= 2 honest"
    return Stage(f"min_max(f={f})", 2, bound, plan, probes=(gram, deviation), blockwise=True)
