"""Krum and Multi-Krum: trust the rows whose neighbours are near."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.defence import Linear, Stage
from fedguard.probes import Float64, Statistics, gram
from fedguard_strategies.bounds import f_is_count, is_count, label
from fedguard_strategies.geometry import squared_distances

__all__ = ["krum", "krum_scores", "multi_krum"]


def krum_scores(gram: Float64, f: int) -> Float64:
    """Sum of squared distances of every row to its n - f - 2 nearest others, shape (n,)."""
    ordered = np.sort(squared_distances(gram), axis=1)
    scores: Float64 = ordered[:, 1 : len(gram) - f - 1].sum(axis=1)
    return scores


def krum(f: int) -> Stage:
    """Return the row with the least sum of squared distances to its n - f - 2 nearest others.

    One client's row is the whole answer: under label skew that alone costs accuracy.

    Bound: n >= 2f + 3
    Source: Blanchard et al., NeurIPS 2017, section 4
    """
    return _select(label("krum", f=f), f, 1)


def multi_krum(f: int, m: int | None = None) -> Stage:
    """Average the m rows of least Krum score (m defaults to n - f), every one counted once.

    With m > n - f - 2 the paper's guarantee no longer covers the average.

    Bound: n >= 2f + 3 and n >= f + m
    Source: Blanchard et al., NeurIPS 2017 (m-Krum; section 6 of arXiv 1703.02757)
    """
    if m is not None:
        is_count("m", m, 1)
    return _select(label("multi_krum", f=f, m=m), f, m)


def _select(name: str, f: int, m: int | None) -> Stage:
    f_is_count(f)

    def plan(rows: Statistics, state: Any) -> tuple[Linear, Any]:
        count = m or rows.n - f
        chosen = np.argsort(krum_scores(rows.gram, f), kind="stable")[:count]
        weights = np.zeros((1, rows.n))
        weights[0, chosen] = 1.0 / count
        return Linear(weights), state

    least, bound = 2 * f + 3, "n >= 2f + 3"
    if m is not None and f + m > least:
        least, bound = f + m, "n >= f + m"
    return Stage(name, least, bound, plan, probes=(gram,))
