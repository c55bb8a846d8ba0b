"""Attacks on the server's memory: behave, then not; or be somebody else each time."""

from __future__ import annotations

import numpy as np

from fedguard.errors import InvalidParameter
from fedguard.types import Vector
from fedguard_clients.behaviour import Behaviour, label
from fedguard_clients.model_poisoning import scaled_negation

__all__ = ["on_off", "slow_ramp", "whitewash"]


def on_off(scale: float = 10.0, on: int = 5, off: int = 15) -> Behaviour:
    """Behave for `off` rounds, send the update negated and `scale` times as long for `on`, again.

    Knows: own data, the global model, the round
    Budget: the sign and length of its update, in some rounds
    Source: Sun et al., INFOCOM 2006, section III-B, "A Trust Evaluation Framework in Distributed
        Networks: Vulnerability Analysis and Defense Against Attacks" (on-off attack)
    """
    attack = scaled_negation(scale).craft
    if on < 1 or off < 1 or not attack:
        raise InvalidParameter(f"on and off must be at least 1, got {on!r} and {off!r}")

    def craft(delta: Vector, server_round: int, rng: np.random.Generator) -> Vector:
        attacks = (server_round - 1) % (on + off) >= off
        return attack(delta, server_round, rng) if attacks else delta

    return Behaviour(label("on_off", scale=scale, on=on, off=off), craft=craft)


def slow_ramp(scale: float = 10.0, rounds: int = 50) -> Behaviour:
    """Turn the update little by little: in `rounds` from honest to negated, `scale` times as long.

    Knows: own data, the global model, the round
    Budget: the sign and length of its update
    Source: Hoffman et al., ACM Computing Surveys 2009, section 3.2 (self-promoting), "A
        Survey of Attack and Defense Techniques for Reputation Systems"
    """
    if rounds < 1 or not scale > 0:
        raise InvalidParameter(
            f"rounds >= 1 and scale > 0 are needed, got {rounds!r} and {scale!r}"
        )

    def craft(delta: Vector, server_round: int, rng: np.random.Generator) -> Vector:
        factor = 1.0 - (1.0 + scale) * min(server_round / rounds, 1.0)
        return delta * np.asarray(factor, delta.dtype)

    return Behaviour(label("slow_ramp", scale=scale, rounds=rounds), craft=craft)


def whitewash(scale: float = 10.0) -> Behaviour:
    """Scaled negation by clients that come back under a new key once the old one is put away.

    Knows: own data, the global model, whether its updates still count
    Budget: the sign and length of its update; its key
    Source: Hoffman et al., ACM Computing Surveys 2009, section 3.2 (whitewashing), "A Survey of
        Attack and Defense Techniques for Reputation Systems"
    """
    attack = scaled_negation(scale)
    return attack._replace(name=label("whitewash", scale=scale), renames=True)
