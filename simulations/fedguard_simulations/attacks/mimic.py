"""Mimic: copy one honest client, so that its peculiarity counts f + 1 times."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.defence import Linear, Stage
from fedguard.errors import InvalidParameter
from fedguard.probes import Statistics, gram

__all__ = ["farthest", "mimic"]


def farthest(honest: Statistics, chosen: str | None) -> tuple[int, str]:
    """The row that lies farthest along the honest rows' widest direction, and whom to stay with.

    That is the client whom the first round chose, whose row it is in every round it takes part in.
    """
    clients = honest.whose("farthest").clients
    if chosen in clients:
        return clients.index(chosen), chosen
    centre = np.eye(honest.n) - 1.0 / honest.n
    _, vectors = np.linalg.eigh(centre @ honest.gram @ centre)
    target = int(np.argmax(np.abs(vectors[:, -1])))
    return target, chosen or clients[target]


def mimic(f: int) -> Stage:
    """Copy, f times, the honest client that lies farthest along the direction of most variance.

    The client is chosen in the first round and stays chosen; where it takes no part, that round's
    farthest is copied.

    Knows: every honest update of the round
    Budget: f updates a round, copies of an honest one
    Source: Karimireddy et al., ICLR 2022 (mimic; direction from the first round, about the mean)
    """
    if f < 1:
        raise InvalidParameter(f"f must be at least 1, got {f!r}")

    def plan(honest: Statistics, chosen: str | None) -> tuple[Linear, Any]:
        target, chosen = farthest(honest, chosen)
        weights = np.zeros((f, honest.n))
        weights[:, target] = 1.0
        return Linear(weights), chosen

    return Stage(f"mimic(f={f})", 1, "n >= 1 honest", plan, probes=(gram,))
