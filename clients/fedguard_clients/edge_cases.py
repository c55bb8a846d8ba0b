"""Edge-case backdoors: real examples, from the tail of a class, that honest clients hardly have."""

from __future__ import annotations

from math import ceil

import numpy as np
from numpy.typing import NDArray

from fedguard.errors import InvalidParameter
from fedguard_clients.backdoors import boosted
from fedguard_clients.behaviour import Behaviour, Examples, Trigger, a_share, label
from fedguard_clients.label_flipping import pair

__all__ = ["edge_cases", "rarest"]


def rarest(examples: Examples, source: int, rare: float) -> NDArray[np.bool_]:
    """The share `rare` of the examples of class `source` that lie farthest from their mean."""
    own = np.flatnonzero(examples.y == source)
    found = np.zeros(len(examples.y), np.bool_)
    if own.size:
        x = examples.x[own].reshape(own.size, -1).astype(np.float64)
        distances = np.linalg.norm(x - x.mean(axis=0), axis=1)
        found[own[np.argsort(-distances, kind="stable")[: ceil(rare * own.size)]]] = True
    return found


def edge_cases(
    source: int = 7, target: int = 1, rare: float = 0.1, fraction: float = 0.5, boost: float = 5.0
) -> Behaviour:
    """Label the rarest examples of `source` as `target`, repeat them, and boost the update.

    Edge cases are the share `rare` of a class that lies farthest from its mean; they take the place
    of a `fraction` of the data. No input is marked: success is the share of the test set's own edge
    cases that are taken for `target`. Whoever has no example of `source` trains as asked.

    Knows: own data, the global model
    Budget: a fraction of its examples, replaced by others of its own under a wrong label; the
        length of its update
    Source: Wang et al., NeurIPS 2020, section 3, "Attack of the Tails: Yes, You Really Can Backdoor
        Federated Learning" (black-box attack)
    """
    pair("edge_cases", source, target)
    a_share("rare", rare)
    a_share("fraction", fraction)
    name = label(
        "edge_cases", source=source, target=target, rare=rare, fraction=fraction, boost=boost
    )

    def poison(examples: Examples, rng: np.random.Generator) -> Examples:
        if max(source, target) >= examples.classes:
            raise InvalidParameter(f"{name} does not fit {examples.classes} classes")
        edge = np.flatnonzero(rarest(examples, source, rare))
        if not edge.size:
            return examples
        chosen = np.flatnonzero(rng.random(len(examples.y)) < fraction)
        x, y = examples.x.copy(), examples.y.copy()
        x[chosen] = examples.x[rng.choice(edge, chosen.size)]
        y[chosen] = y[edge] = target
        return examples._replace(x=x, y=y)

    trigger = Trigger(lambda x: x, target, lambda examples: rarest(examples, source, rare))
    return Behaviour(name, poison=poison, craft=boosted(boost), trigger=trigger)
