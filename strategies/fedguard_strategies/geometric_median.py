"""The geometric median by smoothed Weiszfeld, entirely on the Gram matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.defence import Linear, Stage
from fedguard.probes import Float64, Statistics, gram
from fedguard_strategies.bounds import is_count, label, need
from fedguard_strategies.geometry import distances_to, norms

__all__ = ["ROUGH", "geometric_median", "weiszfeld"]

ROUGH = 1e-4
"""How far a weight may still be off, as a part of an even share, where a median is a yardstick."""


def weiszfeld(
    gram: Float64, iterations: int = 100, smoothing: float = 1e-6, tolerance: float = 1e-12
) -> Float64:
    """Weights of the point of least total distance to the rows, shape (n,), summing to one.

    `smoothing` is a fraction of the median norm (of the largest, if most rows are zero); distances
    below it count as it, so a row that is the median itself divides by no zero. Stops when no
    weight moves by more than `tolerance`.
    """
    lengths = norms(gram)
    floor = smoothing * float(np.median(lengths) or lengths.max()) or 1.0
    pull = 1.0 / np.maximum(lengths, float(np.median(lengths)) or floor)
    weights: Float64 = pull / pull.sum()  # a far row counts no more than one of median length
    for _ in range(iterations):
        pull = 1.0 / np.maximum(distances_to(gram, weights), floor)
        step: Float64 = pull / pull.sum()
        if np.abs(step - weights).max() < tolerance:
            return step
        weights = step
    return weights


def geometric_median(iterations: int = 100, smoothing: float = 1e-6) -> Stage:
    """Return the point of least total distance to the rows (RFA, smoothed Weiszfeld).

    Survives up to half of the rows, at a distance from the mean that grows with their spread.

    Bound: n >= 1
    Source: Pillutla et al., IEEE TSP 2022, algorithm 2, "Robust Aggregation for Federated Learning"
    """
    is_count("iterations", iterations, 1)
    need(smoothing > 0, "smoothing must be positive", smoothing)

    def plan(rows: Statistics, state: Any) -> tuple[Linear, Any]:
        return Linear(weiszfeld(rows.gram, iterations, smoothing)[None, :]), state

    changed: dict[str, float] = {} if iterations == 100 else {"iterations": iterations}
    changed |= {} if smoothing == 1e-6 else {"smoothing": smoothing}
    name = label("geometric_median", **changed)
    return Stage(name, 1, "n >= 1", plan, probes=(gram,))
