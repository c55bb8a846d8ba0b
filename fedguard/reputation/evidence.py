"""From surprises to suspicion in a round, and to evidence over rounds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedguard.probes import Float64

__all__ = ["MOST_EVIDENCE", "benjamini_hochberg", "combined", "gathered"]

MOST_EVIDENCE = 2.0
"""In alarms: no more is gathered, so that who mends its ways is not held to it for ever."""


def combined(surprises: Sequence[Float64]) -> Float64:
    """One p-value for each client from its families' -log10 p, which may depend on each other.

    A family that finds nothing strange counts as p = 1/2, so that looking harmless in one does not
    make up for another.

    >>> combined([np.array([0.3, 2.0]), np.array([0.3, 0.0])]).round(2)
    array([0.5 , 0.02])

    Source: Liu and Xie, JASA 2020, section 2, "Cauchy Combination Test"; truncated as in Fang et
        al., Statistica Sinica 2023, section 3, "Heavy-Tailed Distribution for Combining Dependent
        p-Values with Asymptotic Robustness"
    """
    if not surprises:
        return np.ones(0)
    p = np.clip(10.0 ** -np.stack(list(surprises)), 1e-15, 0.5)
    odds = np.tan((0.5 - p) * np.pi).mean(axis=0)
    found: Float64 = 0.5 - np.arctan(odds) / np.pi
    return found


def benjamini_hochberg(p: Float64, rate: float) -> NDArray[np.bool_]:
    """Whom to suspect so that at most a share `rate` of the suspects is expected to be honest.

    >>> benjamini_hochberg(np.array([0.9, 0.001, 0.02, 0.5]), rate=0.05)
    array([False,  True,  True, False])

    Source: Benjamini and Hochberg, JRSS B 1995, section 3.1
    """
    order = np.argsort(p, kind="stable")
    below = p[order] <= rate * np.arange(1, len(p) + 1) / max(len(p), 1)
    chosen = np.zeros(len(p), bool)
    if below.any():
        chosen[order[: int(np.flatnonzero(below)[-1]) + 1]] = True
    return chosen


def gathered(before: Float64, surprises: Float64, allowance: float, alarm: float) -> Float64:
    """Evidence after one more round, as a share of an alarm: a one-sided CUSUM, up to
    `MOST_EVIDENCE`.

    What exceeds the `allowance` adds up and what falls short of it is forgotten at that rate.

    >>> gathered(np.array([0.5, 0.5]), np.array([4.0, 0.0]), allowance=1.5, alarm=5.0)
    array([1. , 0.2])

    Source: Page, "Continuous Inspection Schemes", Biometrika 1954, section 3
    """
    return np.clip(before + (surprises - allowance) / alarm, 0.0, MOST_EVIDENCE)
