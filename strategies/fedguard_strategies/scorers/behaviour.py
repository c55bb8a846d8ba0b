"""Behaviour: does the client make the model worse on the server's own clean data."""

from __future__ import annotations

from functools import cache

import numpy as np
from array_api_compat import array_namespace, device

from fedguard.probes import Float64, Probe, Statistics, gram
from fedguard.scoring import Memory, Rows, Scorer, robust_z
from fedguard.types import Array, Vector
from fedguard_strategies.scorers.roster import Roster

__all__ = ["behaviour"]

KEEP = 0.8
"""Of the past, in each round: a batch says little, five rounds say more."""
FARTHEST = 8.0
"""No one round counts as stranger: it alone is no alarm, and is soon forgotten."""


def behaviour() -> Scorer:
    """How much less than others' a client's updates lower the loss on the server's canary set.

    To first order an update changes the loss by its product with the gradient there, which points
    against the root update, what the server learns on the canary set in the round: one product a
    row, and no forward pass for every client. Its robust z is averaged over rounds. Needs the
    vector "root"; a few hundred examples like the clients' are enough.

    Source: loss on a validation set as in Xie et al. (Zeno), ICML 2019, section 3, to first order
    """
    memory = _behaviours()

    def score(rows: Statistics, among: Rows, worse: Float64) -> Float64:
        return worse

    return Scorer("behaviour()", "behaviour", score, (1.3, 2.2, 2.8), memory.probes, memory)


def _along(block: Array, root: Vector, columns: slice) -> Float64:
    own = array_namespace(block).asarray(root[None, :], dtype=block.dtype, device=device(block))
    products: Float64 = gram.on_block(block, own, columns)[:, 0]
    return products


along = Probe("along root", _along, linear=False, against="root")
"""The product of every row with the root update."""


@cache
def _behaviours() -> Memory:
    def init() -> Roster:
        return Roster.empty(np.zeros(0))

    def recall(past: Roster, rows: Statistics, among: Rows) -> Float64:
        before, _ = past.of(rows.whose("behaviour").clients)
        worse = np.clip(robust_z(-rows.values[along], among), -FARTHEST, FARTHEST)
        averaged: Float64 = KEEP * before + (1.0 - KEEP) * np.nan_to_num(worse)
        return averaged

    def learn(past: Roster, rows: Statistics, worse: Float64) -> Roster:
        return past.after(rows.whose("behaviour").clients, worse)

    return Memory("behaviour", init, recall, learn, (along,))
