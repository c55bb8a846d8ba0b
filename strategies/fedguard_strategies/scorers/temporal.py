"""Temporal: does the client still differ from the others as it used to."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.blocks.threads import available_cores, share_out
from fedguard.probes import Float64, Statistics
from fedguard.scoring import Rows, Scorer, robust_z
from fedguard_strategies.geometry import parts
from fedguard_strategies.scorers.histories import Recalled, histories, noise_of

__all__ = ["temporal"]


def temporal(size: int = 1024, seed: int = 0) -> Scorer:
    """Robust z of minus the cosine between a client's residual and its own past residual.

    Residuals are unit rows, and histories, less the cohort's geometric median. Skewed data make
    an honest client differ from the others in its own lasting way; noise and a change of mind do
    not last. Who has no past scores 0.

    Source: consistency over rounds as in Zhang et al. (FLDetector), KDD 2022, of residuals
    """
    memory = histories(size, seed)

    def score(rows: Statistics, among: Rows, seen: Recalled) -> Float64:
        counted = among & seen.known
        if not counted.any():
            return np.zeros(rows.n)
        now, then = seen.residuals(seen.units), seen.residuals(seen.before)

        def kept(some: slice) -> Any:
            return np.einsum("ij,ij->i", now(some), then(some))

        every = share_out(kept, parts(rows.n, size), available_cores())
        changed = -np.concatenate(every).astype(np.float64)
        return np.where(seen.known, robust_z(changed, counted, noise_of(size)), 0.0)

    name = f"temporal(size={size}, seed={seed})"
    return Scorer(name, "temporal", score, (2.3, 8.7, 17.0), memory.probes, memory)
