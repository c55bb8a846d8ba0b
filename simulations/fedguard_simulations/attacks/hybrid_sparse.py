"""Hybrid sparse: hit the few weights that matter hard, and all others a little."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedguard.defence import Blockwise, Stage
from fedguard.probes import Float64, Probe, Statistics
from fedguard.types import Array, Vector
from fedguard_simulations.attacks.a_little_is_enough import largest_z
from fedguard_strategies.bounds import is_count, label, need

__all__ = ["hybrid_sparse", "least_bin"]

DROPPED = 19
"""Bits of a float32's 32 that make no difference between bins: 16 bins an octave are left."""
BINS = 1 << (32 - DROPPED - 1)


def _bins(rows: Array, model: Vector) -> NDArray[np.uint32]:
    """How sensitive the loss is to each weight, |weight x honest mean|, in bins of 1/16 octave."""
    sensitivity = np.abs(rows.mean(axis=0, dtype=np.float64) * model).astype(np.float32)
    bins: NDArray[np.uint32] = sensitivity.view(np.uint32) >> np.uint32(DROPPED)
    return bins


def _histogram(block: Array, model: Vector, columns: slice) -> Float64:
    """How many coordinates lie in each bin, in the first row; shape (n, BINS)."""
    term = np.zeros((len(block), BINS))
    term[0] = np.bincount(_bins(block, model), minlength=BINS)
    return term


sensitivities = Probe("sensitivities", _histogram, linear=False, collective=True, against="model")


def least_bin(counts: Float64, share: float) -> int:
    """The highest bin such that it and those above hold `share` of all; never what is zero."""
    from_top = np.cumsum(counts[::-1])[::-1]
    return max(int(np.flatnonzero(from_top >= share * counts.sum())[-1]), 1)


def hybrid_sparse(
    f: int, share: float = 0.005, scale: float = 1.5, z: float | None = None
) -> Stage:
    """Send the honest mean less `scale` standard deviations at sensitive weights, z elsewhere.

    Sensitive are the `share` of the weights of which |weight x gradient| is largest, as when a
    network is pruned before training, with the honest mean for the gradient; they are found anew
    every round, to 1/16 of an octave. z defaults to that of `a_little_is_enough`.

    Knows: every honest update of the round, and the global model
    Budget: f updates a round, z honest standard deviations, at a share of the weights more
    Source: Özfatura et al., "Aggressive or Imperceptible, or Both", 2024, section on the
        hybrid attack (arXiv 2404.06230; saliency: Lee et al., SNIP, ICLR 2019, section 4.1)
    """
    is_count("f", f, 1)
    need(0 < share <= 1, "share must lie in (0, 1]", share)
    need(scale > 0, "scale must be positive", scale)

    def plan(honest: Statistics, state: Any) -> tuple[Blockwise, Any]:
        away = largest_z(honest.n + f, f) if z is None else z
        model = honest.whose(name).vector("model")
        least = least_bin(honest.values[sensitivities][0], share)

        def kernel(rows: Array, columns: slice) -> Array:
            hit = _bins(rows, model[columns]) >= least
            strength = np.where(hit, scale, away).astype(rows.dtype)
            crafted = rows.mean(axis=0) - strength * rows.std(axis=0)
            return np.repeat(crafted[None, :], f, axis=0)

        return Blockwise(kernel, rows=f), state

    name = label("hybrid_sparse", f=f, share=share, scale=scale, z=z)
    return Stage(name, 2, "n >= 2 honest", plan, probes=(sensitivities,), blockwise=True)
