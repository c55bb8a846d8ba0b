"""Where every client pointed so far, as sketches: the memory that scorers share."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedguard.probes import Float64, Statistics
from fedguard.scoring import Memory, Rows
from fedguard.sketches import sketch
from fedguard_strategies.geometric_median import ROUGH, weiszfeld
from fedguard_strategies.geometry import cosines
from fedguard_strategies.scorers.roster import Roster

__all__ = ["Recalled", "histories", "noise_of", "unit"]

KEEP = 0.9
"""Of the past, in each round: the last ten rounds are two thirds of a history."""

SHORTEST = 1e-150
"""What is shorter has squares that lost their digits, and a length would be anything."""

Sketches = NDArray[np.float32]


class Recalled(NamedTuple):
    """What scorers see of a round's n clients; rows are sketches, shape (n, k).

    `units` are this round's rows at length one, `before` the histories without this round (zeros
    for who is not `known`) and `joined` with it. `gram` is that of `joined`, shape (n, n), and
    `weights`, shape (n,), make their geometric median, taken over the rows that count.
    """

    units: Sketches
    before: Sketches
    known: Rows
    joined: Sketches
    gram: Float64
    weights: Float64

    def residual(self, rows: Sketches) -> Sketches:
        """Some of the rows above less what all clients have in common, at length one."""
        return unit(rows - self.weights.astype(np.float32) @ rows)


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
        units = unit(rows.values[sketched])
        before, known = past.of(rows.whose("histories").clients)
        before = before.astype(np.float32)
        keep = np.where(known, np.float32(KEEP), np.float32(0.0))[:, None]
        joined = keep * before
        joined += (np.float32(1.0) - keep) * units
        gram = (joined @ joined.T).astype(np.float64)
        weights = np.zeros(rows.n)
        if among.any():
            angles = cosines(gram if among.all() else gram[np.ix_(among, among)])
            weights[among] = weiszfeld(angles, tolerance=ROUGH / len(angles))
        return Recalled(units, before, known, joined, gram, weights)

    def learn(past: Roster, rows: Statistics, recalled: Recalled) -> Roster:
        return past.after(rows.whose("histories").clients, recalled.joined.astype(np.float16))

    return Memory(f"histories(size={size}, seed={seed})", init, recall, learn, (sketched,))


def noise_of(size: int) -> float:
    """The standard deviation of a cosine by sketches of `size` numbers: no finer can be told."""
    return 1.0 / math.sqrt(size)


def unit(rows: NDArray[Any]) -> Sketches:
    """Rows of length one; what is too short to square is a row of zeros.

    In float64: the squares of a hostile client's float32 numbers are too large for their own kind.
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))[:, None]
    units = np.divide(rows, lengths, out=np.zeros(rows.shape), where=lengths > SHORTEST)
    told: Sketches = units.astype(np.float32)
    return told
