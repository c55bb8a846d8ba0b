"""FLAME: average the majority cluster, clipped, with a little noise."""

from __future__ import annotations

from functools import partial

import numpy as np
from array_api_compat import array_namespace, device

from fedguard.defence import Blockwise, Stage
from fedguard.probes import Context, Float64, Statistics, gram
from fedguard.types import Array, Vector
from fedguard_strategies.bounds import is_count, label, need
from fedguard_strategies.clusters import majority_cluster
from fedguard_strategies.geometry import clip_factors
from fedguard_strategies.models import model_cosine_distances
from fedguard_strategies.noise import noisy

__all__ = ["flame"]


def _mean_and_noise(
    rows: Array, columns: slice, weights: Float64, sigma: float, key: tuple[int, ...]
) -> Array:
    xp = array_namespace(rows)
    average: Array = xp.asarray(weights, dtype=rows.dtype, device=device(rows)) @ rows
    return noisy(average, columns, sigma, key) if sigma else average


def flame(noise: float = 0.001, seed: int = 0) -> Stage:
    """Average the majority cluster by cosine, clipped to the median norm S, and add noise.

    The noise is Gaussian of standard deviation `noise` S. Clusters the models (the vector "model"
    plus a row) by HDBSCAN with room for one majority; under label skew honest minorities fall out
    of it. The paper derives `noise` from a privacy budget and takes 0.001 for images. Every round
    draws anew: the state is the round's number.

    Bound: n >= 3
    Source: Nguyen et al., USENIX Security 2022, algorithm 1
    """
    need(noise >= 0, "noise must be at least 0", noise)
    is_count("seed", seed, 0)

    def plan(rows: Statistics, drawn: int) -> tuple[Blockwise, int]:
        kept = majority_cluster(model_cosine_distances(rows.gram)[:-1, :-1])
        lengths = rows.norms[:-1]
        middle = float(np.median(lengths))
        weights = np.zeros((1, len(lengths)))
        weights[0, kept] = clip_factors(lengths, middle)[kept] / len(kept)
        kernel = partial(_mean_and_noise, weights=weights, sigma=noise * middle, key=(seed, drawn))
        return Blockwise(kernel), drawn + 1

    def recall(drawn: int, context: Context) -> list[Vector | None]:
        return [context.vector("model")]

    name = label("flame", noise=None if noise == 0.001 else noise, seed=seed or None)
    return Stage(name, 3, "n >= 3", plan, (gram,), init=lambda: 0, blockwise=True, recall=recall)
