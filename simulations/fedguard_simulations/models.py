"""Small models for image-sized examples, built from a seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from fedguard.errors import InvalidParameter

if TYPE_CHECKING:
    from torch import nn

__all__ = ["MODELS", "Model", "cnn", "mlp"]


class Model(NamedTuple):
    """An architecture: `build(image, classes)` gives a module for images (h, w)."""

    name: str
    build: Callable[[tuple[int, int], int], nn.Module]

    def initial(self, image: tuple[int, int], classes: int, seed: int) -> nn.Module:
        """The module every run of this seed starts from; global randomness is left alone."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self.build(image, classes)


def mlp(hidden: int = 64) -> Model:
    """One hidden layer with ReLU."""
    if hidden < 1:
        raise InvalidParameter(f"hidden must be at least 1, got {hidden!r}")

    def build(image: tuple[int, int], classes: int) -> nn.Module:
        from torch import nn

        pixels = image[0] * image[1]
        return nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, hidden), nn.ReLU(), nn.Linear(hidden, classes)
        )

    return Model(f"mlp(hidden={hidden})", build)


def cnn(channels: int = 8) -> Model:
    """Two convolutions with BatchNorm and pooling; its counters are integer buffers."""
    if channels < 1:
        raise InvalidParameter(f"channels must be at least 1, got {channels!r}")

    def build(image: tuple[int, int], classes: int) -> nn.Module:
        from torch import nn

        wide = 2 * channels
        return nn.Sequential(
            nn.Unflatten(1, (1, image[0])),
            nn.Conv2d(1, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(channels, wide, 3, padding=1),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(wide * (image[0] // 4) * (image[1] // 4), classes),
        )

    return Model(f"cnn(channels={channels})", build)


MODELS = (mlp, cnn)
