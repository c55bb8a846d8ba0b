"""Mimic: copy one honest client, so that its peculiarity counts f + 1 times."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.defence import Linear, Stage
from fedguard.errors import InvalidParameter
from fedguard.probes import Statistics, gram

__all__ = ["farthest", "mimic"]


def farthest(honest: Statistics, chosen: tuple[int, int] | None) -> tuple[int, int]:
    """How many honest rows there are, and which lies farthest along their widest direction.

    Whom the first round chose stays chosen as long as as many honest clients reply.
    """
    among, target = chosen or (0, 0)
    if among != honest.n:
        centre = np.eye(honest.n) - 1.0 / honest.n
        _, vectors = np.linalg.eigh(centre @ honest.gram @ centre)
        target = int(np.argmax(np.abs(vectors[:, -1])))
    return honest.n, target


def mimic(f: int) -> Stage:
    """Copy, f times, the honest client that lies farthest along the direction of most variance.

    The client is chosen in the first round and copied as long as as many honest clients reply.

    Knows: every honest update of the round
    Budget: f updates a round, copies of an honest one
    Source: Karimireddy et al., ICLR 2022 (mimic; direction from the first round)
    """
    if f < 1:
        raise InvalidParameter(f"f must be at least 1, got {f!r}")

    def plan(honest: Statistics, chosen: tuple[int, int] | None) -> tuple[Linear, Any]:
        among, target = farthest(honest, chosen)
        weights = np.zeros((f, honest.n))
        weights[:, target] = 1.0
        return Linear(weights), (among, target)

    return Stage(f"mimic(f={f})", 1, "n >= 1 honest", plan, probes=(gram,))
