"""What a memory keeps of every client, through rounds it takes part in and rounds it misses."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedguard.scoring import Rows

__all__ = ["Roster"]

FORGET_AFTER = 200
"""Rounds of absence after which a client is forgotten."""


class Roster(NamedTuple):
    """Of each client, by name: the round it was last seen in, and its row of `values`."""

    round: int
    clients: tuple[str, ...]
    last: NDArray[np.int64]
    values: NDArray[Any]

    @classmethod
    def empty(cls, values: NDArray[Any]) -> Roster:
        """Nobody, whose values have the dtype and shape of these, no rows."""
        return cls(0, (), np.zeros(0, np.int64), values)

    def of(self, clients: tuple[str, ...]) -> tuple[NDArray[Any], Rows]:
        """The values of some clients, zeros for who is not known, and who is. Only to be read."""
        if clients == self.clients:
            return self.values, np.ones(len(clients), bool)
        places = {client: place for place, client in enumerate(self.clients)}
        found = np.array([places.get(client, -1) for client in clients], np.intp)
        known = found >= 0
        if not known.any():
            return np.zeros((len(clients), *self.values.shape[1:]), self.values.dtype), known
        rows = self.values[found]
        rows[~known] = 0
        return rows, known

    def after(self, clients: tuple[str, ...], values: NDArray[Any]) -> Roster:
        """One round later, with new values of those who took part."""
        now = self.round + 1
        if clients == self.clients:
            return Roster(now, clients, np.full(len(clients), now, np.int64), values)
        here = set(clients)
        absent = [
            place
            for place, client in enumerate(self.clients)
            if client not in here and now - self.last[place] <= FORGET_AFTER
        ]
        names = [*clients, *(self.clients[place] for place in absent)]
        order = sorted(range(len(names)), key=names.__getitem__)
        last = np.concatenate([np.full(len(clients), now, np.int64), self.last[absent]])
        joined = np.concatenate([values, self.values[absent]])
        ordered = tuple(names[place] for place in order)
        return Roster(now, ordered, last[order], joined[order])
