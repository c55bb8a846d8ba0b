"""CAF: weigh rows down along the direction of largest covariance until it is small."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.defence import Linear, Stage
from fedguard.probes import Float64, Statistics, gram
from fedguard_strategies.bounds import f_is_count, label

__all__ = ["caf", "caf_weights"]


def caf_weights(gram: Float64, f: int) -> Float64:
    """Weights of the filtered mean of least top eigenvalue, shape (n,), summing to one.

    The top eigenpair of the weighted covariance is found on the centred n x n Gram matrix. Each
    turn takes the farthest row's whole weight, so there are at most n turns.
    """
    n = len(gram)
    kept, best, least = np.ones(n), np.full(n, 1.0 / n), np.inf
    while kept.sum() > n - 2 * f:
        share = kept / kept.sum()
        to_mean = gram @ share
        centred = gram - to_mean[:, None] - to_mean[None, :] + share @ to_mean
        root = np.sqrt(share)
        values, vectors = np.linalg.eigh(root[:, None] * centred * root[None, :])
        top, direction = float(values[-1]), vectors[:, -1]
        if top < least:
            best, least = share, top
        spread = np.where(kept > 0, (centred @ (root * direction)) ** 2, 0.0)
        farthest = spread.max()
        rounding = np.finfo(np.float64).eps * float(np.max(share * np.diagonal(gram)))
        if not farthest > 0 or top <= rounding:
            break  # what is left has no spread: identical rows
        kept = kept * (1.0 - spread / farthest)
    return best


def caf(f: int) -> Stage:
    """Covariance-bound agnostic filter: average after weighing outlying directions down.

    Needs no bound on the honest variance. More than n - 2f identical colluders have no spread and
    win; decorrelated colluders are the hard test.

    Bound: n >= 2f + 1
    Source: Allouah et al., ICML 2025, algorithm 2, "Towards Trustworthy Federated Learning with
        Untrusted Participants"
    """
    f_is_count(f)

    def plan(rows: Statistics, state: Any) -> tuple[Linear, Any]:
        return Linear(caf_weights(rows.gram, f)[None, :]), state

    return Stage(label("caf", f=f), 2 * f + 1, "n >= 2f + 1", plan, probes=(gram,))
