"""Server optimisers: what the model does with a round's aggregate. Each follows any defence."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fedguard.optimisers import Optimiser
from fedguard.types import Vector
from fedguard_strategies.bounds import label, need

__all__ = ["fedadagrad", "fedadam", "fedavgm", "fedyogi"]


class Moments(NamedTuple):
    """Running first and second moments of the aggregates, shape (d,) each, after `rounds`."""

    rounds: int
    first: Vector
    second: Vector


def fedavgm(momentum: float = 0.9, lr: float = 1.0) -> Optimiser:
    """Step along the sum of past aggregates, each `momentum` times the weight of the next.

    Source: Hsu et al., 2019 (arXiv:1909.06335), section 4
    """
    need(0 <= momentum < 1, "momentum must lie in [0, 1)", momentum)
    need(lr > 0, "lr must be positive", lr)

    def step(aggregate: Vector, velocity: Any) -> tuple[Vector, Vector]:
        velocity = aggregate if velocity is None else momentum * velocity + aggregate
        return lr * velocity, velocity

    return Optimiser(label("fedavgm", momentum=momentum, lr=lr), step)


def fedadam(
    lr: float = 0.1, beta_1: float = 0.9, beta_2: float = 0.99, tau: float = 1e-3
) -> Optimiser:
    """Scale the averaged aggregate by its root mean square, a coordinate at a time, bias removed.

    `tau` bounds how far coordinates that hardly move are scaled up.

    Source: Reddi et al., ICLR 2021, algorithm 2; bias removed as in Kingma and Ba, ICLR 2015,
        section 2, counted as Flower's FedAdam counts it
    """
    need(0 <= beta_2 < 1, "beta_2 must lie in [0, 1)", beta_2)

    def scale(rounds: int) -> float:
        power = rounds + 1.0
        return float(lr * np.sqrt(1 - beta_2**power) / (1 - beta_1**power))

    def second(before: Vector, square: Vector) -> Vector:
        return beta_2 * before + (1 - beta_2) * square

    name = label("fedadam", lr=lr, beta_1=beta_1, beta_2=beta_2, tau=tau)
    return _adaptive(name, lr, beta_1, tau, second, scale)


def fedyogi(
    lr: float = 0.01, beta_1: float = 0.9, beta_2: float = 0.99, tau: float = 1e-3
) -> Optimiser:
    """As `fedadam`, with a second moment that moves by no more than the new square.

    Source: Reddi et al., ICLR 2021, algorithm 2
    """
    need(0 <= beta_2 < 1, "beta_2 must lie in [0, 1)", beta_2)

    def second(before: Vector, square: Vector) -> Vector:
        return before - (1 - beta_2) * square * np.sign(before - square)

    name = label("fedyogi", lr=lr, beta_1=beta_1, beta_2=beta_2, tau=tau)
    return _adaptive(name, lr, beta_1, tau, second)


def fedadagrad(lr: float = 0.1, beta_1: float = 0.0, tau: float = 1e-3) -> Optimiser:
    """Scale the aggregate by the root of the sum of all past squares, a coordinate at a time.

    Source: Reddi et al., ICLR 2021, algorithm 2
    """

    def second(before: Vector, square: Vector) -> Vector:
        return before + square

    return _adaptive(label("fedadagrad", lr=lr, beta_1=beta_1, tau=tau), lr, beta_1, tau, second)


def _adaptive(
    name: str, lr: float, beta_1: float, tau: float, second: Any, scale: Any = None
) -> Optimiser:
    """The half that algorithm 2 has in common; `scale(rounds)` replaces a constant `lr`."""
    need(lr > 0, "lr must be positive", lr)
    need(0 <= beta_1 < 1, "beta_1 must lie in [0, 1)", beta_1)
    need(tau > 0, "tau must be positive", tau)

    def step(aggregate: Vector, kept: Any) -> tuple[Vector, Moments]:
        zero = np.zeros_like(aggregate)
        before = Moments(0, zero, zero) if kept is None else kept
        first = beta_1 * before.first + (1 - beta_1) * aggregate
        after = Moments(before.rounds + 1, first, second(before.second, aggregate**2))
        rate = scale(after.rounds) if scale else lr
        return rate * first / (np.sqrt(after.second) + tau), after

    return Optimiser(name, step)
