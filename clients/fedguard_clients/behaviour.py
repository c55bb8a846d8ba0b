"""What a client does to its data before training, in training, and to its update after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedguard.errors import InvalidParameter
from fedguard.types import Array, Vector

__all__ = ["Behaviour", "Constrain", "Examples", "Trigger", "honest"]

Constrain = Callable[[Vector, Vector, float], Vector]
"""`constrain(before, after, learning_rate)`: where a step of SGD really ends. Like its result, both
are ways from the global model, shape (d,)."""


class Examples(NamedTuple):
    """Labelled examples: `x` float32, shape (n, ...), in [0, 1]; `y` int64, shape (n,)."""

    x: Array
    y: NDArray[np.int64]
    classes: int


class Trigger(NamedTuple):
    """What an attack's success is measured with: `stamp(x)` returns marked copies.

    Success is the share taken for `target` of the examples `among(examples)` is true for, once
    stamped: of those of all other classes if there is no `among`.
    """

    stamp: Callable[[Array], Array]
    target: int
    among: Callable[[Examples], NDArray[np.bool_]] | None = None

    def inputs(self, examples: Examples) -> Array:
        """The inputs that should be taken for `target`, shape (m, ...); there may be none."""
        cases = self.among(examples) if self.among else examples.y != self.target
        return self.stamp(examples.x[cases])


def _leave_examples(examples: Examples, rng: np.random.Generator) -> Examples:
    return examples


class Behaviour(NamedTuple):
    """A client as pure functions, so that every runner trains and lies in the same way.

    `poison(examples, rng)` changes the data once; `craft(delta, server_round, rng)` changes the
    trained delta, shape (d,), each round. `trains` is False for a client that never looks at its
    data: its delta is then zero. `trigger` is what success should be measured with. Who
    `renames` comes back under a new key once the old one no longer counts.

    `relabel(examples, logits)` changes the data for one round, by what the global model says of
    them, shape (n, classes). `constrain` acts after each step of SGD. `share(index, count)` is the
    behaviour of one of `count` attackers that divide the work. `recall(moved)` is the behaviour
    in a round, given how the global model last moved, shape (d,), as far as this client saw it:
    None before it saw two.
    """

    name: str
    poison: Callable[[Examples, np.random.Generator], Examples] = _leave_examples
    craft: Callable[[Vector, int, np.random.Generator], Vector] | None = None
    trains: bool = True
    trigger: Trigger | None = None
    renames: bool = False
    relabel: Callable[[Examples, Array], Examples] | None = None
    constrain: Constrain | None = None
    share: Callable[[int, int], Behaviour] | None = None
    recall: Callable[[Vector | None], Behaviour] | None = None


def honest() -> Behaviour:
    """Train on what there is and send what came of it."""
    return Behaviour("honest()")


def within(radius: float) -> Constrain:
    """Every step ends in the ball of this radius around the global model."""

    def constrain(before: Vector, after: Vector, learning_rate: float) -> Vector:
        length = float(np.linalg.norm(after))
        factor = min(1.0, radius / length) if length else 1.0
        return after * np.asarray(factor, after.dtype)

    return constrain


def label(name: str, **parameters: Any) -> str:
    """A behaviour's name as a scenario writes it."""
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in parameters.items())})"


def positive(name: str, value: float) -> None:
    """Raises `InvalidParameter` unless `value` is."""
    if not value > 0:
        raise InvalidParameter(f"{name} must be positive, got {value!r}")


def not_negative(name: str, value: float) -> None:
    """Raises `InvalidParameter` where `value` is."""
    if not value >= 0:
        raise InvalidParameter(f"{name} must not be negative, got {value!r}")


def a_share(name: str, value: float) -> None:
    """Raises `InvalidParameter` unless `value` lies in (0, 1]."""
    if not 0 < value <= 1:
        raise InvalidParameter(f"{name} must lie in (0, 1], got {value!r}")
