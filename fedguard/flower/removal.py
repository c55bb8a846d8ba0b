"""A stage after the aggregate: the model, cleansed of what was planted in it."""

from __future__ import annotations

from collections.abc import Callable
from logging import WARNING
from typing import Any, NamedTuple

import numpy as np
from flwr.app import ArrayRecord
from flwr.common.logger import log

from fedguard.flower.model import Layout, Unusable

__all__ = ["Removal", "cleansed"]


class Removal(NamedTuple):
    """How a model is cleansed after a round has moved it: `cleanse(arrays, round)` returns it.

    The aggregate decides whom to trust, this does not: it changes the model on clean data of the
    server's own. Only float parameters can change, and a model that is not finite, or not of the
    same form, is told and not taken. It runs after every `every`-th round; `name` is what manifests
    call it.
    """

    name: str
    cleanse: Callable[[ArrayRecord, int], ArrayRecord]
    every: int = 1


def cleansed(
    removal: Removal | None, layout: Layout, arrays: ArrayRecord, server_round: int
) -> tuple[ArrayRecord, dict[str, Any]]:
    """The model after a round and what its manifest says of it; as it was if there is no other."""
    if removal is None or server_round % removal.every:
        return arrays, {}
    moved = layout.flat(arrays)
    try:
        vector = layout.flat(removal.cleanse(arrays, server_round))
        if not np.isfinite(vector).all():
            raise Unusable("non-finite", "it holds a NaN or an infinity")
    except Unusable as error:
        log(WARNING, "%s gave no model, the round keeps its own: %s", removal.name, error)
        return arrays, {"cleansed": False}
    distance = float(np.linalg.norm((vector - moved).astype(np.float64)))
    told = {"cleansed": True, "cleansed_by": removal.name, "cleansed_norm": distance}
    return layout.filled(arrays, vector), told
