"""Multi-metrics: Manhattan and Euclidean length and angle to the model, whitened and ranked."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from fedguard.blocks import to_numpy
from fedguard.defence import Linear, Stage
from fedguard.probes import Context, Float64, Probe, Statistics, gram
from fedguard.types import Array, Vector
from fedguard_strategies.bounds import label, need
from fedguard_strategies.geometry import least
from fedguard_strategies.models import model_cosine_distances
from fedguard_strategies.nearness import average_of

__all__ = ["manhattan", "multi_metrics", "whitened_scores"]


def _sum_of_sizes(block: Array, columns: slice) -> Float64:
    xp = array_namespace(block)
    return to_numpy(xp.sum(xp.abs(block), axis=1, dtype=xp.float64))


manhattan = Probe("manhattan", _sum_of_sizes, linear=False)
"""The sum of absolute values of every row, shape (n,)."""


def whitened_scores(metrics: Float64) -> Float64:
    """Mahalanobis length of every row's summed differences from all others; (n, k) to (n,)."""
    scale = np.abs(metrics).max(axis=0)
    metrics = np.divide(metrics, scale, out=np.zeros_like(metrics), where=scale > 0)
    apart = np.abs(metrics[:, None] - metrics[None]).sum(axis=1)
    inverse = np.linalg.pinv(np.atleast_2d(np.cov(apart, rowvar=False)), hermitian=True)
    scores: Float64 = np.sqrt(np.clip(np.einsum("ij,jk,ik->i", apart, inverse, apart), 0.0, None))
    return scores


def multi_metrics(p: float = 0.3) -> Stage:
    """Average the ceil(p n) rows least unlike the others in three metrics at once.

    Manhattan length, Euclidean length and cosine between the client's model and the vector
    "model" are whitened by their covariance, so no metric is chosen beforehand. Keeps few rows
    whoever attacks, so honest minorities rarely count. One loud row makes all others look alike,
    the next loud one too: put `clip_by_median_norm()` before it.

    Bound: n >= 3
    Source: Huang et al., ICCV 2023, equations 3-7, "Multi-metrics Adaptively Identifies Backdoors
        in Federated Learning"
    """
    need(0 < p <= 1, "p must lie in (0, 1]", p)
    name = label("multi_metrics", p=None if p == 0.3 else p)

    def plan(rows: Statistics, state: Any) -> tuple[Linear, Any]:
        lengths = rows.norms[:-1]  # the last row is the model
        angles = model_cosine_distances(rows.gram)[-1, :-1]
        metrics = np.stack([rows.values[manhattan][:-1], lengths, angles], axis=1)
        n = len(lengths)
        kept = average_of(least(whitened_scores(metrics), ceil(p * n)), n)
        return Linear(np.hstack([kept.weights, [[0.0]]])), state

    def recall(state: Any, context: Context) -> list[Vector | None]:
        return [context.vector("model")]

    return Stage(name, 3, "n >= 3", plan, (gram, manhattan), recall=recall)
