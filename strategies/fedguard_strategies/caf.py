"""CAF: weigh rows down along the direction of largest covariance until it is small."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

from fedguard.defence import Linear, Stage
from fedguard.probes import Float64, Statistics, gram
from fedguard_strategies.bounds import f_is_count, label

__all__ = ["caf", "caf_weights"]


FEW = 64
"""Rows up to which a dense solver is as fast as one that multiplies."""


def caf_weights(gram: Float64, f: int) -> Float64:
    """Weights of the filtered mean of least top eigenvalue, shape (n,), summing to one.

    The top eigenpair of the weighted covariance is found on the centred n x n Gram matrix. Each
    turn takes the farthest row's whole weight, so there are at most n turns.
    """
    n = len(gram)
    kept, best, least = np.ones(n), np.full(n, 1.0 / n), np.inf
    while kept.sum() > n - 2 * f:
        share = kept / kept.sum()
        covariance = _Covariance(gram, share)
        top, direction = covariance.top()
        if top < least:
            best, least = share, top
        spread = np.where(kept > 0, covariance.centred(covariance.root * direction) ** 2, 0.0)
        farthest = spread.max()
        rounding = np.finfo(np.float64).eps * float(np.max(share * np.diagonal(gram)))
        if not farthest > 0 or top <= rounding:
            break  # what is left has no spread: identical rows
        kept = kept * (1.0 - spread / farthest)
    return best


class _Covariance:
    """The rows' covariance around their mean weighted by `share`, by its n x n counterpart."""

    def __init__(self, gram: Float64, share: Float64) -> None:
        self.root = np.sqrt(share)
        self._gram, self._to_mean = gram, gram @ share
        self._mean_square = float(share @ self._to_mean)

    def centred(self, vector: Float64) -> Float64:
        """The centred Gram matrix times a vector."""
        total = vector.sum()
        moved = self._mean_square * total - self._to_mean @ vector
        product: Float64 = self._gram @ vector - self._to_mean * total + moved
        return product

    def top(self) -> tuple[float, Float64]:
        """The largest eigenvalue and its vector, to rounding."""
        n = len(self.root)
        if n > FEW:
            weighted = LinearOperator(
                (n, n),
                matvec=lambda vector: self.root * self.centred(self.root * np.ravel(vector)),
                dtype=np.float64,
            )
            start = np.random.default_rng(0).standard_normal(n)
            with suppress(ArpackError):  # such as for rows that are all the same
                value, vectors = eigsh(weighted, k=1, which="LA", v0=start)
                return float(value[0]), vectors[:, 0]
        to_mean = self._to_mean
        centred = self._gram - to_mean[:, None] - to_mean[None, :] + self._mean_square
        values, vectors = np.linalg.eigh(self.root[:, None] * centred * self.root[None, :])
        return float(values[-1]), vectors[:, -1]


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
