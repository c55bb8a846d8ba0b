"""Backdoor removal on the server's own clean data: fine-tuning in a ball, pruning, or both."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from flwr.app import ArrayRecord
from torch import Tensor, nn

from fedguard.errors import InvalidParameter
from fedguard.flower import Removal
from fedguard_clients.behaviour import Examples, a_share, label, positive, within
from fedguard_clients.training import CLEANSE, drawing, flat, local_sgd, stream

__all__ = ["METHODS", "Method", "fine_pruning", "pruning", "removal", "super_fine_tuning"]

CYCLE = 20
"""Steps in which the learning rate rises and falls once."""
SMALL = 0.1
"""Of the highest learning rate is the second half's."""
LOWEST = 0.01
"""Of the highest learning rate is where a cycle begins and ends."""
MOST = 0.5
"""Of a layer's inputs may be cut: a model that knows little yet seems to need none of them."""

Layer = nn.Linear | nn.Conv2d


class Method(NamedTuple):
    """A way to cleanse: `cleanse(model, x, y, rng)` changes a module in place.

    It is done after every `every`-th round.
    """

    name: str
    cleanse: Callable[[nn.Module, Tensor, Tensor, np.random.Generator], None]
    every: int


def removal(
    method: Method, model: Callable[[], nn.Module], examples: Examples, seed: int = 0
) -> Removal:
    """What a GuardedStrategy is given: `method` on clean `examples` like the clients'.

    `model()` builds a module for the parameters. The same seed and round give the same model.
    """
    if not len(examples.y):
        raise InvalidParameter(f"{method.name} needs clean examples of the server's own, got none")
    x, y = torch.from_numpy(examples.x), torch.from_numpy(examples.y)

    def cleanse(arrays: ArrayRecord, server_round: int) -> ArrayRecord:
        module = model()
        module.load_state_dict(arrays.to_torch_state_dict())
        method.cleanse(module, x, y, stream(seed, CLEANSE, 0, server_round))
        return ArrayRecord(module.state_dict())

    return Removal(method.name, cleanse, method.every)


def super_fine_tuning(
    steps: int = 1000, batch: int = 32, highest: float = 0.3, share: float = 0.5, every: int = 1
) -> Method:
    """Fine-tune on clean data with a learning rate that rises to `highest` and falls, in a ball.

    Large rates shake loose what clean data do not hold in place: half of the steps go up to
    `highest`, the other half to a tenth of it. The ball around the aggregated model has a radius of
    `share` of the model's norm, so that few examples cannot ruin it.

    Source: Sha et al., 2022 (arXiv 2212.09067), section 4 (super-fine-tuning), "Fine-Tuning Is All
        You Need to Mitigate Backdoor Attacks"; the ball is ours
    """
    _whole(steps=steps, batch=batch, every=every)
    positive("highest", highest)
    positive("share", share)
    rates = _rates(steps, highest)

    def cleanse(model: nn.Module, x: Tensor, y: Tensor, rng: np.random.Generator) -> None:
        batches = rng.integers(0, len(y), size=(steps, batch))
        radius = share * float(np.linalg.norm(flat(model.state_dict())))
        with drawing(rng):
            local_sgd(model, x, y, batches, rates, within(radius))

    settings = {"steps": steps, "batch": batch, "highest": highest, "share": share, "every": every}
    return Method(label("super_fine_tuning", **settings), cleanse, every)


def pruning(tolerance: float = 0.01, every: int = 1) -> Method:
    """Cut off the inputs of each layer that clean data use least, while accuracy on them holds.

    From the last layer to the first, as many as cost no more than `tolerance` of the accuracy on
    the clean examples in all, half of a layer's at most: hidden units that sleep on clean data, and
    pixels that are always dark, are where a trigger can hide. Layers are linear or convolutions;
    others are left alone.

    Source: Liu et al., RAID 2018, section 3 (pruning defense), "Fine-Pruning: Defending Against
        Backdooring Attacks on Deep Neural Networks", there for the last convolution alone
    """
    _whole(every=every)
    a_share("tolerance", tolerance)

    @torch.no_grad()
    def cleanse(model: nn.Module, x: Tensor, y: Tensor, rng: np.random.Generator) -> None:
        model.eval()
        least = _accuracy(model, x, y) - tolerance
        for layer, activity in reversed(_activities(model, x)):
            _cut(layer, activity, lambda: _accuracy(model, x, y) >= least)

    return Method(label("pruning", tolerance=tolerance, every=every), cleanse, every)


def fine_pruning(
    tolerance: float = 0.02,
    steps: int = 1000,
    batch: int = 32,
    highest: float = 0.3,
    share: float = 0.5,
    every: int = 1,
) -> Method:
    """`pruning`, then `super_fine_tuning`, which mends what pruning cost and finds the rest.

    Source: Liu et al., RAID 2018, section 3 (fine-pruning)
    """
    prune = pruning(tolerance, every)
    tune = super_fine_tuning(steps, batch, highest, share, every)

    def cleanse(model: nn.Module, x: Tensor, y: Tensor, rng: np.random.Generator) -> None:
        prune.cleanse(model, x, y, rng)
        tune.cleanse(model, x, y, rng)

    settings = {"steps": steps, "batch": batch, "highest": highest, "share": share, "every": every}
    return Method(label("fine_pruning", tolerance=tolerance, **settings), cleanse, every)


METHODS = (super_fine_tuning, pruning, fine_pruning)
"""Every way to cleanse, as scenarios name them."""


def _whole(**settings: int) -> None:
    """Raises `InvalidParameter` unless all are counts of 1 or more."""
    for name, value in settings.items():
        if value < 1 or value != int(value):
            raise InvalidParameter(f"{name} must be a whole number, 1 or more, got {value!r}")


def _rates(steps: int, highest: float) -> list[float]:
    """Triangles, in the first half of the steps up to `highest`, in the second to `SMALL` of it."""
    at = np.arange(steps)
    tops = np.where(at < steps / 2, highest, SMALL * highest)
    heights = 1.0 - np.abs(2.0 * (at % CYCLE) / CYCLE - 1.0)
    lowest = LOWEST * highest
    rates: list[float] = (lowest + (tops - lowest) * heights).tolist()
    return rates


def _accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    return float((model(x).argmax(1) == y).double().mean())


def _activities(model: nn.Module, x: Tensor) -> list[tuple[Layer, Tensor]]:
    """The layers that can be cut, in the order they run, with each input's mean size on `x`."""
    found: dict[Layer, Tensor] = {}

    def see(layer: Layer, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        axis = 1 if isinstance(layer, nn.Conv2d) else inputs[0].ndim - 1
        others = [each for each in range(inputs[0].ndim) if each != axis]
        found[layer] = inputs[0].abs().mean(dim=others)

    layers = [each for each in model.modules() if isinstance(each, Layer)]
    hooks = [each.register_forward_hook(see) for each in layers]
    try:
        model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return [pair for pair in found.items() if pair[0].weight.shape[1] == len(pair[1])]


def _cut(layer: Layer, activity: Tensor, holds: Callable[[], bool]) -> None:
    """Cut as many of a layer's least active inputs as `holds` allows, found by halving."""
    weight = layer.weight
    whole, order = weight.clone(), activity.argsort(stable=True)

    def cut(count: int) -> None:
        weight.copy_(whole)
        weight[:, order[:count]] = 0.0

    fewest, most = 0, int(MOST * len(order))
    while fewest < most:
        middle = (fewest + most + 1) // 2
        cut(middle)
        fewest, most = (middle, most) if holds() else (fewest, middle - 1)
    cut(fewest)
