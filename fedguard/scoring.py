"""How strange is each client this round: the contract of a scorer, and what scorers share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedguard.errors import InvalidParameter
from fedguard.probes import Float64, Probe, Statistics

__all__ = ["MOST_SURPRISE", "Memory", "Rows", "Scorer", "robust_z", "surprise"]

Rows = NDArray[np.bool_]

MOST_SURPRISE = 4.0
"""No score counts as rarer than one honest round in 10^4: a tail is not known any further."""


class Memory(NamedTuple):
    """What is kept of past rounds for the scorers that share it.

    `init()` is what is known before the first round, `recall(past, rows, among)` what scorers see
    of it in a round, `learn(past, rows, recalled)` what is known afterwards. A client's rows teach
    only what is known of that client, so who is not accepted may be learnt from too.
    """

    name: str
    init: Callable[[], Any]
    recall: Callable[[Any, Statistics, Rows], Any]
    learn: Callable[[Any, Statistics, Any], Any]
    probes: tuple[Probe, ...] = ()


class Scorer(NamedTuple):
    """A pure function of a round's statistics: `score(rows, among, seen)` is float64, shape (n,).

    Higher is stranger, in robust standard deviations of the rows `among`, shape (n,): those that
    count, every copy once. The others are scored against them. `seen` is what its `memory`
    recalls of the rounds before: first scored, then learnt. `tail` are the scores that one in 10,
    in 100, in 1000 honest client-rounds exceed, measured over honest federations of any skew.
    `probes` are the additive statistics it reads, so it costs no pass of its own.
    """

    name: str
    family: str
    score: Callable[[Statistics, Rows, Any], Float64]
    tail: tuple[float, float, float]
    probes: tuple[Probe, ...] = ()
    memory: Memory | None = None


def robust_z(values: Float64, among: Rows | None = None, least: float = 0.0) -> Float64:
    """(values - median) / (1.4826 MAD): standard deviations, as the honest majority sees them.

    Median and MAD are those of the values `among`, of all by default. Where more than half of
    them are equal the MAD is zero; the scale is then a millionth of their median size, so that
    those who differ stand out and nobody divides by zero. It is never below `least`: differences
    finer than the values are known to are none. One wild value cannot set the scale.

    >>> robust_z(np.array([1.0, 2.0, 3.0, 4.0, 100.0])).round(2)
    array([-1.35, -0.67,  0.  ,  0.67, 65.43])
    """
    seen = values if among is None else values[among]
    if not len(seen):
        return np.zeros(len(values))
    middle = np.median(seen)
    spread = 1.4826 * float(np.median(np.abs(seen - middle)))
    sizes = np.abs(seen)
    floor = 1e-6 * float(np.median(sizes) or sizes.max()) or 1.0
    z: Float64 = (values - middle) / max(spread, floor, least)
    return z


def surprise(scores: Float64, tail: Sequence[float]) -> Float64:
    """-log10 of the share of honest client-rounds at least as strange, at most `MOST_SURPRISE`.

    A conformal p-value against the reference sample that `tail` sums up, linear between its
    quantiles and beyond the last.

    >>> surprise(np.array([-3.0, 2.0, 3.0, 9.0, 50.0]), (2.0, 4.0, 9.0))
    array([0. , 1. , 1.5, 3. , 4. ])

    Source: Vovk, Gammerman and Shafer, 2005, section 4.2, with the calibration set kept
    """
    one, two, three = tail
    if not 0 < one < two < three:
        raise InvalidParameter(f"a tail is three rising positive scores, got {tail!r}")
    known = np.interp(scores, (0.0, one, two, three), (0.0, 1.0, 2.0, 3.0))
    beyond = 3.0 + (scores - three) / (three - two)
    found: Float64 = np.minimum(np.where(scores > three, beyond, known), MOST_SURPRISE)
    return found
