"""How far each update goes along a vector of the server's own, over rounds."""

from __future__ import annotations

from functools import cache

import numpy as np
from array_api_compat import array_namespace, device

from fedguard.probes import Float64, Probe, Statistics, gram
from fedguard.scoring import Memory, Rows, robust_z
from fedguard.types import Array, Vector
from fedguard_strategies.scorers.roster import Roster

__all__ = ["along"]

KEEP = 0.8
"""Of the past, in each round: a batch says little, five rounds say more."""
FARTHEST = 8.0
"""No one round counts as stranger: it alone is no alarm, and is soon forgotten."""


def _products(block: Array, vector: Vector, columns: slice) -> Float64:
    own = array_namespace(block).asarray(vector[None, :], dtype=block.dtype, device=device(block))
    products: Float64 = gram.on_block(block, own, columns)[:, 0]
    return products


@cache
def along(name: str, vector: str, sign: float) -> Memory:
    """The memory `name` of a robust z, averaged over rounds: `sign` times each row's product.

    One product a row with the server's vector `vector`, and no forward pass for every client.
    """
    probe = Probe(f"along {vector}", _products, linear=False, against=vector)

    def init() -> Roster:
        return Roster.empty(np.zeros(0))

    def recall(past: Roster, rows: Statistics, among: Rows) -> Float64:
        before, _ = past.of(rows.whose(name).clients)
        strange = np.clip(robust_z(sign * rows.values[probe], among), -FARTHEST, FARTHEST)
        averaged: Float64 = KEEP * before + (1.0 - KEEP) * np.nan_to_num(strange)
        return averaged

    def learn(past: Roster, rows: Statistics, strange: Float64) -> Roster:
        return past.after(rows.whose(name).clients, strange)

    return Memory(name, init, recall, learn, (probe,))
