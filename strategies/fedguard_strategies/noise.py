"""Noise on the aggregate: weak differential privacy."""

from __future__ import annotations

from functools import partial

import numpy as np
from array_api_compat import array_namespace, device

from fedguard.defence import Blockwise, Stage
from fedguard.draws import normals
from fedguard.probes import Statistics
from fedguard.types import Array
from fedguard_strategies.bounds import is_count, label, need

__all__ = ["noisy", "weak_dp"]


def noisy(rows: Array, columns: slice, sigma: float, key: tuple[int, ...]) -> Array:
    """Add normal noise to every row: row r takes the stream `key` + (r,)."""
    xp = array_namespace(rows)
    drawn = sigma * np.stack([normals((*key, row), columns) for row in range(rows.shape[0])])
    moved: Array = rows + xp.asarray(drawn, dtype=rows.dtype, device=device(rows))
    return moved


def weak_dp(sigma: float, seed: int = 0) -> Stage:
    """Add Gaussian noise of standard deviation `sigma` to each coordinate; put it after a rule.

    `sigma` is in the model's units. Behind a clipping it blurs what a backdoor needs; it is too
    small to promise privacy. Every round draws anew: the state is the round's number. Who knows
    `seed` can subtract the noise.

    Bound: n >= 1
    Source: Sun et al., 2019 (weak differential privacy), "Can You Really Backdoor Federated
        Learning?" (arXiv 1911.07963)
    """
    need(sigma >= 0, "sigma must be at least 0", sigma)
    is_count("seed", seed, 0)

    def plan(rows: Statistics, drawn: int) -> tuple[Blockwise, int]:
        return Blockwise(partial(noisy, sigma=sigma, key=(seed, drawn)), rows.n), drawn + 1

    name = label("weak_dp", sigma=sigma, seed=seed or None)
    return Stage(name, 1, "n >= 1", plan, init=lambda: 0, blockwise=True)
