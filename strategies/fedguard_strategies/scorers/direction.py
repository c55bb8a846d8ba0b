"""Direction: does the row point where the others, without it, would go."""

from __future__ import annotations

import numpy as np

from fedguard.probes import Float64, Statistics, gram
from fedguard.scoring import Scorer, robust_z
from fedguard_strategies.geometric_median import weiszfeld
from fedguard_strategies.geometry import cosines

__all__ = ["direction"]


def direction() -> Scorer:
    """Robust z of minus the leave-one-out cosine to the geometric median of the unit rows.

    The reference is taken from the cohort and not from the defence in force, so that the score
    means the same under every defence. A row of no length points nowhere: cosine zero.

    Source: leave-one-out form of the cosine test in Cao et al. (FLTrust), NDSS 2021
    """

    def score(rows: Statistics) -> Float64:
        angles = cosines(rows.gram)
        weights = weiszfeld(angles)
        towards, whole = angles @ weights, weights @ angles @ weights
        without = towards - weights * np.diagonal(angles)
        squared = whole - 2 * weights * towards + weights**2 * np.diagonal(angles)
        length = np.sqrt(np.clip(squared, np.finfo(np.float64).tiny, None))
        return robust_z(-without / length)

    return Scorer("direction()", "direction", score, probes=(gram,))
