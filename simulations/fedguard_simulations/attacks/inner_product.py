"""IPM: make the aggregate's inner product with the honest mean negative."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.defence import Linear, Stage
from fedguard.errors import InvalidParameter
from fedguard.probes import Statistics

__all__ = ["inner_product_manipulation"]


def inner_product_manipulation(f: int, epsilon: float = 2.0) -> Stage:
    """Send minus `epsilon` times the honest mean, f times (Fall of Empires).

    A small epsilon hides among rows near zero; one above (n - f) / f turns the plain mean round.

    Knows: every honest update of the round
    Budget: f updates a round, epsilon times as long as the honest mean
    Source: Xie et al., UAI 2019, section 4
    """
    if f < 1 or not epsilon > 0:
        raise InvalidParameter(
            f"f >= 1 and epsilon > 0 are needed, got f={f!r}, epsilon={epsilon!r}"
        )

    def plan(honest: Statistics, state: Any) -> tuple[Linear, Any]:
        return Linear(np.full((f, honest.n), -epsilon / honest.n)), state

    return Stage(
        f"inner_product_manipulation(f={f}, epsilon={epsilon!r})", 1, "n >= 1 honest", plan
    )
