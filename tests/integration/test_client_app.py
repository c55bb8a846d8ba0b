"""The real ClientApp, called as Flower calls it, with a model that has integer buffers."""

from __future__ import annotations

import numpy as np
import pytest
from flower_parts import FakeGrid
from flwr.app import ArrayRecord, Context, Message, MessageType, RecordDict

import fedguard_strategies as rules
from fedguard import Policy, RoundReport
from fedguard.flower import GuardedStrategy
from fedguard_clients.app import client_app
from fedguard_simulations.evaluation import Evaluator
from fedguard_simulations.federation import federation_of, task_of
from fedguard_simulations.runners.flower import task_of_node
from fedguard_simulations.runners.vectorised import batched_sgd
from fedguard_simulations.runs import RUNS
from fedguard_simulations.scenario import Scenario
from fedguard_strategies.recipes import standard_scorers

CNN = Scenario(
    id="cnn-v1",
    summary="a CNN with BatchNorm",
    attack="scaled_negation(scale=10)",
    defence="trimmed_mean(f=1)",
    dataset="digits",
    partition="iid()",
    model="cnn(channels=4)",
    clients=6,
    malicious=1,
    rounds=6,
    steps=8,
)


def context(partition: int) -> Context:
    config = {"partition-id": partition, "num-partitions": CNN.clients}
    return Context(
        run_id=1, node_id=partition, node_config=config, state=RecordDict(), run_config={}
    )


def test_a_cnn_trains_under_attack_and_its_counters_stay() -> None:
    run = RUNS["defended"]
    app = client_app(lambda context: task_of_node(CNN, run, context))
    grid = FakeGrid([lambda message, i=i: app(message, context(i)) for i in range(CNN.clients)])
    federation, reports = federation_of(CNN), list[RoundReport]()
    policy = Policy(rules.trimmed_mean(1), standard_scorers(1))
    strategy = GuardedStrategy(policy, min_nodes=CNN.clients, on_round=reports.append)
    evaluate = Evaluator(federation)
    start = federation.initial()
    result = strategy.start(grid, start, num_rounds=CNN.rounds, evaluate_fn=evaluate)
    measured = result.evaluate_metrics_serverapp
    assert float(measured[CNN.rounds]["accuracy"]) > 0.5 > float(measured[0]["accuracy"])
    (liar,) = federation.malicious
    assert all(report.suspects == (str(101 + liar),) for report in reports[1:])
    counters = [name for name in start if name.endswith("num_batches_tracked")]
    assert len(counters) == 2
    assert all(result.arrays[name].numpy() == 0 for name in counters)


def test_a_query_answers_with_the_partition() -> None:
    app = client_app(lambda context: task_of_node(CNN, RUNS["clean"], context))
    question = Message(RecordDict(), 104, MessageType.QUERY)
    reply = app(question, context(3))
    assert reply.content.metric_records["node"]["partition-id"] == 3


@pytest.mark.parametrize(
    "attack", ["scaled_negation(scale=3)", "free_rider()", "backdoor()", "label_flip()"]
)
def test_batched_training_is_each_clients_own(attack: str) -> None:
    scenario = CNN.evolve(model="mlp(hidden=16)", attack=attack)
    run, federation = RUNS["attacked"], federation_of(scenario)
    tasks = [task_of(scenario, run, client) for client in range(CNN.clients)]
    start = federation.initial()
    stacked, losses = batched_sgd(
        federation.build(), start.to_torch_state_dict(), tasks, server_round=1
    )
    for client in range(CNN.clients):
        if client in federation.malicious:
            continue  # its craft is applied behind the batch
        alone = _reply(scenario, client, start)
        for name, array in alone.content.array_records["arrays"].items():
            assert stacked[name][client].numpy() == pytest.approx(array.numpy(), abs=1e-6)
        loss = alone.content.metric_records["metrics"]["train-loss"]
        assert float(losses[client]) == pytest.approx(loss, abs=1e-5)


def test_a_free_rider_does_not_train() -> None:
    scenario = CNN.evolve(model="mlp(hidden=16)", attack="free_rider(noise=1e-6)")
    federation = federation_of(scenario)
    (liar,) = federation.malicious
    start = federation.initial()
    reply = _reply(scenario, liar, start)
    assert "train-loss" not in reply.content.metric_records["metrics"]
    for name, array in reply.content.array_records["arrays"].items():
        moved = np.abs(array.numpy() - start[name].numpy()).max()
        assert 0 < moved < 1e-4


def _reply(scenario: Scenario, client: int, arrays: ArrayRecord) -> Message:
    from flwr.app import ConfigRecord

    from fedguard_clients.app import train_reply

    content = RecordDict({"arrays": arrays, "config": ConfigRecord({"server-round": 1})})
    message = Message(content, 101 + client, MessageType.TRAIN)
    return train_reply(message, task_of(scenario, RUNS["attacked"], client))
