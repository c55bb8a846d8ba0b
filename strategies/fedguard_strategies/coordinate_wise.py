"""Rules that look at each coordinate alone: trimmed mean, median, mean around the median."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.defence import Blockwise, Stage
from fedguard.probes import Statistics
from fedguard.types import Array
from fedguard_strategies.bounds import f_is_count, label

__all__ = ["coordinate_median", "mean_around_median", "trimmed_mean"]


def _mean(rows: Array) -> Array:
    averaged: Array = rows.mean(axis=0, keepdims=True, dtype=np.float64).astype(rows.dtype)
    return averaged


def trimmed_mean(f: int) -> Stage:
    """Drop the f largest and the f smallest values of each coordinate, average the rest.

    A colluder that stays inside the honest range (ALIE, Min-Max) is never dropped.

    Bound: n >= 2f + 1
    Source: Yin et al., ICML 2018, definition 2
    """
    f_is_count(f)

    def kernel(rows: Array) -> Array:
        return _mean(np.sort(rows, axis=0)[f : len(rows) - f])

    def plan(rows: Statistics, state: Any) -> tuple[Blockwise, Any]:
        return Blockwise(kernel), state

    name = label("trimmed_mean", f=f)
    return Stage(name, 2 * f + 1, "n >= 2f + 1", plan, blockwise=True)


def coordinate_median() -> Stage:
    """Take the median of each coordinate (the mean of the middle two when n is even).

    Under label skew it drops what only a minority of honest clients knows.

    Bound: n >= 1
    Source: Yin et al., ICML 2018, definition 1
    """

    def kernel(rows: Array) -> Array:
        return np.median(rows, axis=0, keepdims=True).astype(rows.dtype)

    def plan(rows: Statistics, state: Any) -> tuple[Blockwise, Any]:
        return Blockwise(kernel), state

    return Stage("coordinate_median()", 1, "n >= 1", plan, blockwise=True)


def mean_around_median(f: int) -> Stage:
    """MeaMed: average, in each coordinate, the n - f values nearest the median.

    Of two values equally far the smaller is taken first.

    Bound: n >= 2f + 1
    Source: Xie et al., 2018 (arXiv 1802.10116), section 3, "Generalized Byzantine-tolerant SGD"
    """
    f_is_count(f)

    def kernel(rows: Array) -> Array:
        ordered = np.sort(rows, axis=0)
        distance = np.abs(ordered - np.median(ordered, axis=0))
        kept = np.argsort(distance, axis=0, kind="stable")[: len(rows) - f]
        return _mean(np.take_along_axis(ordered, np.sort(kept, axis=0), axis=0))

    def plan(rows: Statistics, state: Any) -> tuple[Blockwise, Any]:
        return Blockwise(kernel), state

    name = label("mean_around_median", f=f)
    return Stage(name, 2 * f + 1, "n >= 2f + 1", plan, blockwise=True)
