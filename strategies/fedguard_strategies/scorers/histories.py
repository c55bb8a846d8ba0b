"""Where every client pointed so far, as sketches: the memory that scorers share."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedguard.probes import Float64, Statistics
from fedguard.scoring import Memory, Rows
from fedguard.sketches import sketch
from fedguard_strategies.geometric_median import weiszfeld

__all__ = ["Histories", "centre_of", "histories", "unit"]

KEEP = 0.9
"""Of the past, in each round: the last ten rounds are two thirds of a history."""
FORGET_AFTER = 200
"""Rounds of absence after which a client's history is dropped."""

Sketches = NDArray[np.float32]


class Histories(NamedTuple):
    """Of each client, by name: the round it was last seen in, and the average of its unit rows.

    `sketches` has shape (clients, k).
    """

    round: int
    clients: tuple[str, ...]
    last: NDArray[np.int64]
    sketches: Sketches

    def of(self, clients: tuple[str, ...]) -> tuple[Float64, Rows]:
        """The histories of some clients, zeros for who has none, and who has one."""
        places = {client: place for place, client in enumerate(self.clients)}
        found = np.array([places.get(client, -1) for client in clients], np.intp)
        known = found >= 0
        rows = np.zeros((len(clients), self.sketches.shape[1]))
        rows[known] = self.sketches[found[known]]
        return rows, known

    def joined(self, clients: tuple[str, ...], units: Float64) -> Float64:
        """The histories of a round's clients with that round in them."""
        before, known = self.of(clients)
        return np.where(known[:, None], KEEP * before + (1.0 - KEEP) * units, units)


@cache
def histories(size: int = 1024, seed: int = 0) -> Memory:
    """Every client's moving average of its unit update, in a sketch of `size` numbers.

    Only the direction is kept: whoever sends a long update is not remembered the longer for it.
    Who knows the `seed` can hide in the sketch, so a federation should have its own.
    """
    sketched = sketch(size, seed)

    def init() -> Histories:
        return Histories(0, (), np.zeros(0, np.int64), np.zeros((0, size), np.float32))

    def learn(past: Histories, rows: Statistics) -> Histories:
        now, clients = past.round + 1, rows.whose("histories").clients
        joined = past.joined(clients, unit(rows.values[sketched]))
        absent = [
            place
            for place, client in enumerate(past.clients)
            if client not in set(clients) and now - past.last[place] <= FORGET_AFTER
        ]
        names = [*clients, *(past.clients[place] for place in absent)]
        last = np.concatenate([np.full(len(clients), now), past.last[absent]])
        sketches = np.concatenate([joined.astype(np.float32), past.sketches[absent]])
        order = np.argsort(np.array(names, object), kind="stable")
        ordered = tuple(names[place] for place in order)
        return Histories(now, ordered, last[order].astype(np.int64), sketches[order])

    return Memory(f"histories(size={size}, seed={seed})", init, learn, (sketched,))


def unit(rows: Float64) -> Float64:
    """Rows of length one; a row of zeros stays."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    units: Float64 = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return units


def centre_of(rows: Float64, among: Rows) -> Float64:
    """The geometric median of some rows, shape (k,)."""
    seen = rows[among]
    if not len(seen):
        return np.zeros(rows.shape[1])
    middle: Float64 = weiszfeld(seen @ seen.T) @ seen
    return middle
