"""Extent: how many times as far out is the row as rows of the cohort are."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.probes import Float64, Statistics, gram
from fedguard.scoring import Rows, Scorer
from fedguard_strategies.geometric_median import ROUGH, weiszfeld
from fedguard_strategies.geometry import counted, distances_to

__all__ = ["extent"]


def extent() -> Scorer:
    """Distance to the geometric median of the rows that count, in units of their median distance.

    A ratio and no robust z: where honest clients are much alike, a client that differs a little
    is many deviations away and can still do little. On skewed data a client that alone holds a
    class was up to 4.6 times as far out after 100 rounds and 8 times after 300, for the others'
    updates get shorter; what moves a mean is farther. So the tail is no measured one: it begins
    where such a client ends.

    Source: the median of Pillutla et al. (RFA), IEEE TSP 2022, as a yardstick
    """

    def score(rows: Statistics, among: Rows, seen: Any) -> Float64:
        if not among.any():
            return np.zeros(rows.n)
        weights = np.zeros(rows.n)
        gram = counted(rows.gram, among)
        weights[among] = weiszfeld(gram, tolerance=ROUGH / len(gram))
        away = distances_to(rows.gram, weights)
        usual = float(np.median(away[among]) or away.max())
        return away / (usual or 1.0)

    return Scorer("extent()", "extent", score, (5.5, 7.5, 8.5), (gram,))
