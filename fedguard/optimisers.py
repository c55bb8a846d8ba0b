"""What a server optimiser is: it turns the aggregate of a round into the step the model takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from fedguard.types import Vector

__all__ = ["Optimiser"]


class Optimiser(NamedTuple):
    """A server optimiser as a pure function, after any defence.

    `step(aggregate, state)` gets the defence's vector, shape (d,), and the state it returned the
    round before, None in the first; it returns the vector to add to the model and the next state,
    a few arrays of shape (d,) at most. A held round does not call it.

    Source: Reddi et al., ICLR 2021, algorithm 1 (the server's half)
    """

    name: str
    step: Callable[[Vector, Any], tuple[Vector, Any]]
