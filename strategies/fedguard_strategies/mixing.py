"""Pre-aggregations that mix rows, so that the rule behind them meets less spread."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.defence import Linear, Stage
from fedguard.probes import Statistics, gram
from fedguard_strategies.bounds import f_is_count, is_count, label
from fedguard_strategies.geometry import nearest

__all__ = ["bucketing", "nnm"]


def nnm(f: int) -> Stage:
    """Nearest-neighbour mixing: every row becomes the mean of its n - f nearest, itself included.

    Leaves n rows with the spread a robust rule needs under heterogeneity. In front of CAF it
    hurts.

    Bound: n >= 2f + 1
    Source: Allouah et al., AISTATS 2023, algorithm 2 (arXiv 2302.01772)
    """
    f_is_count(f)

    def plan(rows: Statistics, state: Any) -> tuple[Linear, Any]:
        weights = np.zeros((rows.n, rows.n))
        np.put_along_axis(weights, nearest(rows.gram, rows.n - f), 1.0 / (rows.n - f), axis=1)
        return Linear(weights), state

    return Stage(label("nnm", f=f), 2 * f + 1, "n >= 2f + 1", plan, probes=(gram,))


def bucketing(s: int = 2, seed: int = 0) -> Stage:
    """Shuffle the rows and average buckets of s; the last bucket may be smaller.

    Leaves ceil(n / s) rows of which up to f are still bad, so the f of the rule behind it is
    unchanged while its n is not. Every round draws anew: the state is the round's number.

    Bound: n >= 1
    Source: Karimireddy et al., ICLR 2022, algorithm 1
    """
    is_count("s", s, 1)
    is_count("seed", seed, 0)

    def plan(rows: Statistics, drawn: int) -> tuple[Linear, int]:
        order = np.random.default_rng([seed, drawn]).permutation(rows.n)
        weights = np.zeros((-(-rows.n // s), rows.n))
        for bucket, start in enumerate(range(0, rows.n, s)):
            members = order[start : start + s]
            weights[bucket, members] = 1.0 / len(members)
        return Linear(weights), drawn + 1

    name = label("bucketing", s=s, seed=seed or None)
    return Stage(name, 1, "n >= 1", plan, init=lambda: 0)
