"""Pre-aggregations that bound how far one row can pull: scale down, never up."""

from __future__ import annotations

from collections.abc import Callable
from math import floor
from typing import Any

import numpy as np

from fedguard.defence import Linear, Stage
from fedguard.probes import Float64, Statistics, squares
from fedguard_strategies.bounds import f_is_count, label, need
from fedguard_strategies.geometry import clip_factors

__all__ = ["arc", "clip_by_median_norm", "norm_clipping"]


def _clipper(name: str, min_updates: int, bound: str, limit: Callable[[Float64], float]) -> Stage:
    """Rows longer than `limit(norms)` are scaled down to it."""

    def plan(rows: Statistics, state: Any) -> tuple[Linear, Any]:
        return Linear(np.diag(clip_factors(rows.norms, limit(rows.norms)))), state

    return Stage(name, min_updates, bound, plan, probes=(squares,))


def norm_clipping(max_norm: float) -> Stage:
    """Scale every row longer than `max_norm` down to it (static clipping).

    `max_norm` is in the model's units, so it must be known from clean rounds. Bounds a boosted
    backdoor, not a patient one. Leaves n rows.

    Bound: n >= 1
    Source: Sun et al., 2019 (arXiv 1911.07963), norm thresholding of updates
    """
    need(max_norm > 0, "max_norm must be positive", max_norm)
    name = label("norm_clipping", max_norm=max_norm)
    return _clipper(name, 1, "n >= 1", lambda _: float(max_norm))


def clip_by_median_norm() -> Stage:
    """Scale every row longer than the median norm down to it. Leaves n rows.

    With more than half the rows honest the limit is one an honest norm reaches or exceeds.

    Bound: n >= 1
    Source: Nguyen et al. (FLAME), USENIX Security 2022, section 4.3
    """
    return _clipper("clip_by_median_norm()", 1, "n >= 1", lambda sizes: float(np.median(sizes)))


def arc(f: int) -> Stage:
    """Adaptive robust clipping: scale the k = floor(2 (f/n) (n-f)) longest rows down to the next.

    Unlike a fixed limit it keeps a robust rule's guarantee. Leaves n rows; put it first.

    Bound: n >= 2f + 1
    Source: Allouah et al., 2024 (arXiv 2405.14432), algorithm 2
    """
    f_is_count(f)

    def limit(sizes: Float64) -> float:
        n = len(sizes)
        clipped = floor(2 * f * (n - f) / n)
        return float(np.sort(sizes)[::-1][min(clipped, n - 1)])

    return _clipper(label("arc", f=f), 2 * f + 1, "n >= 2f + 1", limit)
