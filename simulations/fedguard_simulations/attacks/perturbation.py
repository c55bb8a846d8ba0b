"""Directions to push the honest mean along: against it, its signs, or the honest spread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from fedguard.defence import Act, Blockwise, Linear
from fedguard.errors import InvalidParameter
from fedguard.probes import Float64, Probe, Statistics, gram
from fedguard.types import Array

__all__ = ["Perturbation", "perturbation_of"]


class Perturbation(NamedTuple):
    """A direction p of the paper, to which attacks add as much as they dare.

    `products` are <p, x_i> of every row, shape (n,), and ||p||²; `act` sends mean + gamma p.
    """

    probes: tuple[Probe, ...]
    products: Callable[[Statistics], tuple[Float64, float]]
    act: Callable[[Statistics, float, int], Act]
    blockwise: bool = True


def _along(direction: Callable[[Array], Array]) -> Callable[[Array, slice], Float64]:
    def on_block(block: Array, columns: slice) -> Float64:
        """<p, x_i> and, in every row, <p, p>; shape (n, 2)."""
        rows = block.astype(np.float64)
        along = direction(rows)
        return np.stack([rows @ along, np.full(len(rows), along @ along)], axis=1)

    return on_block


def _by_coordinate(name: str, size: Callable[[Array], Array]) -> Perturbation:
    """p = -size(rows), which each coordinate tells for itself."""
    told = Probe(name, _along(lambda rows: -size(rows)), linear=False, collective=True)

    def products(honest: Statistics) -> tuple[Float64, float]:
        value = honest.values[told]
        return value[:, 0], float(value[0, 1])

    def act(honest: Statistics, gamma: float, f: int) -> Blockwise:
        def kernel(rows: Array, columns: slice) -> Array:
            crafted = rows.mean(axis=0) - np.asarray(gamma, rows.dtype) * size(rows)
            return np.repeat(crafted[None, :], f, axis=0)

        return Blockwise(kernel, rows=f)

    return Perturbation((gram, told), products, act)


def _std(rows: Array) -> Array:
    spread: Array = rows.std(axis=0)
    return spread


def _sign(rows: Array) -> Array:
    signs: Array = np.sign(rows.mean(axis=0))
    return signs


def _of_unit_vector(honest: Statistics) -> tuple[Float64, float]:
    length = _mean_length(honest)
    if length == 0.0:
        return np.zeros(honest.n), 0.0
    return -honest.gram.mean(axis=1) / length, 1.0


def _along_unit_vector(honest: Statistics, gamma: float, f: int) -> Linear:
    length = _mean_length(honest)
    share = 1.0 - gamma / length if length else 1.0
    return Linear(np.full((f, honest.n), share / honest.n))


def _mean_length(honest: Statistics) -> float:
    return float(np.sqrt(max(honest.gram.mean(), 0.0)))


PERTURBATIONS: Mapping[str, Perturbation] = MappingProxyType(
    {
        "inverse_std": _by_coordinate("deviation", _std),
        "inverse_sign": _by_coordinate("signs of the mean", _sign),
        "inverse_unit_vector": Perturbation(
            (gram,), _of_unit_vector, _along_unit_vector, blockwise=False
        ),
    }
)


def perturbation_of(name: str) -> Perturbation:
    """The perturbation of that name in the paper. Raises `InvalidParameter`."""
    if name not in PERTURBATIONS:
        raise InvalidParameter(f"perturbation must be one of {list(PERTURBATIONS)}, got {name!r}")
    return PERTURBATIONS[name]
