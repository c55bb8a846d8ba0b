"""Min-Max and Min-Sum: as far out as can be while some honest row lies no nearer than that."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fedguard.defence import Act, Stage
from fedguard.probes import Float64, Statistics
from fedguard_simulations.attacks.perturbation import perturbation_of
from fedguard_strategies.bounds import is_count, label

__all__ = ["largest_gamma", "largest_gamma_of_sum", "min_max", "min_sum"]


def largest_gamma(gram: Float64, products: Float64, length: float) -> float:
    """The largest g for which mean + g p is as near every honest row as two of them are.

    `products` are <p, x_i> and `length` is ||p||². For each row that is a quadratic in g:
    ||mean - x_i||² + 2g <p, mean - x_i> + g² ||p||² <= D². The paper bisects for it; here it is
    solved.
    """
    squares = np.diagonal(gram)
    limit = float((squares[:, None] + squares[None, :] - 2 * gram).max())
    to_mean = squares - 2 * gram.mean(axis=1) + gram.mean()
    half = products.mean() - products
    if length <= 0.0:
        return 0.0
    roots = (-half + np.sqrt(np.maximum(half**2 + length * (limit - to_mean), 0.0))) / length
    return float(max(roots.min(), 0.0))


def largest_gamma_of_sum(gram: Float64, products: Float64, length: float) -> float:
    """The largest g for which mean + g p is as near all honest rows as the loneliest of them is.

    The products with p cancel over the rows: S(mean) + n g² ||p||² <= max_i S(x_i), where S sums
    squared distances to all honest rows.
    """
    squares = np.diagonal(gram)
    n = len(gram)
    sums = n * squares + squares.sum() - 2 * gram.sum(axis=1)
    to_mean = squares.sum() - n * gram.mean()
    if length <= 0.0:
        return 0.0
    return float(np.sqrt(max(sums.max() - to_mean, 0.0) / (n * length)))


def min_max(f: int, perturbation: str = "inverse_std") -> Stage:
    """Send mean - g std, f times, with g the largest that leaves no honest pair farther apart.

    `perturbation` is what g multiplies: "inverse_std", "inverse_sign" (the signs of the mean) or
    "inverse_unit_vector" (the mean, scaled to length 1), always taken away.

    Knows: every honest update of the round
    Budget: f updates a round, as near every honest one as two of those are
    Source: Shejwalkar and Houmansadr, NDSS 2021, section IV-C (perturbations: section IV)
    """
    return _optimised("min_max", f, perturbation, largest_gamma)


def min_sum(f: int, perturbation: str = "inverse_std") -> Stage:
    """Send mean - g std, f times, with g the largest that leaves an honest row more alone.

    Alone is who has the largest sum of squared distances to all honest rows. `perturbation` is as
    in `min_max`.

    Knows: every honest update of the round
    Budget: f updates a round, as near all honest ones as the loneliest of those
    Source: Shejwalkar and Houmansadr, NDSS 2021, section IV-C (perturbations: section IV)
    """
    return _optimised("min_sum", f, perturbation, largest_gamma_of_sum)


def _optimised(
    name: str, f: int, perturbation: str, largest: Callable[[Float64, Float64, float], float]
) -> Stage:
    is_count("f", f, 1)
    pushed = perturbation_of(perturbation)

    def plan(honest: Statistics, state: Any) -> tuple[Act, Any]:
        return pushed.act(honest, largest(honest.gram, *pushed.products(honest)), f), state

    given = None if perturbation == "inverse_std" else perturbation
    name = label(name, f=f, perturbation=given)
    return Stage(name, 2, "n >= 2 honest", plan, probes=pushed.probes, blockwise=pushed.blockwise)
