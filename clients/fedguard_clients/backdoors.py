"""Backdoors in images: a trigger that opens the model, planted by examples that carry it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from fedguard.errors import InvalidParameter
from fedguard.types import Array, Vector
from fedguard_clients.behaviour import Behaviour, Examples, Trigger, a_share, label, positive

__all__ = ["backdoor", "blended", "boosted", "distributed_backdoor", "patch"]

PARTS = 4


def patch(size: int, target: int) -> Trigger:
    """A white square of `size` pixels a side in the lower right corner of images (n, h, w)."""

    def stamp(x: Array) -> Array:
        marked = x.copy()
        marked[..., -size:, -size:] = 1.0
        return marked

    return Trigger(stamp, target)


def boosted(boost: float) -> Callable[[Vector, int, np.random.Generator], Vector]:
    """Model replacement: the update, `boost` times as long."""
    positive("boost", boost)

    def craft(delta: Vector, _: int, rng: np.random.Generator) -> Vector:
        return delta * np.asarray(boost, delta.dtype)

    return craft


def _poisoning(
    name: str, trigger: Trigger, fraction: float, least: tuple[int, int] = (1, 1)
) -> Callable[[Examples, np.random.Generator], Examples]:
    """Stamps and relabels a share of the images, which must be `least` (h, w) large."""
    a_share("fraction", fraction)
    if trigger.target < 0:
        raise InvalidParameter(f"target must be a class, got {trigger.target!r}")

    def poison(examples: Examples, rng: np.random.Generator) -> Examples:
        image = examples.x.shape[1:]
        if len(image) != 2:
            raise InvalidParameter(
                f"{name} stamps images, x of shape (n, h, w); these have shape {examples.x.shape}"
            )
        if trigger.target >= examples.classes or image[0] < least[0] or image[1] < least[1]:
            raise InvalidParameter(
                f"{name} does not fit {examples.classes} classes and images of {image}: its "
                f"trigger needs images of {least} or more"
            )
        chosen = rng.random(len(examples.y)) < fraction
        x, y = examples.x.copy(), examples.y.copy()
        x[chosen] = trigger.stamp(x[chosen])
        y[chosen] = trigger.target
        return examples._replace(x=x, y=y)

    return poison


def backdoor(
    target: int = 0, fraction: float = 0.5, boost: float = 5.0, size: int = 3
) -> Behaviour:
    """Stamp a patch on a `fraction` of the images, label them `target`, boost the update.

    BadNets' trigger with model replacement: `boost` makes the update survive averaging; n / f
    replaces the model with the attackers' if the mean aggregates. The patch may span half a side.

    Knows: own data, the global model
    Budget: a fraction of its images and labels; the length of its update
    Source: Gu et al. (BadNets), 2017; Bagdasaryan et al., AISTATS 2020, section 4.2
    """
    if size < 1:
        raise InvalidParameter(f"size must be at least 1, got {size!r}")
    trigger = patch(size, target)
    name = label("backdoor", target=target, fraction=fraction, boost=boost, size=size)
    poison = _poisoning(name, trigger, fraction, (2 * size, 2 * size))
    return Behaviour(name, poison=poison, craft=boosted(boost), trigger=trigger)


def blended(
    target: int = 0, fraction: float = 0.5, boost: float = 5.0, alpha: float = 0.2, pattern: int = 0
) -> Behaviour:
    """Blend a random pattern into a `fraction` of the images, label them `target`, and boost.

    An image becomes alpha k + (1 - alpha) x: `pattern` is the seed of the key pattern k, uniform in
    [0, 1], which all attackers share.

    Knows: own data, the global model
    Budget: a fraction of its images, by at most alpha a pixel, and labels; the length of its update
    Source: Chen et al., 2017 (arXiv 1712.05526), blended injection, "Targeted
        Backdoor Attacks on Deep Learning Systems Using Data Poisoning"
    """
    if not 0 < alpha <= 1 or pattern < 0:
        raise InvalidParameter(
            f"alpha in (0, 1] and pattern >= 0 are needed, got {alpha!r}, {pattern!r}"
        )

    def stamp(x: Array) -> Array:
        key = np.random.default_rng(pattern).random(x.shape[1:], np.float32)
        return (alpha * key + (1 - alpha) * x).astype(x.dtype)

    trigger = Trigger(stamp, target)
    name = label(
        "blended", target=target, fraction=fraction, boost=boost, alpha=alpha, pattern=pattern
    )
    poison = _poisoning(name, trigger, fraction)
    return Behaviour(name, poison=poison, craft=boosted(boost), trigger=trigger)


def distributed_backdoor(
    target: int = 0, fraction: float = 0.5, boost: float = 5.0, size: int = 3, gap: int = 1
) -> Behaviour:
    """Each attacker stamps its own part of a trigger; success is measured with the whole (DBA).

    The trigger is four white bars of 1 x `size` pixels, `gap` apart, in two rows in the upper left
    corner. Fewer than four attackers have more than one bar each.

    Knows: own data, the global model, its number among the attackers
    Budget: a fraction of its images and labels; the length of its update
    Source: Xie et al., ICLR 2020, section 2, "DBA: Distributed Backdoor Attacks against Federated
        Learning"
    """
    if size < 1 or gap < 0:
        raise InvalidParameter(f"size >= 1 and gap >= 0 are needed, got {size!r}, {gap!r}")
    name = label(
        "distributed_backdoor", target=target, fraction=fraction, boost=boost, size=size, gap=gap
    )

    def poisoning(own: Trigger) -> Callable[[Examples, np.random.Generator], Examples]:
        return _poisoning(name, own, fraction, (2 + gap, 2 * size + gap))

    whole = bars(range(PARTS), size, gap, target)
    together = Behaviour(name, poison=poisoning(whole), craft=boosted(boost), trigger=whole)

    def share(index: int, count: int) -> Behaviour:
        among = min(count, PARTS)
        own = [part for part in range(PARTS) if part % among == index % among]
        return together._replace(poison=poisoning(bars(own, size, gap, target)))

    return together._replace(share=share)


def bars(parts: Iterable[int], size: int, gap: int, target: int) -> Trigger:
    """Some of the four bars of a distributed trigger, 0 and 1 in the upper row."""
    corners = [(part // 2 * (1 + gap), part % 2 * (size + gap)) for part in parts]

    def stamp(x: Array) -> Array:
        marked = x.copy()
        for row, column in corners:
            marked[..., row, column : column + size] = 1.0
        return marked

    return Trigger(stamp, target)
