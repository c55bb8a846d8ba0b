"""A linear layer that learns by a low-rank adapter on weights nobody trains or sends."""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn

__all__ = ["LowRankLinear"]


class LowRankLinear(nn.Module):
    """x (W + B A)ᵀ + bias with W, shape (features, width), drawn from the seed `base` and frozen.

    A has shape (rank, features); B, shape (width, rank), is zero at first, so that training begins
    at W. W is a buffer that no state dict holds: whoever knows `base` draws the same.
    """

    frozen: Tensor

    def __init__(self, features: int, width: int, rank: int, base: int) -> None:
        super().__init__()
        bound = 1 / sqrt(features)  # as nn.Linear draws its own
        drawn = torch.rand((width, features), generator=torch.Generator().manual_seed(base))
        self.register_buffer("frozen", (2 * drawn - 1) * bound, persistent=False)
        self.a = nn.Parameter(torch.empty(rank, features).uniform_(-bound, bound))
        self.b = nn.Parameter(torch.zeros(width, rank))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.frozen, self.bias) + (x @ self.a.T) @ self.b.T
