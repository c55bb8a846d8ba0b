"""Plain averaging: no defence."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.defence import Linear, Stage
from fedguard.probes import Statistics

__all__ = ["mean"]


def mean() -> Stage:
    """Average all rows, every client counted once: no defence, the baseline.

    One client moves it anywhere. The claimed number of examples is not used.

    Bound: n >= 1
    Source: McMahan et al., AISTATS 2017, algorithm 1 (unweighted)
    """

    def plan(rows: Statistics, state: Any) -> tuple[Linear, Any]:
        return Linear(np.full((1, rows.n), 1.0 / rows.n)), state

    return Stage("mean()", 1, "n >= 1", plan)
