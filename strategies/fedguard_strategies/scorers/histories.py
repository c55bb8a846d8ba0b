"""Where every client pointed so far, as sketches: the memory that scorers share."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedguard.probes import Float64, Statistics
from fedguard.scoring import Memory, Rows
from fedguard.sketches import sketch
from fedguard_strategies.geometric_median import weiszfeld
from fedguard_strategies.geometry import cosines

__all__ = ["Histories", "Recalled", "histories", "noise_of", "unit"]

KEEP = 0.9
"""Of the past, in each round: the last ten rounds are two thirds of a history."""
FORGET_AFTER = 200
"""Rounds of absence after which a client's history is dropped."""
ENOUGH = 1e-4
"""How far a weight of the median may still be off, as a part of an even share."""

Sketches = NDArray[np.float32]


class Histories(NamedTuple):
    """Of each client, by name: the round it was last seen in, and the average of its unit rows.

    `sketches` has shape (clients, k); float16 is finer than a sketch is.
    """

    round: int
    clients: tuple[str, ...]
    last: NDArray[np.int64]
    sketches: NDArray[np.float16]


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

    def init() -> Histories:
        return Histories(0, (), np.zeros(0, np.int64), np.zeros((0, size), np.float16))

    def recall(past: Histories, rows: Statistics, among: Rows) -> Recalled:
        units = unit(rows.values[sketched].astype(np.float32))
        before, known = _of(past, rows.whose("histories").clients)
        keep = np.where(known, np.float32(KEEP), np.float32(0.0))[:, None]
        joined = keep * before
        joined += (np.float32(1.0) - keep) * units
        gram = (joined @ joined.T).astype(np.float64)
        weights = np.zeros(rows.n)
        if among.any():
            angles = cosines(gram if among.all() else gram[np.ix_(among, among)])
            weights[among] = weiszfeld(angles, tolerance=ENOUGH / len(angles))
        return Recalled(units, before, known, joined, gram, weights)

    def learn(past: Histories, rows: Statistics, recalled: Recalled) -> Histories:
        now, clients = past.round + 1, rows.whose("histories").clients
        here = set(clients)
        absent = [
            place
            for place, client in enumerate(past.clients)
            if client not in here and now - past.last[place] <= FORGET_AFTER
        ]
        names = [*clients, *(past.clients[place] for place in absent)]
        order = sorted(range(len(names)), key=names.__getitem__)
        last = np.concatenate([np.full(len(clients), now, np.int64), past.last[absent]])
        sketches = np.concatenate([recalled.joined.astype(np.float16), past.sketches[absent]])
        ordered = tuple(names[place] for place in order)
        return Histories(now, ordered, last[order], sketches[order])

    return Memory(f"histories(size={size}, seed={seed})", init, recall, learn, (sketched,))


def _of(past: Histories, clients: tuple[str, ...]) -> tuple[Sketches, Rows]:
    """The histories of some clients, zeros for who has none, and who has one."""
    places = {client: place for place, client in enumerate(past.clients)}
    found = np.array([places.get(client, -1) for client in clients], np.intp)
    known = found >= 0
    if not known.any():
        return np.zeros((len(clients), past.sketches.shape[1]), np.float32), known
    rows = past.sketches[found].astype(np.float32)
    rows[~known] = 0.0
    return rows, known


def noise_of(size: int) -> float:
    """The standard deviation of a cosine by sketches of `size` numbers: no finer can be told."""
    return 1.0 / math.sqrt(size)


def unit(rows: Sketches) -> Sketches:
    """Rows of length one; a row of zeros stays."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    units: Sketches = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return units
