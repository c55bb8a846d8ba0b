"""Direction: does the client point where the others, without it, would go."""

from __future__ import annotations

import numpy as np

from fedguard.probes import Float64, Statistics
from fedguard.scoring import Rows, Scorer, robust_z
from fedguard_strategies.geometric_median import weiszfeld
from fedguard_strategies.scorers.histories import Histories, histories, unit

__all__ = ["direction"]


def direction(size: int = 1024, seed: int = 0) -> Scorer:
    """Robust z of minus the leave-one-out cosine of a client's history to the others' median.

    Histories, this round in them, average out what batches and noise turn; the median is the
    geometric one of unit histories. It is taken from the cohort and not from the defence in
    force, so that the score means the same under every defence.

    Source: leave-one-out form of the cosine test in Cao et al. (FLTrust), NDSS 2021
    """
    memory = histories(size, seed)
    (sketched,) = memory.probes

    def score(rows: Statistics, among: Rows, past: Histories) -> Float64:
        clients = rows.whose("direction").clients
        units = unit(past.joined(clients, unit(rows.values[sketched])))
        return robust_z(-_without_own(units, among), among)

    name = f"direction(size={size}, seed={seed})"
    return Scorer(name, "direction", score, (1.3, 2.5, 4.0), (sketched,), memory)


def _without_own(units: Float64, among: Rows) -> Float64:
    """Cosine of every row to the median of the rows `among`, less its own part in it."""
    if not among.any():
        return np.zeros(len(units))
    weights = np.zeros(len(units))
    weights[among] = weiszfeld(units[among] @ units[among].T)
    middle = weights @ units
    towards, own = units @ middle, np.einsum("ij,ij->i", units, units)
    left = towards - weights * own
    squared = middle @ middle - 2 * weights * towards + weights**2 * own
    cosines: Float64 = left / np.sqrt(np.clip(squared, np.finfo(np.float64).tiny, None))
    return cosines
