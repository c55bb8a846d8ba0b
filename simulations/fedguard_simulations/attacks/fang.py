"""Fang et al.: local models made against one known rule, Krum or the trimmed mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.defence import Blockwise, Stage
from fedguard.draws import uniforms
from fedguard.probes import Float64, Probe, Statistics, gram
from fedguard.types import Array
from fedguard_strategies.bounds import is_count, label, need
from fedguard_strategies.geometry import norms
from fedguard_strategies.krum import krum_scores

__all__ = ["fang_krum", "fang_trimmed_mean", "strongest_for_krum", "upper_bound"]

LEAST = 1e-5
"""The part of the upper bound at which the search for a strength gives up."""


def _products_with_signs(block: Array, columns: slice) -> Float64:
    """<x_i, sign x_j> and, last, how many coordinates of x_i are not zero; shape (n, n + 1)."""
    rows = block.astype(np.float64)
    signs = np.sign(rows)
    return np.hstack([rows @ signs.T, np.abs(signs).sum(axis=1, keepdims=True)])


signed = Probe("products with signs", _products_with_signs, linear=False, collective=True)


def upper_bound(gram: Float64, length: float, f: int) -> float:
    """The paper's bound on the strength with which Krum can still pick the crafted row.

    `length` is ||s||², the paper's d. The sums run over the m - c - 2 nearest honest rows, which
    with c = f are all honest ones but two.
    """
    honest = len(gram)
    nearest = krum_scores(gram, 0).min() / ((honest - f - 1) * length)
    return float(np.sqrt(nearest) + norms(gram).max() / np.sqrt(length))


def strongest_for_krum(gram: Float64, products: Float64, length: float, f: int) -> float:
    """The first of upper bound, half of it, a quarter, ... with which Krum picks -strength s.

    `products` are <s, x_i>; f copies are sent, so that they are each other's nearest.
    """
    if length <= 0.0:
        return 0.0
    strength = largest = upper_bound(gram, length, f)
    whole = np.empty((f + len(gram), f + len(gram)))
    whole[f:, f:] = gram
    while strength > LEAST * largest:
        whole[:f, :f] = strength**2 * length
        whole[:f, f:] = -strength * products
        whole[f:, :f] = whole[:f, f:].T
        scores = krum_scores(whole, f)
        if scores[0] < scores[f:].min():
            break
        strength /= 2
    return strength


def fang_krum(f: int) -> Stage:
    """Send the global model moved against Krum's own direction, as far as Krum still picks it.

    Updates are deltas from the global model, so f times -strength s, where s are the signs of
    what Krum picks of the honest alone; a coordinate that does not move there stays. The search
    gives up at a hundred-thousandth of the upper bound (the paper at 1e-5 itself), and sends that.

    Knows: every honest update of the round, and that the rule is krum(f)
    Budget: f updates a round, as far from the global model as Krum still picks one
    Source: Fang et al., USENIX Security 2020, section 3.2 (full knowledge; bound: theorem 1)
    """
    is_count("f", f, 1)

    def plan(honest: Statistics, state: Any) -> tuple[Blockwise, Any]:
        picked = int(np.argmin(krum_scores(honest.gram, f)))
        told = honest.values[signed]
        strength = strongest_for_krum(honest.gram, told[:, picked], float(told[picked, -1]), f)

        def kernel(rows: Array, columns: slice) -> Array:
            crafted = np.asarray(-strength, rows.dtype) * np.sign(rows[picked])
            return np.repeat(crafted[None, :], f, axis=0)

        return Blockwise(kernel, rows=f), state

    bound = "n >= f + 3 honest"
    return Stage(label("fang_krum", f=f), f + 3, bound, plan, probes=(gram, signed), blockwise=True)


def fang_trimmed_mean(f: int, b: float = 2.0, seed: int = 0) -> Stage:
    """Send, coordinate by coordinate, numbers just beyond the honest against their mean.

    Where the honest mean is positive they are drawn below the lowest, at most a factor of `b` away
    from it; elsewhere above the highest. Every attacker draws its own, new in every round. The
    factors are on deltas from the global model: the paper's are on the parameters.

    Knows: every honest update of the round
    Budget: f updates a round, each coordinate up to b times the honest extreme
    Source: Fang et al., USENIX Security 2020, section 3.3 (full knowledge)
    """
    is_count("f", f, 1)
    need(b > 1, "b must be above 1", b)

    def plan(honest: Statistics, done: int) -> tuple[Blockwise, int]:
        def kernel(rows: Array, columns: slice) -> Array:
            falls = rows.mean(axis=0) <= 0
            near = np.where(falls, rows.max(axis=0), rows.min(axis=0))
            factor = np.where(falls == (near > 0), b, 1 / b).astype(rows.dtype)
            reach = near * factor - near
            drawn = [uniforms((seed, done, each), columns) for each in range(f)]
            return np.stack([near + part.astype(rows.dtype) * reach for part in drawn])

        return Blockwise(kernel, rows=f), done + 1

    name = label("fang_trimmed_mean", f=f, b=None if b == 2.0 else b)
    return Stage(name, 1, "n >= 1 honest", plan, init=lambda: 0, blockwise=True)
