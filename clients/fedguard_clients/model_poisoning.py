"""Attacks on the update itself: trained, or not, and then turned against the model."""

from __future__ import annotations

import numpy as np

from fedguard.types import Vector
from fedguard_clients.behaviour import Behaviour, label, positive

__all__ = ["gaussian_noise", "scaled_negation", "sign_flip"]


def sign_flip() -> Behaviour:
    """Send the opposite of the trained update.

    Knows: own data, the global model
    Budget: the sign of its update
    Source: Li et al. (RSA), AAAI 2019 (sign flipping, in the experiments)
    """
    return Behaviour("sign_flip()", craft=lambda delta, _, rng: -delta)


def scaled_negation(scale: float = 10.0) -> Behaviour:
    """Send the opposite of the trained update, `scale` times as long.

    Knows: own data, the global model
    Budget: the sign and length of its update
    Source: Li et al. (RSA), AAAI 2019 (sign flipping with a magnitude, in the experiments)
    """
    positive("scale", scale)

    def craft(delta: Vector, _: int, rng: np.random.Generator) -> Vector:
        return delta * np.asarray(-scale, delta.dtype)

    return Behaviour(label("scaled_negation", scale=scale), craft=craft)


def gaussian_noise(scale: float = 10.0) -> Behaviour:
    """Send Gaussian noise `scale` times as long as the trained update.

    Knows: own data, the global model
    Budget: its whole update
    Source: Blanchard et al., NeurIPS 2017, section 6 (noise relative to the update here)
    """
    positive("scale", scale)

    def craft(delta: Vector, _: int, rng: np.random.Generator) -> Vector:
        noise = rng.standard_normal(delta.shape, np.float32).astype(delta.dtype)
        length = float(np.linalg.norm(noise)) or 1.0
        return noise * np.asarray(scale * float(np.linalg.norm(delta)) / length, delta.dtype)

    return Behaviour(label("gaussian_noise", scale=scale), craft=craft)
