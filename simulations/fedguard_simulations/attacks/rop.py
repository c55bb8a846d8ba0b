"""ROP: aim at centred clipping's stale centre, at a right angle to what it expects."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedguard.defence import Linear, Stage
from fedguard.probes import Context, Float64, Statistics, gram
from fedguard.types import Array, Vector
from fedguard_strategies.bounds import is_count, label, need
from fedguard_strategies.geometry import centred

__all__ = ["relocated_orthogonal_perturbation", "turned"]


def turned(gram: Float64, reference: Float64, start: Float64, angle: float) -> Float64:
    """A vector of length 1 at `angle` degrees from `reference`, in the plane of it and `start`.

    All three are weights of the rows that `gram` is of; where the plane is none, its part is 0.
    """
    length = float(reference @ gram @ reference)
    if length > 0.0:
        start = start - (start @ gram @ reference) / length * reference
    across = float(start @ gram @ start)
    flat = across <= 1e-12 * float(np.abs(np.diagonal(gram)).max())
    aside = np.zeros_like(start) if flat else start / np.sqrt(across)
    along = reference / np.sqrt(length) if length > 0.0 else np.zeros_like(reference)
    whole: Float64 = np.sin(np.radians(angle)) * aside + np.cos(np.radians(angle)) * along
    return whole


def relocated_orthogonal_perturbation(
    f: int, z: float = 1.0, angle: float = 90.0, reference: float = 0.9, location: float = 1.0
) -> Stage:
    """Send, f times, the last aggregate and a push at `angle` degrees from where that leads.

    With c the last aggregate (how far the global model has just moved, zero in the first round)
    and m the honest mean: `location` c + (1 - location) m + push. The push is at `angle` from
    `reference` c + (1 - reference) m (from m in the first round), in the plane of that and of the
    vector of ones, and `z` times as long as honest rows are far from m (root mean square). The
    paper's lambda is `reference`, its pi `location`, and its z is a length.

    Knows: every honest update of the round, and how the global model has moved
    Budget: f updates a round, z honest spreads from the last aggregate
    Source: Özfatura et al., IEEE TIFS 2024, section on ROP (arXiv 2208.09894)
    """
    is_count("f", f, 1)
    need(z > 0, "z must be positive", z)
    need(0 < angle <= 180, "angle must lie in (0, 180]", angle)
    need(0 <= reference <= 1, "reference must lie in [0, 1]", reference)
    need(0 <= location <= 1, "location must lie in [0, 1]", location)

    def plan(seen: Statistics, last: Any) -> tuple[Linear, Any]:
        n = seen.n - 2  # below the honest rows: the last aggregate, and ones
        centre, ones = np.eye(seen.n)[n:]
        mean = np.concatenate([np.full(n, 1.0 / n), np.zeros(2)])
        moved = seen.gram[n, n] > 0.0
        towards = reference * centre + (1.0 - reference) * mean if moved else mean
        spread = np.sqrt(max(np.trace(centred(seen.gram[:n, :n])) / n, 0.0))
        push = z * spread * turned(seen.gram, towards, ones, angle)
        return Linear(np.tile(location * centre + (1.0 - location) * mean + push, (f, 1))), last

    def recall(last: Any, context: Context) -> list[Vector | None]:
        model = context.vector("model")
        return [None if last is None else model - last, np.ones_like(model)]

    def remember(last: Any, context: Context, rows: Array) -> Any:
        return context.vector("model").copy()

    name = label(
        "relocated_orthogonal_perturbation",
        f=f,
        z=z,
        angle=angle,
        reference=reference,
        location=location,
    )
    return Stage(name, 2, "n >= 2 honest", plan, probes=(gram,), recall=recall, remember=remember)
