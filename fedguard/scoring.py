"""How strange is each client this round: the contract of a scorer and the robust z they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fedguard.probes import Float64, Probe, Statistics

__all__ = ["Scorer", "robust_z"]


class Scorer(NamedTuple):
    """A pure function of the round's statistics: `score(statistics)` is float64, shape (n,).

    Higher is stranger, in robust standard deviations of the cohort. A threshold decides
    elsewhere. `probes` are the additive statistics it reads, so it costs no pass of its own.
    """

    name: str
    family: str
    score: Callable[[Statistics], Float64]
    probes: tuple[Probe, ...] = ()


def robust_z(values: Float64) -> Float64:
    """(values - median) / (1.4826 MAD): standard deviations, as the honest majority sees them.

    Where more than half the values are equal the MAD is zero; the scale is then a millionth of
    their median size, so that those who differ stand out and nobody divides by zero. One wild
    value cannot set the scale.

    >>> robust_z(np.array([1.0, 2.0, 3.0, 4.0, 100.0])).round(2)
    array([-1.35, -0.67,  0.  ,  0.67, 65.43])
    """
    if not len(values):
        return np.zeros(0)
    centred = values - np.median(values)
    spread = 1.4826 * float(np.median(np.abs(centred)))
    sizes = np.abs(values)
    floor = 1e-6 * float(np.median(sizes) or sizes.max()) or 1.0
    return centred / max(spread, floor)
