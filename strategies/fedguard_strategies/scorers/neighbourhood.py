"""Neighbourhood: how far is the row from those nearest to it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedguard.probes import Float64, Statistics, gram
from fedguard.scoring import Rows, Scorer, robust_z
from fedguard_strategies.bounds import f_is_count, label
from fedguard_strategies.geometry import parts, squared_distances

__all__ = ["neighbourhood"]


def neighbourhood(f: int) -> Scorer:
    """Robust z of the mean distance to the n - f - 1 nearest others of the n rows that count.

    Rows that do not count are of the f: with each that is put away the others' neighbours grow.
    Nobody is strange when those are not most of the others: two that are each other's
    nearest have the same distance, so that a few rows have no spread to be measured by.

    Source: the neighbourhood of Krum, Blanchard et al., NeurIPS 2017, as distances
    """
    f_is_count(f)

    def score(rows: Statistics, among: Rows, seen: Any) -> Float64:
        others = int(among.sum()) - 1
        count = others - max(f - int((~among).sum()), 0)
        if 2 * count <= others:
            return np.zeros(rows.n)
        left = np.flatnonzero(~among)
        means = [_to_nearest(rows.gram, some, left, count) for some in parts(rows.n, rows.n)]
        return robust_z(np.concatenate(means), among)

    return Scorer(label("neighbourhood", f=f), "neighbourhood", score, (2.2, 5.2, 8.5), (gram,))


def _to_nearest(gram: Float64, some: slice, left: NDArray[np.intp], count: int) -> Float64:
    """The mean distance of some rows to their nearest that are not `left` out."""
    apart = squared_distances(gram, some)
    own = np.arange(len(apart))
    apart[own, some.start + own] = np.inf  # nobody is its own neighbour, in quarantine or not
    apart[:, left] = np.inf
    apart.partition(count - 1, axis=1)
    means: Float64 = np.sqrt(apart[:, :count]).mean(axis=1)
    return means
