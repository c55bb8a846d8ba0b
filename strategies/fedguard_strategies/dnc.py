"""Divide and conquer: drop the rows that reach farthest along the direction of largest spread."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.defence import Linear, Stage
from fedguard.probes import Float64, Statistics, gram
from fedguard_strategies.bounds import f_is_count, label, need
from fedguard_strategies.geometry import centred, least
from fedguard_strategies.nearness import average_of

__all__ = ["dnc", "outlier_scores"]


def outlier_scores(gram: Float64) -> Float64:
    """Squared projection of every centred row on their top right singular vector, shape (n,)."""
    values, vectors = np.linalg.eigh(centred(gram))
    return float(max(values[-1], 0.0)) * vectors[:, -1] ** 2


def dnc(f: int, c: float = 1.0) -> Stage:
    """Drop the floor(c f) rows of largest projection on the top singular vector, average the rest.

    The paper repeats this on random samples of coordinates because it cannot afford all; the Gram
    matrix covers all of them at once, so there is one turn and no seed. One direction is all it
    sees: colluders in orthogonal ones hide behind the farthest, and one loud row moves the mean
    to hide the next, without bound: put `clip_by_median_norm()` before it. Falls to ALIE at 20 %.

    Bound: n >= 2f + 1 and n > c f
    Source: Shejwalkar and Houmansadr, NDSS 2021, algorithm 2, "Manipulating the
        Byzantine: Optimizing Model Poisoning Attacks and Defenses for Federated Learning"
    """
    f_is_count(f)
    need(c > 0, "c must be positive", c)
    dropped = int(c * f)
    name = label("dnc", f=f, c=None if c == 1.0 else c)

    def plan(rows: Statistics, state: Any) -> tuple[Linear, Any]:
        return average_of(least(outlier_scores(rows.gram), rows.n - dropped), rows.n), state

    bound = "n >= 2f + 1" if 2 * f >= dropped else "n > c f"
    return Stage(name, max(2 * f, dropped) + 1, bound, plan, probes=(gram,))
