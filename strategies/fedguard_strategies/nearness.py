"""Averages of the n - f rows that are nearest: to a pivot (MoNNA), to zero (CGE)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedguard.defence import Linear, Stage
from fedguard.errors import InvalidParameter
from fedguard.probes import Float64, Statistics, gram, squares
from fedguard_strategies.bounds import f_is_count, label
from fedguard_strategies.geometric_median import weiszfeld
from fedguard_strategies.geometry import distances_to, least

__all__ = ["average_of", "cge", "monna"]


def average_of(chosen: NDArray[np.intp], n: int) -> Linear:
    """The mean of some of n rows."""
    weights = np.zeros((1, n))
    weights[0, chosen] = 1.0 / len(chosen)
    return Linear(weights)


def monna(f: int, pivot: str | None = None) -> Stage:
    """Average the n - f rows nearest to a pivot, itself included.

    In the paper every node's own row is its pivot. A server has none: `pivot` names a client that
    is trusted, and without a name, or in a round without that client, the geometric median of the
    rows stands in. A pivot that turns bad takes the model with it.

    Bound: n >= 2f + 1
    Source: Farhadkhani et al., ICML 2023, algorithm 1, "Robust Collaborative Learning with Linear
        Gradient Overhead"
    """
    f_is_count(f)
    if not (pivot is None or isinstance(pivot, str)):
        raise InvalidParameter(f"pivot must be the name of a client, got {pivot!r}")
    name = label("monna", f=f, pivot=pivot)

    def plan(rows: Statistics, state: Any) -> tuple[Linear, Any]:
        centre: Float64 | None = None
        if pivot is not None:
            centre = np.array([client == pivot for client in rows.whose(name).clients], np.float64)
        if centre is None or not centre.any():
            centre = weiszfeld(rows.gram)
        return average_of(least(distances_to(rows.gram, centre), rows.n - f), rows.n), state

    return Stage(name, 2 * f + 1, "n >= 2f + 1", plan, probes=(gram,))


def cge(f: int) -> Stage:
    """Comparative gradient elimination: average the n - f rows of least norm.

    Sees lengths alone: a bad row that is short enough, whatever its direction, is averaged.

    Bound: n >= 2f + 1
    Source: Gupta, Liu and Vaidya, DSN-W 2021, algorithm 1, "Byzantine Fault-Tolerant
        Distributed Machine Learning with Norm-Based Comparative Gradient Elimination"
        (arXiv 2008.04699)
    """
    f_is_count(f)

    def plan(rows: Statistics, state: Any) -> tuple[Linear, Any]:
        return average_of(least(rows.norms, rows.n - f), rows.n), state

    return Stage(label("cge", f=f), 2 * f + 1, "n >= 2f + 1", plan, probes=(squares,))
