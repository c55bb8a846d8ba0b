"""FoolsGold: clients whose history looks like another's share one voice."""

from __future__ import annotations

import numpy as np

from fedguard.defence import Linear, Stage
from fedguard.errors import NothingTrusted
from fedguard.probes import Float64, Statistics
from fedguard.sketches import sketch
from fedguard_strategies.bounds import is_count, label, need
from fedguard_strategies.geometry import cosines

__all__ = ["foolsgold", "foolsgold_weights"]

MOST = 0.99
"""The largest weight before the logit, which has none for 1."""


def foolsgold_weights(similarity: Float64, kappa: float = 1.0) -> Float64:
    """Weights in [0, 1] from cosines of histories, shapes (n, n) and (n,).

    Who is less similar to anybody than its likeness is (an honest client beside two sybils) is
    pardoned: its similarity is scaled down by the ratio.
    """
    others = similarity - np.diag(np.full(len(similarity), np.inf))
    closest = others.max(axis=1)
    ratio = np.ones_like(similarity)
    positive = (closest[:, None] < closest[None, :]) & (closest[None, :] > 0)
    np.divide(closest[:, None], closest[None, :], out=ratio, where=positive)
    weights: Float64 = np.clip(1.0 - (others * np.clip(ratio, 0.0, 1.0)).max(axis=1), 0.0, 1.0)
    if not weights.any():
        return weights
    weights = np.minimum(weights / weights.max(), MOST)
    with np.errstate(divide="ignore"):
        logits = kappa * (np.log(weights / (1.0 - weights)) + 0.5)
    clipped: Float64 = np.clip(logits, 0.0, 1.0)
    return clipped


def foolsgold(kappa: float = 1.0, size: int = 1024, seed: int = 0) -> Stage:
    """Weigh every row by how unlike all others its client's summed history is.

    The history is a count sketch of `size` numbers for each client, not d. Meant against sybils on
    skewed data: one attacker alone keeps its full weight, and honest clients on IID data look like
    sybils and lose theirs. The paper adds weighted rows up; here they are averaged. When nobody
    is trusted the round is held.

    Bound: n >= 2
    Source: Fung, Yoon and Beschastnikh, RAID 2020, algorithm 1, "The Limitations of Federated
        Learning in Sybil Settings"
    """
    need(kappa > 0, "kappa must be positive", kappa)
    is_count("size", size, 1)
    is_count("seed", seed, 0)
    name = label("foolsgold", kappa=None if kappa == 1.0 else kappa)
    sketched = sketch(size, seed)

    def plan(rows: Statistics, past: dict[str, Float64]) -> tuple[Linear, dict[str, Float64]]:
        clients = rows.whose(name).clients
        after = dict(past)
        for client, row in zip(clients, rows.values[sketched], strict=True):
            after[client] = row + past[client] if client in past else row
        histories = np.stack([after[client] for client in clients])
        weights = foolsgold_weights(cosines(histories @ histories.T), kappa)
        if not weights.any():
            raise NothingTrusted(name)
        return Linear(weights[None, :] / weights.sum()), after

    return Stage(name, 2, "n >= 2", plan, probes=(sketched,), init=dict)
