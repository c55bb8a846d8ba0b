"""FLTrust: trust an update as far as it points where the server's own clean data point."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.defence import Linear, Stage
from fedguard.errors import NothingTrusted
from fedguard.probes import Context, Statistics, border
from fedguard.types import Vector
from fedguard_strategies.geometry import cosines

__all__ = ["fltrust"]

SHORTEST = 1e-9
"""Of the root's length: below it float32 has lost the squares, and rescaling would go anywhere."""


def fltrust() -> Stage:
    """Average rows rescaled to the root update's length, weighed by ReLU of their cosine with it.

    The root update is what the server learns in the round on a small clean set of its own; it
    comes as the vector "root". Root data that differ from the clients' bias the model for good,
    and near convergence, where a root update is mostly noise, trust is too. When nobody is
    trusted the round is held.

    Bound: n >= 1
    Source: Cao et al., NDSS 2021, section IV-B, equations 2-4
    """
    name = "fltrust()"

    def plan(rows: Statistics, state: Any) -> tuple[Linear, Any]:
        lengths = rows.norms
        trust = np.clip(cosines(rows.border)[-1, :-1], 0.0, None)  # the last row is the root
        trust[lengths[:-1] <= SHORTEST * lengths[-1]] = 0.0
        if not trust.any():
            raise NothingTrusted(name)
        weights = np.zeros((1, rows.n))
        scale = np.divide(lengths[-1], lengths[:-1], out=np.zeros(len(trust)), where=trust > 0)
        weights[0, :-1] = trust * scale / trust.sum()
        return Linear(weights), state

    def recall(state: Any, context: Context) -> list[Vector | None]:
        return [context.vector("root")]

    return Stage(name, 1, "n >= 1", plan, (border,), recall=recall)
