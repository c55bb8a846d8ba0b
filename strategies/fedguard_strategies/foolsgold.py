"""FoolsGold: clients whose history looks like another's share one voice."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fedguard.defence import Linear, Stage
from fedguard.errors import NothingTrusted
from fedguard.probes import Float64, Statistics, squares
from fedguard.sketches import sketch
from fedguard_strategies.bounds import is_count, label, need
from fedguard_strategies.geometry import cosines

__all__ = ["History", "foolsgold", "foolsgold_weights"]

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


class History(NamedTuple):
    """What is kept of one client: the last round it was seen in, and its rows' summed sketch."""

    last_round: int
    sketch: Float64


def foolsgold(
    kappa: float = 1.0, forget_after: int = 100, size: int = 1024, seed: int = 0
) -> Stage:
    """Weigh every row by how unlike all others its client's summed history is.

    The history is a count sketch of `size` numbers for each client, not d, kept until the client
    is away for more than `forget_after` rounds. Meant against sybils on skewed data: one attacker
    alone keeps its full weight, and honest clients on IID data look like sybils and lose theirs.
    The paper adds weighted rows up; here they are averaged. When nobody is trusted the round is
    held.

    Bound: n >= 2
    Source: Fung, Yoon and Beschastnikh, RAID 2020, algorithm 1, "The Limitations of Federated
        Learning in Sybil Settings"
    """
    need(kappa > 0, "kappa must be positive", kappa)
    is_count("size", size, 1)
    is_count("seed", seed, 0)
    is_count("forget_after", forget_after, 1)
    changed: dict[str, float] = {} if kappa == 1.0 else {"kappa": kappa}
    changed |= {} if forget_after == 100 else {"forget_after": forget_after}
    changed |= {} if size == 1024 else {"size": size}
    name = label("foolsgold", **changed, seed=seed or None)
    sketched = sketch(size, seed)

    def plan(rows: Statistics, past: dict[str, History]) -> tuple[Linear, dict[str, History]]:
        clients = rows.whose(name).clients
        now = 1 + max((each.last_round for each in past.values()), default=0)
        after = {
            client: each for client, each in past.items() if now - each.last_round <= forget_after
        }
        for client, row in zip(clients, rows.values[sketched], strict=True):
            summed = row + past[client].sketch if client in past else row
            after[client] = History(now, summed)
        histories = np.stack([after[client].sketch for client in clients])
        weights = foolsgold_weights(cosines(histories @ histories.T), kappa)
        if not weights.any():
            raise NothingTrusted(name)
        return Linear(weights[None, :] / weights.sum()), after

    return Stage(name, 2, "n >= 2", plan, probes=(squares, sketched), init=dict)
