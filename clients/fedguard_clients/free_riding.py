"""Clients that do no work and send something that looks like it."""

from __future__ import annotations

import numpy as np

from fedguard.types import Vector
from fedguard_clients.behaviour import Behaviour, label, not_negative

__all__ = ["delta_free_rider", "free_rider"]


def free_rider(noise: float = 1e-3) -> Behaviour:
    """Do no work: send the global model back with noise of standard deviation `noise`, or none.

    Knows: the global model
    Budget: its whole update; no data, no training
    Source: Fraboni et al., AISTATS 2021, "Free-rider Attacks on Model Aggregation in Federated
        Learning" (plain and disguised free-riding)
    """
    not_negative("noise", noise)

    def craft(delta: Vector, _: int, rng: np.random.Generator) -> Vector:
        return rng.standard_normal(delta.shape, np.float32).astype(delta.dtype) * np.asarray(
            noise, delta.dtype
        )

    return Behaviour(label("free_rider", noise=noise), craft=craft, trains=False)


def delta_free_rider(noise: float = 1e-3) -> Behaviour:
    """Do no work: send what the global model last moved by, with noise of deviation `noise`.

    An update made of others' updates has their size and shape. Before the client has seen two
    global models it sends noise alone.

    Knows: the last two global models it was sent
    Budget: its whole update; no data, no training
    Source: Lin et al., 2019 (arXiv 1911.12560), section IV (delta weights, with noise),
        "Free-riders in Federated Learning: Attacks and Defenses"
    """
    noisy = free_rider(noise)
    name = label("delta_free_rider", noise=noise)

    def recall(moved: Vector | None) -> Behaviour:
        def craft(delta: Vector, server_round: int, rng: np.random.Generator) -> Vector:
            sent = noisy.craft(delta, server_round, rng) if noisy.craft else delta
            return sent if moved is None else moved + sent

        return noisy._replace(name=name, craft=craft)

    return recall(None)._replace(recall=recall)
