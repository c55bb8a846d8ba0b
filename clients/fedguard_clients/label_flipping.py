"""Attacks through labels alone: of all examples, of one class, or by what the model thinks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedguard.errors import InvalidParameter
from fedguard.types import Array
from fedguard_clients.behaviour import Behaviour, Examples, Trigger, label

__all__ = ["dynamic_label_flip", "label_flip", "pair", "targeted_label_flip"]


def label_flip() -> Behaviour:
    """Train on labels y turned into (classes - 1 - y).

    Knows: own data
    Budget: all its labels
    Source: Fang et al., USENIX Security 2020 (label flipping attack, as a baseline)
    """

    def poison(examples: Examples, rng: np.random.Generator) -> Examples:
        return examples._replace(y=examples.classes - 1 - examples.y)

    return Behaviour("label_flip()", poison=poison)


def pair(name: str, source: int, target: int) -> None:
    """Raises `InvalidParameter` unless both are classes, and two."""
    if min(source, target) < 0 or source == target:
        raise InvalidParameter(
            f"{name}: source and target must be two classes, got {source!r}, {target!r}"
        )


def targeted_label_flip(source: int = 6, target: int = 0) -> Behaviour:
    """Train on examples of class `source` labelled `target`; the others stay as they are.

    Success is the share of test examples of `source` that are taken for `target`.

    Knows: own data
    Budget: the labels of its examples of one class
    Source: Tolpegin et al., ESORICS 2020, "Data Poisoning Attacks Against Federated
        Learning Systems"
    """
    pair("targeted_label_flip", source, target)

    def poison(examples: Examples, rng: np.random.Generator) -> Examples:
        if max(source, target) >= examples.classes:
            raise InvalidParameter(
                f"targeted_label_flip(source={source}, target={target}) does not fit "
                f"{examples.classes} classes"
            )
        return examples._replace(y=np.where(examples.y == source, target, examples.y))

    def of_source(examples: Examples) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = examples.y == source
        return found

    name = label("targeted_label_flip", source=source, target=target)
    return Behaviour(name, poison=poison, trigger=Trigger(lambda x: x, target, of_source))


def dynamic_label_flip() -> Behaviour:
    """Train on the labels that the round's global model finds least likely.

    The paper's attackers train a surrogate to ask; here it is the global model that they were sent.

    Knows: own data, the global model
    Budget: all its labels, anew each round
    Source: Shejwalkar et al., IEEE S&P 2022, section IV-B (dynamic label flipping), "Back to the
        Drawing Board: A Critical Evaluation of Poisoning Attacks on Production Federated Learning"
    """

    def relabel(examples: Examples, logits: Array) -> Examples:
        return examples._replace(y=logits.argmin(axis=1).astype(np.int64))

    return Behaviour("dynamic_label_flip()", relabel=relabel)
