"""Behaviour: does the client make the model worse on the server's own clean data."""

from __future__ import annotations

from fedguard.probes import Float64, Statistics
from fedguard.scoring import Rows, Scorer
from fedguard_strategies.scorers.along import along

__all__ = ["behaviour"]


def behaviour() -> Scorer:
    """How much less than others' a client's updates lower the loss on the server's canary set.

    To first order an update changes the loss by its product with the gradient there, which points
    against the root update, what the server learns on the canary set in the round: one product a
    row, and no forward pass for every client. Its robust z is averaged over rounds. Needs the
    vector "root"; a few hundred examples like the clients' are enough.

    Source: loss on a validation set as in Xie et al. (Zeno), ICML 2019, to first order
    """
    memory = along("behaviour", "root", -1.0)

    def score(rows: Statistics, among: Rows, worse: Float64) -> Float64:
        return worse

    return Scorer("behaviour()", "behaviour", score, (1.3, 2.2, 2.8), memory.probes, memory)
