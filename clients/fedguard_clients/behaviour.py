"""What a client does to its data before training and to its update after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedguard.types import Array, Vector

__all__ = ["Behaviour", "Examples", "Trigger", "honest"]


class Examples(NamedTuple):
    """Labelled examples: `x` float32, shape (n, ...), in [0, 1]; `y` int64, shape (n,)."""

    x: Array
    y: NDArray[np.int64]
    classes: int


class Trigger(NamedTuple):
    """A backdoor's mark and the class it should lead to: `stamp(x)` returns marked copies."""

    stamp: Callable[[Array], Array]
    target: int


def _leave_examples(examples: Examples, rng: np.random.Generator) -> Examples:
    return examples


class Behaviour(NamedTuple):
    """A client as pure functions, so that every runner trains and lies in the same way.

    `poison(examples, rng)` changes the data once; `craft(delta, server_round, rng)` changes the
    trained delta, shape (d,), each round. `trains` is False for a client that never looks at its
    data: its delta is then zero. `trigger` is what a backdoor should be measured with. Who
    `renames` comes back under a new key once the old one no longer counts.
    """

    name: str
    poison: Callable[[Examples, np.random.Generator], Examples] = _leave_examples
    craft: Callable[[Vector, int, np.random.Generator], Vector] | None = None
    trains: bool = True
    trigger: Trigger | None = None
    renames: bool = False


def honest() -> Behaviour:
    """Train on what there is and send what came of it."""
    return Behaviour("honest()")


def label(name: str, **parameters: Any) -> str:
    """A behaviour's name as a scenario writes it."""
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in parameters.items())})"
