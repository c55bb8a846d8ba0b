"""Direction: does the client point where the others, without it, would go."""

from __future__ import annotations

import numpy as np

from fedguard.probes import Float64, Statistics
from fedguard.scoring import Rows, Scorer, robust_z
from fedguard_strategies.scorers.histories import Recalled, histories, noise_of

__all__ = ["direction"]


def direction(size: int = 1024, seed: int = 0) -> Scorer:
    """Robust z of minus the leave-one-out cosine of a client's history to the others' median.

    Histories, this round in them, average out what batches and noise turn; the median is the
    geometric one of unit histories. It is taken from the cohort and not from the defence in
    force, so that the score means the same under every defence.

    Source: leave-one-out form of the cosine test in Cao et al. (FLTrust), NDSS 2021
    """
    memory = histories(size, seed)

    def score(rows: Statistics, among: Rows, seen: Recalled) -> Float64:
        angles, weights = seen.angles, seen.weights
        towards, own = angles @ weights, np.diagonal(angles)
        left = towards - weights * own
        squared = weights @ towards - 2 * weights * towards + weights**2 * own
        away = -left / np.sqrt(np.clip(squared, np.finfo(np.float64).tiny, None))
        return robust_z(away, among, noise_of(size))

    name = f"direction(size={size}, seed={seed})"
    return Scorer(name, "direction", score, (1.3, 2.5, 4.0), memory.probes, memory)
