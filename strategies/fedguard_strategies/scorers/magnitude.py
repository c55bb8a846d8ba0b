"""Magnitude: is the row longer or shorter than the cohort's."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.probes import Float64, Statistics, squares
from fedguard.scoring import Rows, Scorer, robust_z

__all__ = ["magnitude"]


def magnitude() -> Scorer:
    """Absolute robust z of the log norm: boosting and free-riding are equally strange.

    Source: log-norm form of the norm tests in Nguyen et al. (FLAME), USENIX Security 2022
    """

    def score(rows: Statistics, among: Rows, past: Any) -> Float64:
        lengths = rows.norms
        floor = 1e-9 * float(np.median(lengths) or lengths.max()) or 1.0
        return np.abs(robust_z(np.log(np.maximum(lengths, floor)), among))

    return Scorer("magnitude()", "magnitude", score, (1.8, 3.6, 4.7), (squares,))
