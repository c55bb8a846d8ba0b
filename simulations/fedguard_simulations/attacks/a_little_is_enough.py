"""ALIE: stay within what honest clients could have sent, all on the same side."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np

from fedguard.defence import Blockwise, Stage
from fedguard.errors import InvalidParameter
from fedguard.probes import Statistics
from fedguard.types import Array

__all__ = ["a_little_is_enough", "largest_z"]


def largest_z(n: int, f: int) -> float:
    """The deviation that s = floor(n/2 + 1) - f honest clients exceed: with f they are a majority.

    >>> round(largest_z(50, 24), 2)  # the paper's example: 50 workers, 24 corrupted
    1.43
    """
    supporters = n // 2 + 1 - f
    share = (n - f - supporters) / (n - f)
    return NormalDist().inv_cdf(min(max(share, 0.5), 1 - 1e-6))


def a_little_is_enough(f: int, z: float | None = None) -> Stage:
    """Send the honest mean minus z standard deviations of each coordinate, f times.

    z defaults to the paper's, the largest that the majority still covers. That is 0, the honest
    mean itself, with one or two attackers (an odd number of clients: with one), and 0.16 with four
    of twenty: give z to attack all the same.

    Knows: every honest update of the round
    Budget: f updates a round, z honest standard deviations in each coordinate
    Source: Baruch et al., NeurIPS 2019, algorithm 3
    """
    if f < 1:
        raise InvalidParameter(f"f must be at least 1, got {f!r}")

    def plan(honest: Statistics, state: Any) -> tuple[Blockwise, Any]:
        away = largest_z(honest.n + f, f) if z is None else z

        def kernel(rows: Array, columns: slice) -> Array:
            crafted = rows.mean(axis=0) - np.asarray(away, rows.dtype) * rows.std(axis=0)
            return np.repeat(crafted[None, :], f, axis=0)

        return Blockwise(kernel, rows=f), state

    name = f"a_little_is_enough(f={f}{'' if z is None else f', z={z!r}'})"
    return Stage(name, 2, "n >= 2 honest", plan, blockwise=True)
