"""Rules that count clients by the examples they claim, up to a cap: a claim is no proof."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import floor
from typing import Any, NamedTuple

import numpy as np
from array_api_compat import array_namespace, device, is_numpy_array
from numpy.typing import NDArray

from fedguard.defence import Blockwise, Linear, Stage
from fedguard.probes import Float64, Statistics
from fedguard.types import Array
from fedguard_strategies.bounds import f_is_count, label, need

__all__ = ["capped_weights", "weighted_mean", "weighted_median", "weighted_trimmed_mean"]

LARGEST_CLAIM = 2**53
WHOLE = 2**30
"""All weights together as whole numbers: sums of them are exact."""


def capped_weights(claims: Sequence[int | None], cap: float) -> Float64:
    """Weights in proportion to the claims as far as none exceeds cap / n, shape (n,), sum one.

    What the largest may not have goes to the others in proportion. Who claims nothing counts as
    the median of those who do; where nobody claims more than 0, all count alike.

    >>> capped_weights([10**9, 100, 100, 50, None], cap=2.0).round(3)
    array([0.4  , 0.171, 0.171, 0.086, 0.171])
    """
    known = [each if each is None else min(max(each, 0), LARGEST_CLAIM) for each in claims]
    usual = float(np.median([each for each in known if each is not None] or [1]))
    shares = np.array([usual if each is None else float(each) for each in known])
    n, limit = len(shares), cap / len(shares)
    if not shares.any():
        return np.full(n, 1.0 / n)
    order = np.argsort(-shares, kind="stable")
    ordered = shares[order]
    rest = np.cumsum(ordered[::-1])[::-1]  # what the k-th and those after it claim
    free = 1.0 - limit * np.arange(n)  # what the first k leave when all of them are capped
    fits = ordered * free <= limit * rest
    fits[-1] = True  # as cap >= 1; rounding may deny it
    capped = int(np.argmax(fits))
    weights = np.full(n, limit)
    if rest[capped] > 0:
        weights[order[capped:]] = ordered[capped:] * (free[capped] / rest[capped])
    else:
        weights[order[capped:]] = free[capped] / (n - capped)
    return weights


class _Kept(NamedTuple):
    """Whole-number weights, and from where to where of their sum is kept: halves are halves."""

    shares: NDArray[np.int64]
    first: int
    last: int


def _kept(weights: Float64, dropped: float, f: int) -> _Kept:
    """What lies between the quantiles `dropped` and 1 - `dropped`; around a half, its middle.

    No f rows weigh more than is dropped, not by a unit of rounding: a unit of a row of any size
    is as bad as the row.
    """
    shares = np.rint(weights * WHOLE).astype(np.int64)
    whole = int(shares.sum())
    heaviest = int(np.sort(shares)[len(shares) - f :].sum())
    first = min(max(round(dropped * whole), heaviest), (whole - 1) // 2)
    return _Kept(shares, first, whole - first)


def _mean_between(rows: Array, columns: slice, kept: _Kept) -> Array:
    if is_numpy_array(rows):
        from fedguard_strategies.weighted_ranks import weighted_mean_between

        return weighted_mean_between(rows, *kept)
    xp = array_namespace(rows)
    order = xp.argsort(rows, axis=0)
    ordered = xp.astype(xp.take_along_axis(rows, order, axis=0), xp.float64)
    shares = xp.asarray(kept.shares, device=device(rows))[order]
    up_to = xp.cumulative_sum(shares, axis=0)
    inside = xp.clip(up_to, kept.first, kept.last) - xp.clip(up_to - shares, kept.first, kept.last)
    total = xp.sum(xp.astype(inside, xp.float64) * ordered, axis=0, keepdims=True)
    averaged: Array = xp.astype(total / (kept.last - kept.first), rows.dtype)
    return averaged


def _cap_is_valid(cap: float) -> None:
    need(cap >= 1, "cap must be at least 1", cap)


def weighted_mean(cap: float = 2.0) -> Stage:
    """Average rows by claimed examples, no weight above cap / n: no defence alone, clip before it.

    Plain federated averaging gives all power to who claims most; here f liars have at most
    f cap / n of it.

    Bound: n >= 1
    Source: McMahan et al., AISTATS 2017, algorithm 1; capped as in Portnoy et al., 2020
        (arXiv 2004.04986), section 4, "Towards Federated Learning with Byzantine-Robust Client
        Weighting"
    """
    _cap_is_valid(cap)
    name = label("weighted_mean", cap=cap)

    def plan(rows: Statistics, state: Any) -> tuple[Linear, Any]:
        return Linear(capped_weights(rows.whose(name).examples, cap)[None, :]), state

    return Stage(name, 1, "n >= 1", plan)


def weighted_median(cap: float = 2.0) -> Stage:
    """Take the median of each coordinate by claimed examples, no weight above cap / n.

    Half the weight lies on either side; where it is split evenly, the mean of the two. Liars are
    harmless while f cap < n / 2.

    Bound: n >= 1
    Source: Portnoy et al., 2020 (arXiv 2004.04986), section 4; Pillutla et al., IEEE TSP 2022,
        section 2 for weights
    """
    _cap_is_valid(cap)
    return _trimmed(label("weighted_median", cap=cap), cap, lambda n: 0.5, 0, 1, "n >= 1")


def weighted_trimmed_mean(f: int, cap: float = 2.0) -> Stage:
    """Drop f cap / n of the weight at both ends of each coordinate, average the rest by weight.

    Weights are claimed examples, none above cap / n: f liars weigh at most what is dropped.

    Bound: n >= floor(2 f cap) + 1
    Source: Yin et al., ICML 2018, definition 2; weighted as in Portnoy et al., 2020
        (arXiv 2004.04986), section 4
    """
    f_is_count(f)
    _cap_is_valid(cap)
    name = label("weighted_trimmed_mean", f=f, cap=cap)
    least = floor(2 * f * cap) + 1
    bound = "n >= floor(2 f cap) + 1"
    return _trimmed(name, cap, lambda n: f * cap / n, f, least, bound)


def _trimmed(
    name: str, cap: float, dropped: Callable[[int], float], f: int, least: int, bound: str
) -> Stage:
    def plan(rows: Statistics, state: Any) -> tuple[Blockwise, Any]:
        claims = rows.whose(name).examples
        kept = _kept(capped_weights(claims, cap), dropped(len(claims)), f)
        return Blockwise(partial(_mean_between, kept=kept)), state

    return Stage(name, least, bound, plan, blockwise=True)
