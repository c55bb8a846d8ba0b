"""Where every client pointed so far, as sketches: the memory that scorers share."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedguard.blocks.threads import available_cores, share_out
from fedguard.probes import Float64, Statistics
from fedguard.scoring import Memory, Rows
from fedguard.sketches import sketch
from fedguard_strategies.geometric_median import ROUGH, weiszfeld
from fedguard_strategies.geometry import cosines, counted, parts
from fedguard_strategies.scorers.roster import Roster

__all__ = ["Recalled", "histories", "noise_of", "unit"]

KEEP = 0.9
"""Of the past, in each round: the last ten rounds are two thirds of a history."""

SHORTEST = 1e-150
"""What is shorter has squares that lost their digits, and a length would be anything."""

FEW_ROWS, ROWS = 512, 128
"""Up to which one core takes all rows at once, and how many it takes of more."""

Sketches = NDArray[np.float32]


class Recalled(NamedTuple):
    """What scorers see of a round's n clients; rows are sketches, shape (n, k).

    `units` are this round's rows at length one, `before` the histories without this round (zeros
    for who is not `known`) and `joined` with it. `gram` is that of `joined`, shape (n, n), with
    the cosines `angles`, and `weights`, shape (n,), make the geometric median of their directions,
    taken over the rows that count.
    """

    units: Sketches
    before: Sketches
    known: Rows
    joined: Sketches
    gram: Float64
    angles: Float64
    weights: Float64

    def residuals(self, rows: Sketches) -> Callable[[slice], Sketches]:
        """Some of the rows above less what all clients have in common, at length one."""
        common = self.weights.astype(np.float32) @ rows
        return lambda some: unit(rows[some] - common)


@cache
def histories(size: int = 1024, seed: int = 0) -> Memory:
    """Every client's moving average of its unit update, in a sketch of `size` numbers.

    Only the direction is kept: whoever sends a long update is not remembered the longer for it.
    Who knows the `seed` can hide in the sketch, so a federation should have its own.
    """
    sketched = sketch(size, seed)

    def init() -> Roster:
        return Roster.empty(np.zeros((0, size), np.float16))  # finer than a sketch is

    def recall(past: Roster, rows: Statistics, among: Rows) -> Recalled:
        from fedguard.halves import widened

        sketches = rows.values[sketched]
        stored, known = past.of(rows.whose("histories").clients)
        keep = np.where(known, np.float32(KEEP), np.float32(0.0))[:, None]
        before, (units, joined) = widened(stored), np.empty((2, rows.n, size), np.float32)
        for some in parts(rows.n, size):
            units[some] = unit(sketches[some])
            np.multiply(keep[some], before[some], out=joined[some])
            joined[some] += (np.float32(1.0) - keep[some]) * units[some]
        gram = _products(joined)
        angles, weights = cosines(gram), np.zeros(rows.n)
        if among.any():
            whose = counted(angles, among)
            weights[among] = weiszfeld(whose, tolerance=ROUGH / len(whose))
        return Recalled(units, before, known, joined, gram, angles, weights)

    def learn(past: Roster, rows: Statistics, recalled: Recalled) -> Roster:
        from fedguard.halves import narrowed

        return past.after(rows.whose("histories").clients, narrowed(recalled.joined))

    return Memory(f"histories(size={size}, seed={seed})", init, recall, learn, (sketched,))


def _products(rows: Sketches) -> Float64:
    """X Xᵀ in float64; of many rows by all cores, the same bits by however many."""
    n = len(rows)
    if n <= FEW_ROWS:
        return (rows @ rows.T).astype(np.float64)
    gram = np.empty((n, n))

    def fill(first: int) -> None:
        some, until = slice(first, first + ROWS), slice(min(first + ROWS, n))
        gram[some, until] = rows[some] @ rows[until].T
        gram[:first, some] = gram[some, :first].T

    share_out(fill, range(0, n, ROWS)[::-1], available_cores())  # the largest first
    return gram


def noise_of(size: int) -> float:
    """The standard deviation of a cosine by sketches of `size` numbers: no finer can be told."""
    return 1.0 / math.sqrt(size)


def unit(rows: NDArray[Any]) -> Sketches:
    """Rows of length one; what is too short to square is a row of zeros.

    In float64: the squares of a hostile client's float32 numbers are too large for their own kind.
    """
    wide = rows.astype(np.float64)
    lengths = np.sqrt(np.einsum("ij,ij->i", wide, wide))
    short = ~(lengths > SHORTEST)
    wide[short], lengths[short] = 0.0, 1.0
    wide /= lengths[:, None]
    return wide.astype(np.float32)
