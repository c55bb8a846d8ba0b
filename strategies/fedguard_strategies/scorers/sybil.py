"""Sybil: is the client like another one, round after round."""

from __future__ import annotations

import numpy as np

from fedguard.probes import Float64, Statistics
from fedguard.scoring import Rows, Scorer, robust_z
from fedguard_strategies.scorers.histories import Recalled, histories, noise_of

__all__ = ["sybil"]

CLOSEST = 1e-6
"""No likeness counts as closer than a cosine of 1 less this."""


def sybil(size: int = 1024, seed: int = 0) -> Scorer:
    """Robust z of -log(1 - c), with c the largest cosine to anybody else's history.

    Histories are taken less their geometric median: what all clients have in common makes nobody
    a sybil, or honest clients of IID data would be (the failure of FoolsGold). A client cannot
    help being copied, so likeness alone must not put one away.

    Source: history cosines as in Fung et al. (FoolsGold), RAID 2020, of residuals
    """
    memory = histories(size, seed)

    def score(rows: Statistics, among: Rows, seen: Recalled) -> Float64:
        if rows.n < 2:
            return np.zeros(rows.n)
        weights = among / max(among.sum(), 1)
        towards = seen.gram @ weights
        closest = _likeness(seen.gram, towards - weights @ towards, towards)
        closeness = -np.log(np.maximum(1.0 - closest, CLOSEST))
        return robust_z(closeness, among, 2 * noise_of(size))

    name = f"sybil(size={size}, seed={seed})"
    return Scorer(name, "sybil", score, (2.6, 6.7, 10.2), memory.probes, memory)


def _likeness(gram: Float64, own: Float64, other: Float64) -> Float64:
    """The largest cosine of every row with another, of rows with the Gram matrix
    gram - own[:, None] - other[None, :].
    """
    from fedguard_strategies.pairs import closest

    lengths = np.sqrt(np.clip(np.diagonal(gram) - own - other, 0.0, None))
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.minimum(closest(gram, own, other, scale), 1.0)
