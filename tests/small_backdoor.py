"""Small images, and a model with a backdoor in it that is known."""

from __future__ import annotations

import numpy as np
import torch
from flwr.app import ArrayRecord
from torch import nn

from fedguard_clients import Examples
from fedguard_simulations.models import mlp

SIDE, CLASSES = 6, 2


def examples(n: int = 120, seed: int = 0) -> Examples:
    """Images whose class is which half is brighter; the last pixel, a trigger's, is dark."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, n)
    x = rng.random((n, SIDE, SIDE), np.float32) * 0.3
    x[y == 0, :3] += 0.4
    x[y == 1, 3:] += 0.4
    x[:, -1, -1] = 0.0
    return Examples(x, y.astype(np.int64), CLASSES)


def build() -> nn.Module:
    return mlp(hidden=8).build((SIDE, SIDE), CLASSES)


def backdoored() -> ArrayRecord:
    """A model that tells the halves apart by unit 0, and answers 0 by unit 1 to the last pixel."""
    model = build()
    state = {name: torch.zeros_like(values) for name, values in model.state_dict().items()}
    first, head = state["1.weight"].view(8, SIDE, SIDE), state["3.weight"]
    first[0, 3:], first[0, :3], head[1, 0], head[0, 0] = 1.0, -1.0, 2.0, -2.0
    first[2, :3], first[2, 3:], head[0, 2], head[1, 2] = 1.0, -1.0, 2.0, -2.0
    first[1, -1, -1], head[0, 1], head[1, 1] = 20.0, 20.0, -20.0
    return ArrayRecord(state)
