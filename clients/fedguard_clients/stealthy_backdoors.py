"""Backdoors whose training is held back so that the update looks like others, or stays."""

from __future__ import annotations

import numpy as np

from fedguard.errors import InvalidParameter
from fedguard.types import Vector
from fedguard_clients.backdoors import backdoor
from fedguard_clients.behaviour import Behaviour, label, positive, within

__all__ = ["constrain_and_scale", "neurotoxin", "projected_gradient_descent"]


def constrain_and_scale(
    target: int = 0,
    fraction: float = 0.5,
    boost: float = 5.0,
    alpha: float = 0.7,
    size: int = 3,
) -> Behaviour:
    """Train a backdoor on alpha L_class + (1 - alpha) L_ano, then boost the update.

    L_ano is what an anomaly detector would see: here the squared distance from the global model.
    alpha = 1 is `backdoor`.

    Knows: own data, the global model, what the server measures
    Budget: a fraction of its images and labels; its loss; the length of its update
    Source: Bagdasaryan et al., AISTATS 2020, section 4.3, equation 4, "How To Backdoor Federated
        Learning"
    """
    if not 0 < alpha <= 1:
        raise InvalidParameter(f"alpha must lie in (0, 1], got {alpha!r}")

    def constrain(before: Vector, after: Vector, learning_rate: float) -> Vector:
        kept = (1 - alpha) * (1 - 2 * learning_rate)
        dtype = after.dtype
        return np.asarray(alpha, dtype) * after + np.asarray(kept, dtype) * before

    name = label(
        "constrain_and_scale", target=target, fraction=fraction, boost=boost, alpha=alpha, size=size
    )
    return backdoor(target, fraction, boost, size)._replace(name=name, constrain=constrain)


def projected_gradient_descent(
    target: int = 0,
    fraction: float = 0.5,
    boost: float = 5.0,
    norm: float = 2.0,
    size: int = 3,
) -> Behaviour:
    """Train a backdoor inside a ball around the global model, so that no norm gives it away (PGD).

    Each step of SGD is projected onto the ball of radius norm / boost: the boosted update is no
    longer than `norm`, in the model's units.

    Knows: own data, the global model, the norm that passes
    Budget: a fraction of its images and labels; an update of at most `norm`
    Source: Wang et al., NeurIPS 2020, section 3 (PGD attack with model replacement), "Attack of the
        Tails: Yes, You Really Can Backdoor Federated Learning"
    """
    positive("norm", norm)
    settings = {"target": target, "fraction": fraction, "boost": boost, "norm": norm, "size": size}
    name = label("projected_gradient_descent", **settings)
    behaviour = backdoor(target, fraction, boost, size)
    return behaviour._replace(name=name, constrain=within(norm / boost))


def neurotoxin(
    target: int = 0,
    fraction: float = 0.5,
    boost: float = 5.0,
    ratio: float = 0.1,
    size: int = 3,
) -> Behaviour:
    """Train a backdoor only where the global model moves least, so that it is not trained away.

    The share `ratio` of the coordinates that the last global update moved most is left alone, after
    each step of SGD. Before an attacker has seen two global models it trains all.

    Knows: own data, the last two global models it was sent
    Budget: a fraction of its images and labels; (1 - ratio) of the coordinates, and their length
    Source: Zhang et al., ICML 2022, algorithm 1, "Neurotoxin: Durable Backdoors in Federated
        Learning"
    """
    if not 0 < ratio < 1:
        raise InvalidParameter(f"ratio must lie in (0, 1), got {ratio!r}")
    name = label(
        "neurotoxin", target=target, fraction=fraction, boost=boost, ratio=ratio, size=size
    )
    behaviour = backdoor(target, fraction, boost, size)._replace(name=name)

    def recall(moved: Vector | None) -> Behaviour:
        if moved is None:
            return behaviour
        kept = round((1 - ratio) * moved.size)
        mask = np.zeros(moved.shape, moved.dtype)
        mask[np.argsort(np.abs(moved), kind="stable")[:kept]] = 1

        def constrain(before: Vector, after: Vector, learning_rate: float) -> Vector:
            return after * mask

        return behaviour._replace(constrain=constrain)

    return behaviour._replace(recall=recall)
