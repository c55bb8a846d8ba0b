"""Colluders that are not copies: sybils of one aim, slanderers of one victim, any with jitter."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.defence import Blockwise, Stage
from fedguard.draws import normals
from fedguard.errors import InvalidParameter
from fedguard.probes import Statistics, gram
from fedguard.types import Array
from fedguard_simulations.attacks.mimic import farthest

__all__ = ["jittered", "slander", "sybil"]


def noise_of(rows: Array, key: tuple[int, ...], columns: slice) -> Array:
    """Gaussian noise with the standard deviation that the rows have in each coordinate."""
    drawn = normals(key, columns).astype(rows.dtype)
    noise: Array = rows.std(axis=0) * drawn
    return noise


def sybil(f: int, epsilon: float = 2.0, noise: float = 1.0, seed: int = 0) -> Stage:
    """Send minus `epsilon` times the honest mean, each with noise of its own.

    The noise is `noise` honest standard deviations in each coordinate, new in every round, so that
    no two are copies and no single round shows the collusion.

    Knows: every honest update of the round
    Budget: f updates a round, of any length
    Source: Fung et al. (FoolsGold), RAID 2020 (sybils that perturb their updates)
    """
    if f < 1 or not epsilon > 0 or not noise >= 0:
        raise InvalidParameter(
            f"f >= 1, epsilon > 0 and noise >= 0 are needed, got {f!r}, {epsilon!r}, {noise!r}"
        )

    def plan(honest: Statistics, done: int) -> tuple[Blockwise, int]:
        def kernel(rows: Array, columns: slice) -> Array:
            aim = np.asarray(-epsilon, rows.dtype) * rows.mean(axis=0)
            part = np.asarray(noise, rows.dtype)
            own = [part * noise_of(rows, (seed, done, each), columns) for each in range(f)]
            return np.stack([aim + each for each in own])

        return Blockwise(kernel, rows=f), done + 1

    name = f"sybil(f={f}, epsilon={epsilon!r}, noise={noise!r})"
    return Stage(name, 2, "n >= 2 honest", plan, init=lambda: 0, blockwise=True)


def slander(f: int, noise: float = 0.05, seed: int = 0) -> Stage:
    """Make the honest client that lies farthest out look bad: half copy it, half pull away.

    Copies, with a little noise, make it a sybil; the others send the mean moved away from it, so
    that it stands alone.

    Knows: every honest update of the round
    Budget: f updates a round, as far from the honest mean as the victim
    Source: Hoffman et al., ACM Computing Surveys 2009, section 3.2 (slandering), "A Survey of
        Attack and Defense Techniques for Reputation Systems"
    """
    if f < 1 or not noise >= 0:
        raise InvalidParameter(f"f >= 1 and noise >= 0 are needed, got {f!r}, {noise!r}")

    def plan(honest: Statistics, state: tuple[int, Any]) -> tuple[Blockwise, Any]:
        done, chosen = state
        victim, chosen = farthest(honest, chosen)

        def kernel(rows: Array, columns: slice) -> Array:
            own, mean = rows[victim], rows.mean(axis=0)
            part = np.asarray(noise, rows.dtype)
            aims = [own if each < f // 2 else 2 * mean - own for each in range(f)]
            keys = [(seed, done, each) for each in range(f)]
            return np.stack(
                [
                    aim + part * noise_of(rows, key, columns)
                    for aim, key in zip(aims, keys, strict=True)
                ]
            )

        return Blockwise(kernel, rows=f), (done + 1, chosen)

    name = f"slander(f={f}, noise={noise!r})"
    start: tuple[int, Any] = (0, None)
    return Stage(name, 2, "n >= 2 honest", plan, probes=(gram,), init=lambda: start, blockwise=True)


def jittered(scale: float = 0.01, seed: int = 0) -> Stage:
    """After another attack, in `chain(min_max(f=4), jittered())`: no two send the same.

    Each coordinate is off by `scale` of itself (standard deviation), anew for every row and round.
    A server that counts copies once counts these f times.

    Knows: what the attack before it knows
    Budget: that attack's, and a hundredth (`scale`) of its length beside it
    Source: Fung et al. (FoolsGold), RAID 2020 (sybils that perturb their updates)
    """
    if not scale > 0:
        raise InvalidParameter(f"scale must be positive, got {scale!r}")

    def plan(crafted: Statistics, done: int) -> tuple[Blockwise, int]:
        def kernel(rows: Array, columns: slice) -> Array:
            part = np.asarray(scale, rows.dtype)
            drawn = [normals((seed, done, each), columns) for each in range(len(rows))]
            return rows + part * rows * np.stack(drawn).astype(rows.dtype)

        return Blockwise(kernel, rows=crafted.n), done + 1

    return Stage(f"jittered(scale={scale!r})", 1, "n >= 1", plan, init=lambda: 0, blockwise=True)
