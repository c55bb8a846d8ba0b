"""Colluders with one aim whose noises are orthogonal: no two look more alike than the honest."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.defence import Blockwise, Chain, Linear, Stage, chain
from fedguard.probes import Float64, Statistics, gram
from fedguard.types import Array
from fedguard_simulations.attacks.sybil import noise_of
from fedguard_strategies.bounds import is_count, label, need

__all__ = ["decorrelated", "orthogonal"]


def orthogonal(gram: Float64) -> Float64:
    """Weights that make rows orthogonal and equally long, each as near to its own as can be.

    That is G^(-1/2), times the rows' root mean squared length; rows that others already span give
    way.
    """
    values, vectors = np.linalg.eigh(gram)
    spanned = values > 1e-9 * max(values[-1], 0.0)
    inverse = np.where(spanned, 1.0 / np.sqrt(np.where(spanned, values, 1.0)), 0.0)
    weights: Float64 = np.sqrt(np.trace(gram) / len(gram)) * (vectors * inverse) @ vectors.T
    return weights


def decorrelated(f: int, pull: float = 1.0, seed: int = 0) -> Chain:
    """Send minus `pull` times the honest mean, each with noise of its own at right angles to all.

    The noise is as long as honest rows are far from their mean, and spread over the coordinates as
    they are. With a pull of 1 two colluders are as alike as two honest clients; with f attackers in
    fewer than f dimensions the noises cannot all be orthogonal. New in every round.

    Knows: every honest update of the round
    Budget: f updates a round, pull times the honest mean and the honest spread
    Source: Fung et al. (FoolsGold), RAID 2020 (sybils that perturb their updates);
        orthogonal by Löwdin, J. Chem. Phys. 18, 1950
    """
    is_count("f", f, 1)
    need(pull > 0, "pull must be positive", pull)

    def draw(honest: Statistics, done: int) -> tuple[Blockwise, int]:
        def kernel(rows: Array, columns: slice) -> Array:
            aim = np.asarray(-pull, rows.dtype) * rows.mean(axis=0)
            return np.stack([aim, *(noise_of(rows, (seed, done, i), columns) for i in range(f))])

        return Blockwise(kernel, rows=f + 1), done + 1

    def turn(drawn: Statistics, state: Any) -> tuple[Linear, Any]:
        return Linear(np.hstack([np.ones((f, 1)), orthogonal(drawn.gram[1:, 1:])])), state

    name = label("decorrelated", f=f, pull=pull)
    return chain(
        Stage(name, 2, "n >= 2 honest", draw, init=lambda: 0, blockwise=True),
        Stage(label("orthogonal", f=f), f + 1, "n >= f + 1", turn, probes=(gram,)),
    )
