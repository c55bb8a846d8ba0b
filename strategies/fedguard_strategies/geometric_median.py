"""The geometric median by smoothed Weiszfeld, entirely on the Gram matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.defence import Linear, Stage
from fedguard.probes import Float64, Statistics, gram
from fedguard_strategies.bounds import label, need
from fedguard_strategies.geometry import distances_to, norms

__all__ = ["geometric_median", "weiszfeld"]


def weiszfeld(gram: Float64, iterations: int = 100, smoothing: float = 1e-6) -> Float64:
    """Weights of the point of least total distance to the rows, shape (n,), summing to one.

    `smoothing` is a fraction of the median norm (of the largest, if most rows are zero); distances
    below it count as it, so a row that is the median itself divides by no zero. Stops when no
    weight moves by more than 1e-12.
    """
    n = len(gram)
    lengths = norms(gram)
    floor = smoothing * float(np.median(lengths) or lengths.max()) or 1.0
    weights = np.full(n, 1.0 / n)
    for _ in range(iterations):
        pull = 1.0 / np.maximum(distances_to(gram, weights), floor)
        step: Float64 = pull / pull.sum()
        if np.abs(step - weights).max() < 1e-12:
            return step
        weights = step
    return weights


def geometric_median(iterations: int = 100, smoothing: float = 1e-6) -> Stage:
    """Return the point of least total distance to the rows (RFA, smoothed Weiszfeld).

    Survives up to half of the rows, at a distance from the mean that grows with their spread.

    Bound: n >= 1
    Source: Pillutla et al., IEEE TSP 2022, algorithm 2, "Robust Aggregation for Federated Learning"
    """
    need(iterations >= 1, "iterations must be at least 1", iterations)
    need(smoothing > 0, "smoothing must be positive", smoothing)

    def plan(rows: Statistics, state: Any) -> tuple[Linear, Any]:
        return Linear(weiszfeld(rows.gram, iterations, smoothing)[None, :]), state

    defaults = (iterations, smoothing) == (100, 1e-6)
    name = label("geometric_median", **{} if defaults else {"iterations": iterations})
    return Stage(name, 1, "n >= 1", plan, probes=(gram,))
