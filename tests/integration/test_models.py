"""Every model trains in the vectorised runner and replies as a real ClientApp does."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MessageType, RecordDict
from flwr.supercore.task_identity import TaskIdentity
from real_data import load_or_skip

from fedguard.errors import InvalidParameter
from fedguard_clients.app import client_app
from fedguard_simulations.data import LABELS
from fedguard_simulations.federation import federation_of, task_of
from fedguard_simulations.models import MODELS, lora
from fedguard_simulations.report import render
from fedguard_simulations.runners.flower import task_of_node
from fedguard_simulations.runners.vectorised import VectorisedGrid, batches
from fedguard_simulations.runs import RUNS
from fedguard_simulations.scenario import Scenario
from fedguard_simulations.simulate import simulate

SMALL = Scenario(
    id="model-v1",
    summary="one of five clients lies",
    attack="scaled_negation(scale=3)",
    defence="trimmed_mean(f=1)",
    dataset="digits",
    partition="iid()",
    clients=5,
    malicious=1,
    rounds=8,
    learning_rate=0.3,
)
NAMES = [f"{model.__name__}()" for model in MODELS]
TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1


@pytest.mark.parametrize("model", NAMES)
@pytest.mark.parametrize("attack", [SMALL.attack, "free_rider()", "label_flip()"])
def test_replies_are_the_client_apps(model: str, attack: str) -> None:
    scenario, run = SMALL.evolve(model=model, attack=attack), RUNS["attacked"]
    arrays = federation_of(scenario).initial()
    grid = VectorisedGrid([task_of(scenario, run, each) for each in range(scenario.clients)])
    messages = [_question(arrays, node) for node in grid.get_node_ids()]
    app = client_app(partial(task_of_node, scenario, run))
    for client, (message, reply) in enumerate(
        zip(messages, grid.send_and_receive(messages), strict=True)
    ):
        alone = app(message, _context(client, scenario.clients)).content
        told, given = reply.content.array_records["arrays"], alone.array_records["arrays"]
        assert list(told) == list(given) == list(arrays)
        for name, array in given.items():
            assert told[name].numpy().dtype == array.numpy().dtype
            assert told[name].numpy() == pytest.approx(array.numpy(), abs=1e-5)
        examples = (
            each.metric_records["metrics"]["num-examples"] for each in (reply.content, alone)
        )
        assert len(set(examples)) == 1


@pytest.mark.parametrize("model", NAMES)
def test_every_model_learns(model: str) -> None:
    outcome = simulate(SMALL.evolve(model=model), labels=["clean", "defended"])
    assert outcome.runs["clean"].accuracy[0] < 0.3
    for run in outcome.runs.values():
        assert run.accuracy[-1] > 0.6


def test_an_omniscient_attack_on_a_model_trained_in_turn() -> None:
    scenario = SMALL.evolve(model="cnn(channels=4)", attack="min_max(f=1)", rounds=3)
    (run,) = simulate(scenario, labels=["defended"]).runs.values()
    assert run.accuracy[-1] > run.accuracy[0]


@pytest.mark.parametrize(
    ("dataset", "least"),
    [("fashion-mnist", 0.5), ("digits", 0.6), ("mnist", 0.6), ("satimage", 0.6), ("fortunes", 0.3)],
)
def test_every_data_set_is_learnt(dataset: str, least: float) -> None:
    load_or_skip(dataset)
    outcome = simulate(SMALL.evolve(dataset=dataset, model="mlp()"), labels=["clean"])
    assert outcome.runs["clean"].accuracy[-1] > least
    assert np.sum(outcome.runs["clean"].confusion) == len(load_or_skip(dataset).test.y)
    page = render(outcome)
    assert all(label in page for label in LABELS[dataset])


def test_an_adapter_sends_little_and_begins_at_the_frozen_weights() -> None:
    one, other = (lora(rank=2, hidden=16).initial((8, 8), 10, seed) for seed in (0, 1))
    assert sum(each.numel() for each in one.state_dict().values()) == 2 * (64 + 16) + 16 + 17 * 10
    frozen = [dict(each.named_buffers())["1.frozen"] for each in (one, other)]
    assert torch.equal(*frozen)
    assert not torch.equal(one.state_dict()["1.a"], other.state_dict()["1.a"])
    another = lora(rank=2, hidden=16, base=1).initial((8, 8), 10, 0)
    assert not torch.equal(frozen[0], dict(another.named_buffers())["1.frozen"])
    x = torch.rand(3, 64)
    assert torch.equal(one[1](x), torch.nn.functional.linear(x, frozen[0]))


def test_only_linear_layers_are_batched() -> None:
    built = {model.__name__: model().build((8, 8), 10) for model in MODELS}
    assert [name for name, model in built.items() if batches(model)] == ["logistic", "mlp"]


def test_convolutions_are_for_images() -> None:
    cnn = next(model for model in MODELS if model.__name__ == "cnn")()
    for shape in ((36,), (3, 3), (3, 32, 32)):
        with pytest.raises(InvalidParameter, match="is for images"):
            cnn.build(shape, 6)


def _question(arrays: ArrayRecord, node: int) -> Message:
    content = RecordDict({"arrays": arrays, "config": ConfigRecord({"server-round": 1})})
    return Message(content, node, MessageType.TRAIN)


def _context(client: int, clients: int) -> Context:
    config = {"partition-id": client, "num-partitions": clients}
    return Context(run_id=1, node_id=client, node_config=config, state=RecordDict(), run_config={})
