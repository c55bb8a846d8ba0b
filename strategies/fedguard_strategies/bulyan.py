"""Bulyan: Krum again and again, then per coordinate the values nearest the median."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedguard.defence import Blockwise, Stage
from fedguard.probes import Float64, Statistics, gram
from fedguard.types import Array
from fedguard_strategies.bounds import f_is_count, label
from fedguard_strategies.geometry import squared_distances
from fedguard_strategies.ranks import mean_around_middle

__all__ = ["bulyan", "bulyan_selection"]


def bulyan_selection(gram: Float64, f: int) -> NDArray[np.intp]:
    """n - 2f rows, each the Krum choice among those not yet chosen, in row order.

    Of r rows left, Krum sums over r - f - 2 neighbours and at least one; of equal scores, as the
    last turns have them, the row nearest to all that are left is taken.
    """
    n = len(gram)
    distances = squared_distances(gram)
    order = np.argsort(distances, axis=1, kind="stable")
    ordered = np.take_along_axis(distances, order, axis=1)
    left = np.ones(n, bool)
    for turn in range(n - 2 * f):
        neighbours = max(n - turn - f - 2, 1)
        present = left[order]
        rank = np.cumsum(present, axis=1)  # the row itself has rank 1: its distance is zero
        scores = np.where(present & (rank <= neighbours + 1), ordered, 0.0).sum(axis=1)
        totals = np.where(present, ordered, 0.0).sum(axis=1)
        left[np.lexsort((totals, np.where(left, scores, np.inf)))[0]] = False
    return np.flatnonzero(~left)


def _around_middle_of(rows: Array, columns: slice, chosen: NDArray[np.intp], keep: int) -> Array:
    return mean_around_middle(rows[chosen], keep)


def bulyan(f: int) -> Stage:
    """Choose n - 2f rows by repeated Krum; average per coordinate the n - 4f nearest their median.

    No coordinate can be pulled beyond the honest ones, which a distance alone does not promise.
    Uses few of the rows when f is large: honest minorities are dropped twice. Planning costs n^3:
    half a second at n = 500.

    Bound: n >= 4f + 3
    Source: El Mhamdi et al., ICML 2018, section 4, "The Hidden Vulnerability of Distributed
        Learning in Byzantium"
    """
    f_is_count(f)

    def plan(rows: Statistics, state: Any) -> tuple[Blockwise, Any]:
        chosen = bulyan_selection(rows.gram, f)
        return Blockwise(partial(_around_middle_of, chosen=chosen, keep=rows.n - 4 * f)), state

    return Stage(
        label("bulyan", f=f), 4 * f + 3, "n >= 4f + 3", plan, probes=(gram,), blockwise=True
    )
