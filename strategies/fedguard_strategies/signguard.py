"""SignGuard: keep who has a plausible length and the majority's share of signs."""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace

from fedguard.blocks import to_numpy
from fedguard.defence import Linear, Stage
from fedguard.errors import NothingTrusted
from fedguard.probes import Float64, Probe, Statistics, squares
from fedguard.types import Array
from fedguard_strategies.bounds import label, need
from fedguard_strategies.clusters import largest_shifted
from fedguard_strategies.geometry import clip_factors

__all__ = ["sign_counts", "signguard"]


def _count_signs(block: Array, columns: slice) -> Float64:
    xp = array_namespace(block)
    counts = [xp.count_nonzero(sign, axis=1) for sign in (block > 0, block == 0, block < 0)]
    return np.stack([to_numpy(each) for each in counts], axis=1).astype(np.float64)


sign_counts = Probe("sign_counts", _count_signs, linear=False)
"""How many coordinates of every row are positive, zero and negative, shape (n, 3)."""


def signguard(lower: float = 0.1, upper: float = 3.0) -> Stage:
    """Average the rows of plausible length and of the largest cluster by shares of signs, clipped.

    A length is plausible from `lower` to `upper` times the median; kept rows are clipped to the
    median. Shares of positive, zero and negative values are clustered by mean shift, over all
    coordinates where the paper samples a tenth to save time. Blind to attacks that keep the
    honest shares of signs: Min-Max and IPM pass at 30 %. When nobody is left the round is held.

    Bound: n >= 3
    Source: Xu et al., ICDCS 2022, algorithm 2, "Byzantine-robust Federated Learning through
        Collaborative Malicious Gradient Filtering"
    """
    need(0 <= lower <= 1 <= upper, "lower and upper must enclose 1", (lower, upper))
    told = {"lower": lower, "upper": upper} if (lower, upper) != (0.1, 3.0) else {}
    name = label("signguard", **told)

    def plan(rows: Statistics, state: Any) -> tuple[Linear, Any]:
        lengths = rows.norms
        middle = float(np.median(lengths))
        kept = (lengths >= lower * middle) & (lengths <= upper * middle)
        counts = rows.values[sign_counts]
        alike = np.zeros(rows.n, bool)
        alike[largest_shifted(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0))] = True
        kept &= alike
        if not kept.any():
            raise NothingTrusted(name)
        weights = np.where(kept, clip_factors(lengths, middle), 0.0) / np.count_nonzero(kept)
        return Linear(weights[None, :]), state

    return Stage(name, 3, "n >= 3", plan, probes=(squares, sign_counts))
