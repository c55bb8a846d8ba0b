"""Attacks through the data: the client trains as asked, on examples it changed."""

from __future__ import annotations

import numpy as np

from fedguard.errors import InvalidParameter
from fedguard.types import Array, Vector
from fedguard_clients.behaviour import Behaviour, Examples, Trigger, label

__all__ = ["backdoor", "label_flip", "patch"]


def label_flip() -> Behaviour:
    """Train on labels y turned into (classes - 1 - y).

    Source: Tolpegin et al., ESORICS 2020, section 3 (all pairs flipped)
    """

    def poison(examples: Examples, rng: np.random.Generator) -> Examples:
        return examples._replace(y=examples.classes - 1 - examples.y)

    return Behaviour("label_flip()", poison=poison)


def patch(size: int, target: int) -> Trigger:
    """A white square of `size` pixels a side in the lower right corner of images (n, h, w)."""

    def stamp(x: Array) -> Array:
        if x.ndim != 3:
            raise InvalidParameter(f"a patch is for images (n, h, w), not for {x.shape}")
        marked = x.copy()
        marked[..., -size:, -size:] = 1.0
        return marked

    return Trigger(stamp, target)


def backdoor(
    target: int = 0, fraction: float = 0.5, boost: float = 5.0, size: int = 3
) -> Behaviour:
    """Stamp a patch on a `fraction` of the images, label them `target`, boost the update.

    BadNets' trigger with model replacement: `boost` makes the update survive averaging; n / f
    replaces the model with the attackers' if the mean aggregates.

    Source: Gu et al. (BadNets), 2017, section 3; Bagdasaryan et al., AISTATS 2020, section 4.2
    """
    if not 0 < fraction <= 1:
        raise InvalidParameter(f"fraction must lie in (0, 1], got {fraction!r}")
    if size < 1 or target < 0:
        raise InvalidParameter(f"size >= 1 and target >= 0 are needed, got {size!r}, {target!r}")
    trigger = patch(size, target)

    def poison(examples: Examples, rng: np.random.Generator) -> Examples:
        if target >= examples.classes or 2 * size > min(examples.x.shape[1:]):
            raise InvalidParameter(
                f"backdoor(target={target}, size={size}) does not fit {examples.classes} classes "
                f"and images of {examples.x.shape[1:]}: the patch may span half a side"
            )
        chosen = rng.random(len(examples.y)) < fraction
        x, y = examples.x.copy(), examples.y.copy()
        x[chosen] = trigger.stamp(x[chosen])
        y[chosen] = target
        return examples._replace(x=x, y=y)

    def craft(delta: Vector, _: int, rng: np.random.Generator) -> Vector:
        return delta * np.asarray(boost, delta.dtype)

    name = label("backdoor", target=target, fraction=fraction, boost=boost, size=size)
    return Behaviour(name, poison=poison, craft=craft, trigger=trigger)
