"""Small models for examples of any shape, built from a seed."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, NamedTuple

from fedguard.errors import InvalidParameter

if TYPE_CHECKING:
    from torch import nn

__all__ = ["MODELS", "Model", "cnn", "logistic", "lora", "mlp"]

Shape = tuple[int, ...]


class Model(NamedTuple):
    """An architecture: `build(shape, classes)` gives a module for examples of that shape."""

    name: str
    build: Callable[[Shape, int], nn.Module]

    def initial(self, shape: Shape, classes: int, seed: int) -> nn.Module:
        """The module every run of this seed starts from; global randomness is left alone."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build(shape, classes)


def logistic() -> Model:
    """Multinomial logistic regression: one linear layer."""

    def build(shape: Shape, classes: int) -> nn.Module:
        from torch import nn

        return nn.Sequential(nn.Flatten(), nn.Linear(prod(shape), classes))

    return Model("logistic()", build)


def mlp(hidden: int = 64) -> Model:
    """One hidden layer with ReLU."""
    if hidden < 1:
        raise InvalidParameter(f"hidden must be at least 1, got {hidden!r}")

    def build(shape: Shape, classes: int) -> nn.Module:
        from torch import nn

        return nn.Sequential(
            nn.Flatten(), nn.Linear(prod(shape), hidden), nn.ReLU(), nn.Linear(hidden, classes)
        )

    return Model(f"mlp(hidden={hidden})", build)


def cnn(channels: int = 8) -> Model:
    """Two convolutions with BatchNorm and pooling; its counters are integer buffers."""
    if channels < 1:
        raise InvalidParameter(f"channels must be at least 1, got {channels!r}")
    name = f"cnn(channels={channels})"

    def build(shape: Shape, classes: int) -> nn.Module:
        from torch import nn

        if len(shape) != 2 or min(shape) < 4:
            raise InvalidParameter(
                f"{name} is for images of 4 x 4 pixels or more, not for examples of shape {shape}: "
                "use logistic(), mlp() or lora()"
            )
        wide = 2 * channels
        return nn.Sequential(
            nn.Unflatten(1, (1, shape[0])),
            nn.Conv2d(1, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, wide, 3, padding=1),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(wide * (shape[0] // 4) * (shape[1] // 4), classes),
        )

    return Model(name, build)


def lora(rank: int = 4, hidden: int = 64, base: int = 0) -> Model:
    """A frozen random hidden layer with a low-rank adapter, and a head: small updates.

    Trained and sent are the adapter's two factors, the bias and the linear head; the hidden
    layer's own weights are drawn from the seed `base` by everybody.

    Source: Hu et al. (LoRA), ICLR 2022, section 4.1
    """
    if min(rank, hidden) < 1 or base < 0:
        wanted = "rank >= 1, hidden >= 1 and base >= 0 are needed"
        raise InvalidParameter(f"{wanted}, got {rank!r}, {hidden!r}, {base!r}")

    def build(shape: Shape, classes: int) -> nn.Module:
        from torch import nn

        from fedguard_simulations.adapters import LowRankLinear

        adapted = LowRankLinear(prod(shape), hidden, rank, base)
        return nn.Sequential(nn.Flatten(), adapted, nn.ReLU(), nn.Linear(hidden, classes))

    return Model(f"lora(rank={rank}, hidden={hidden}, base={base})", build)


MODELS = (logistic, mlp, cnn, lora)
