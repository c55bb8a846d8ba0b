"""Guard an app that was written for Flower's FedAvg, by one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flwr.serverapp.strategy import FedAvg, FedProx, Strategy

from fedguard.errors import InvalidParameter
from fedguard.flower.strategy import GuardedStrategy
from fedguard.server import Policy

__all__ = ["guarded"]

OWN = (FedAvg, FedProx)
PASSED_ON = {
    "configure_train",
    "configure_evaluate",
    "aggregate_train",
    "aggregate_evaluate",
    "start",
}


def guarded(
    strategy: FedAvg, policy: Policy | Callable[[int], Policy], **options: Any
) -> GuardedStrategy:
    """What to use in place of a `FedAvg` or `FedProx`: whom it asks is the same, `policy` decides.

    Taken over are fractions, numbers of nodes, the records' keys and FedProx's `proximal_mu`.
    Every client counts once: `weighted_by_key` is a claim, and so are the metrics that Flower's
    aggregation functions would average. `options` are those of `GuardedStrategy`.

    Raises `InvalidParameter` for a strategy whose own doing would be lost.
    """
    if type(strategy) not in OWN:
        raise InvalidParameter(_refusal(strategy))
    if not strategy.fraction_train:
        raise InvalidParameter("fraction_train is 0: there is nothing to guard")
    taken: dict[str, Any] = {
        "min_nodes": strategy.min_available_nodes,
        "min_train_nodes": strategy.min_train_nodes,
        "min_evaluate_nodes": strategy.min_evaluate_nodes,
        "fraction_train": strategy.fraction_train,
        "fraction_evaluate": strategy.fraction_evaluate,
        "arrays_key": strategy.arrayrecord_key,
        "config_key": strategy.configrecord_key,
    }
    if isinstance(strategy, FedProx):
        taken["proximal_mu"] = strategy.proximal_mu
    return GuardedStrategy(policy, **taken | options)


def _refusal(strategy: Strategy) -> str:
    name = type(strategy).__name__
    if type(strategy).__module__.startswith("flwr."):
        return (
            f"{name} decides by itself: hand in FedAvg with its fractions, and put what it does "
            "into the policy (a rule into defence, FedAdam and its kind into optimiser)"
        )
    lost = sorted(PASSED_ON & set(vars(type(strategy))))
    return (
        f"{name} is no plain FedAvg, and {', '.join(lost) or 'what it overrides'} would not be "
        "called: hand in FedAvg, or subclass GuardedStrategy"
    )
