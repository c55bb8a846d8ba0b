"""Centred clipping: pull the last aggregate towards each row, by no more than a radius."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.defence import Linear, Stage
from fedguard.probes import Context, Statistics, border, gram
from fedguard.types import Array, Vector
from fedguard_strategies.bounds import is_count, label, need
from fedguard_strategies.geometry import distances_to

__all__ = ["centred_clipping"]


def centred_clipping(tau: float, iterations: int = 3) -> Stage:
    """Move the centre v by the mean of (x_i - v) min(1, tau / ||x_i - v||), a few times.

    v starts at the last round's answer (zero in the first), the one row of history kept. `tau` is
    in the model's units. Falls to attacks aimed at the stale centre (ROP).

    Bound: n >= 1
    Source: Karimireddy et al., ICML 2021, algorithm 2
    """
    need(tau > 0, "tau must be positive", tau)
    is_count("iterations", iterations, 1)

    def plan(rows: Statistics, last: Any) -> tuple[Linear, Any]:
        n = rows.n - 1  # the last row is the centre
        known = rows.border if iterations == 1 else rows.gram
        weights = np.zeros(rows.n)
        weights[n] = 1.0
        for _ in range(iterations):
            distances = distances_to(known, weights)[:n]
            pulls = tau / np.maximum(distances, tau) / n
            weights = weights * (1.0 - pulls.sum())
            weights[:n] += pulls
        return Linear(weights[None, :]), last

    def recall(last: Any, context: Context) -> list[Vector | None]:
        return [last]

    def remember(last: Any, context: Context, rows: Array) -> Any:
        return rows[0].copy()

    probes = (border,) if iterations == 1 else (gram,)
    name = label("centred_clipping", tau=tau, iterations=None if iterations == 3 else iterations)
    return Stage(name, 1, "n >= 1", plan, probes, recall=recall, remember=remember)
