"""Neighbourhood: how far is the row from those nearest to it."""

from __future__ import annotations

import numpy as np

from fedguard.probes import Float64, Statistics, gram
from fedguard.scoring import Scorer, robust_z
from fedguard_strategies.bounds import f_is_count, label
from fedguard_strategies.geometry import squared_distances

__all__ = ["neighbourhood"]


def neighbourhood(f: int) -> Scorer:
    """Robust z of the mean distance to the n - f nearest rows, itself included.

    Source: the neighbourhood of Krum, Blanchard et al., NeurIPS 2017, as distances
    """
    f_is_count(f)

    def score(rows: Statistics) -> Float64:
        ordered = np.sort(np.sqrt(squared_distances(rows.gram)), axis=1)
        return robust_z(ordered[:, : max(rows.n - f, 1)].mean(axis=1))

    return Scorer(label("neighbourhood", f=f), "neighbourhood", score, probes=(gram,))
