"""The real ClientApp, called as Flower calls it, with a model that has integer buffers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from flower_parts import FakeGrid
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict
from torch import nn

import fedguard_strategies as rules
from fedguard import Policy, RoundReport
from fedguard.flower import GuardedStrategy
from fedguard_clients import ATTACKS, Examples, honest
from fedguard_clients.app import Task, client_app, train_reply, trained
from fedguard_clients.training import Training, flat
from fedguard_simulations.evaluation import Evaluator
from fedguard_simulations.federation import federation_of, task_of
from fedguard_simulations.runners.flower import task_of_node
from fedguard_simulations.runners.vectorised import FIRST_NODE, VectorisedGrid
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


def test_what_a_model_draws_itself_follows_the_seed_alone() -> None:
    """Dropout, as in a user's own model; whatever this process drew before."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))

    rng = np.random.default_rng(0)
    x, y = rng.random((40, 8, 8), dtype=np.float32), rng.integers(0, 10, 40)
    task = Task(1, build, Examples(x, y, 10), honest(), Training(), seed=3)
    start = ArrayRecord(build().state_dict())
    sent = []
    for server_round in (1, 1, 2):
        torch.rand(7)
        before = torch.random.get_rng_state()
        sent.append(flat(trained(task, start, server_round).to_torch_state_dict()))
        assert torch.equal(torch.random.get_rng_state(), before)
    np.testing.assert_array_equal(sent[0], sent[1])
    assert not np.array_equal(sent[0], sent[2])


def test_a_query_answers_with_the_partition() -> None:
    app = client_app(lambda context: task_of_node(CNN, RUNS["clean"], context))
    question = Message(RecordDict(), 104, MessageType.QUERY)
    reply = app(question, context(3))
    assert reply.content.metric_records["node"]["partition-id"] == 3


class Copied(VectorisedGrid):
    """Keeps the replies it gives, by client."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.given: list[dict[int, Message]] = []

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        replies = list(super().pull_messages(message_ids))
        assert self.failure is None, self.failure
        self.given.append({each.metadata.src_node_id - FIRST_NODE: each for each in replies})
        return replies


def sent(reply: Message) -> dict[str, np.ndarray]:
    arrays = reply.content.array_records["arrays"]
    return {name: array.numpy() for name, array in arrays.items()}


@pytest.mark.parametrize("factory", ATTACKS, ids=lambda each: each.__name__)
def test_the_vectorised_runner_sends_what_the_client_apps_send(factory: Any) -> None:
    """Three rounds, whose models the clients may remember, the second one asked for twice."""
    scenario = CNN.evolve(model="mlp(hidden=16)", attack=factory().name, malicious=3)
    run, federation = RUNS["attacked"], federation_of(scenario)
    app = client_app(lambda context: task_of_node(scenario, run, context))
    contexts = [context(client) for client in range(CNN.clients)]
    grid = Copied([task_of(scenario, run, client) for client in range(CNN.clients)])
    start = federation.initial()
    for server_round in (1, 2, 2, 3):
        config = ConfigRecord({"server-round": server_round})
        content = RecordDict({"arrays": start, "config": config})
        grid.send_and_receive(
            [Message(content, FIRST_NODE + i, MessageType.TRAIN) for i in range(CNN.clients)]
        )
        replies = [
            app(Message(content, 101 + i, MessageType.TRAIN), contexts[i])
            for i in range(CNN.clients)
        ]
        for client, reply in enumerate(replies):
            batched = grid.given[-1][client]
            for name, array in sent(batched).items():
                expected = pytest.approx(sent(reply)[name], rel=2e-6, abs=2e-5)
                assert array == expected, client  # ten times as long is rounded as much more
            told, own = (each.content.metric_records["metrics"] for each in (batched, reply))
            assert told == pytest.approx(dict(own) | {"train-loss": told["train-loss"]})
            if "train-loss" in own:
                assert told["train-loss"] == pytest.approx(own["train-loss"], abs=1e-4)
        alone = [sent(reply) for reply in replies]
        mean = {name: np.mean([own[name] for own in alone], axis=0) for name in alone[0]}
        start = ArrayRecord({name: Array(values) for name, values in mean.items()})
    assert all(np.isfinite(values).all() for values in mean.values())


def test_what_a_client_remembers_lies_in_its_context() -> None:
    scenario = CNN.evolve(model="mlp(hidden=16)", attack="delta_free_rider(noise=1e-6)")
    federation = federation_of(scenario)
    (liar,) = federation.malicious
    app = client_app(lambda context: task_of_node(scenario, RUNS["attacked"], context))
    own = context(liar)
    models = [
        ArrayRecord({name: Array(array.numpy() + shift) for name, array in state.items()})
        for state in [federation.initial()]
        for shift in (np.float32(0), np.float32(0.5), np.float32(0.5), np.float32(0.75))
    ]
    moved = []
    for server_round, arrays in enumerate(models, start=1):
        config = ConfigRecord({"server-round": server_round})
        content = RecordDict({"arrays": arrays, "config": config})
        reply = sent(app(Message(content, 101 + liar, MessageType.TRAIN), own))
        moved.append({float(np.median(reply[name] - arrays[name].numpy())) for name in reply})
    for deltas, wanted in zip(moved, (0, 0.5, 0.5, 0.25), strict=True):
        assert sorted(deltas) == pytest.approx([wanted] * len(deltas), abs=1e-4)
    assert {each.partition("-")[0] for each in own.state} == {"fedguard"}
    honest = context(next(iter({*range(CNN.clients)} - {liar})))
    app(Message(content, 101, MessageType.TRAIN), honest)
    assert not honest.state


def test_constrained_training_of_a_model_with_buffers() -> None:
    scenario = CNN.evolve(attack="projected_gradient_descent(norm=0.01, boost=1)")
    federation = federation_of(scenario)
    (liar,) = federation.malicious
    start = federation.initial()
    reply = sent(_reply(scenario, liar, start))
    floats = [name for name in reply if reply[name].dtype.kind == "f"]
    way = np.concatenate([(reply[name] - start[name].numpy()).ravel() for name in floats])
    assert np.linalg.norm(way) == pytest.approx(0.01, rel=1e-3)


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
    content = RecordDict({"arrays": arrays, "config": ConfigRecord({"server-round": 1})})
    message = Message(content, 101 + client, MessageType.TRAIN)
    return train_reply(message, task_of(scenario, RUNS["attacked"], client))
