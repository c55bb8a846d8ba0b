"""An app written for FedAvg, guarded by one line."""

from __future__ import annotations

import ast
from typing import Any

import pytest
from flower_parts import FakeGrid, answer, model, shifted
from flwr.app import ConfigRecord, Message
from flwr.serverapp.strategy import FedAdam, FedAvg, FedMedian, FedProx

from fedguard import Policy
from fedguard.errors import InvalidParameter
from fedguard.flower import guarded
from fedguard_strategies.recipes import standard_policy
from fedguard_strategies.server_optimisers import fedavgm

HONEST = [answer(shifted(1.0 + 0.001 * i)) for i in range(6)]


def test_it_asks_whom_fedavg_asks() -> None:
    asked = FedAvg(
        fraction_train=0.5, min_train_nodes=2, min_available_nodes=6, fraction_evaluate=0.0
    )
    strategy = guarded(asked, standard_policy(f=0))
    grid = FakeGrid(HONEST)
    strategy.start(grid, model(), num_rounds=1, train_config=ConfigRecord({"lr": 0.1}))
    assert len(grid.sent) == 3
    assert configured(grid) == {"lr": 0.1, "server-round": 1}


def test_records_keep_their_keys_and_a_liar_does_not_matter() -> None:
    asked = FedAvg(fraction_evaluate=0.0, arrayrecord_key="model", configrecord_key="settings")

    def renamed(message: Message) -> Message:
        assert "settings" in message.content.config_records
        reply = answer(shifted(1.0 + 0.001 * message.metadata.dst_node_id))(message)
        reply.content["model"] = reply.content.pop("arrays")
        return reply

    def liar(message: Message) -> Message:
        reply = answer(shifted(1e6), **{"num-examples": 10**15})(message)
        reply.content["model"] = reply.content.pop("arrays")
        return reply

    strategy = guarded(asked, standard_policy(f=1), min_nodes=6)
    result = strategy.start(FakeGrid([renamed] * 5 + [liar]), model(), num_rounds=1)
    assert abs(result.arrays["bias"].numpy() - 1.0).max() < 0.6, result.arrays


def test_fedprox_sends_its_mu() -> None:
    strategy = guarded(FedProx(proximal_mu=0.3, fraction_evaluate=0.0), standard_policy(f=1))
    grid = FakeGrid(HONEST)
    strategy.start(grid, model(), num_rounds=1)
    assert configured(grid) == {"proximal-mu": 0.3, "server-round": 1}


def configured(grid: FakeGrid) -> dict[str, Any]:
    """What all clients were told beside the nonce."""
    (config,) = {str(dict(m.content.config_records["config"])) for m in grid.sent.values()}
    told: dict[str, Any] = ast.literal_eval(config)
    return {name: value for name, value in told.items() if name != "nonce"}


def test_what_would_be_lost_is_refused() -> None:
    class Mine(FedAvg):
        def configure_train(self, *args: object, **kwargs: object) -> list[Message]:  # type: ignore[override]
            return []

    policy = standard_policy(f=1)
    with pytest.raises(InvalidParameter, match="Mine is no plain FedAvg, and configure_train"):
        guarded(Mine(), policy)
    for strategy in (FedAdam(), FedMedian()):
        with pytest.raises(InvalidParameter, match="into optimiser"):
            guarded(strategy, policy)


def test_the_standard_policy_takes_a_defence_and_an_optimiser() -> None:
    policy = standard_policy(2, optimiser=fedavgm(), false_quarantines=0.3)
    assert isinstance(policy, Policy)
    assert policy.defence.name == "chain(arc(f=2), caf(f=2))"
    assert policy.optimiser is not None
    assert policy.reputation is not None
    assert policy.reputation.f == 2
