"""Temporal: does the client still differ from the others as it used to."""

from __future__ import annotations

import numpy as np

from fedguard.probes import Float64, Statistics
from fedguard.scoring import Rows, Scorer, robust_z
from fedguard_strategies.scorers.histories import Histories, centre_of, histories, unit

__all__ = ["temporal"]


def temporal(size: int = 1024, seed: int = 0) -> Scorer:
    """Robust z of minus the cosine between a client's residual and its own past residual.

    Residuals are unit rows, and histories, less the cohort's geometric median. Skewed data make
    an honest client differ from the others in its own lasting way; noise and a change of mind do
    not last. Who has no past scores 0.

    Source: consistency over rounds as in Zhang et al. (FLDetector), KDD 2022, of residuals
    """
    memory = histories(size, seed)
    (sketched,) = memory.probes

    def score(rows: Statistics, among: Rows, past: Histories) -> Float64:
        clients = rows.whose("temporal").clients
        before, known = past.of(clients)
        if not (known & among).any():
            return np.zeros(rows.n)
        units = unit(rows.values[sketched])
        now = unit(units - centre_of(units, among))
        then = unit(before - centre_of(before, among & known))
        changed = -np.einsum("ij,ij->i", now, then)
        return np.where(known, robust_z(changed, among & known), 0.0)

    name = f"temporal(size={size}, seed={seed})"
    return Scorer(name, "temporal", score, (2.3, 8.7, 17.0), (sketched,), memory)
