"""A Flower ClientApp that trains in PyTorch and behaves as it is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor, nn

from fedguard.types import Array, Vector
from fedguard_clients.behaviour import Behaviour, Examples
from fedguard_clients.training import (
    CRAFT,
    LAYERS,
    Training,
    draw_batches,
    drawing,
    flat,
    local_sgd,
    stream,
    unflat,
)

__all__ = ["Task", "client_app", "prepared", "train_reply", "trained"]

SEEN, BEFORE = "fedguard-model", "fedguard-model-before"
"""The last two different global models, in a client's memory."""


@dataclass(frozen=True)
class Task:
    """All a client needs for a round. `examples` are already poisoned by `behaviour`."""

    client: int
    model: Callable[[], nn.Module]
    examples: Examples
    behaviour: Behaviour
    training: Training
    seed: int


def client_app(task_of: Callable[[Context], Task]) -> ClientApp:
    """A ClientApp whose clients get their task from `task_of(context)`.

    `task_of` must pickle: Flower's simulation sends the app to Ray's workers. A query answers
    with the node's partition, so that a simulation can call the roll.
    """
    app = ClientApp()

    @app.train()
    def train(message: Message, context: Context) -> Message:
        return train_reply(message, task_of(context), context.state.array_records)

    @app.query()
    def query(message: Message, context: Context) -> Message:
        partition = MetricRecord({"partition-id": int(context.node_config["partition-id"])})
        return Message(RecordDict({"node": partition}), reply_to=message)

    return app


def prepared(task: Task, arrays: ArrayRecord, memory: MutableMapping[str, ArrayRecord]) -> Task:
    """A task as it is once its client has seen the round's global model, which it may remember."""
    behaviour, examples = task.behaviour, task.examples
    if behaviour.recall:
        behaviour = behaviour.recall(_moved(arrays, memory))
    if behaviour.relabel:
        examples = behaviour.relabel(examples, _logits(task, arrays))
    return replace(task, behaviour=behaviour, examples=examples)


def _moved(arrays: ArrayRecord, memory: MutableMapping[str, ArrayRecord]) -> Vector | None:
    """How the global model last moved; a model sent again, as in a held round, moves nothing."""
    now = flat(arrays.to_torch_state_dict())
    if SEEN in memory and not np.array_equal(now, flat(memory[SEEN].to_torch_state_dict())):
        memory[BEFORE] = memory[SEEN]
    memory[SEEN] = arrays
    return now - flat(memory[BEFORE].to_torch_state_dict()) if BEFORE in memory else None


@torch.no_grad()
def _logits(task: Task, arrays: ArrayRecord) -> Array:
    model = task.model()
    model.load_state_dict(arrays.to_torch_state_dict())
    logits: Array = model.eval()(torch.from_numpy(task.examples.x)).numpy()
    return logits


def trained(task: Task, arrays: ArrayRecord, server_round: int) -> ArrayRecord:
    """A model after the local work of a task in a round."""
    return ArrayRecord(_train(task, arrays.to_torch_state_dict(), server_round)[0])


def _train(
    task: Task, start: Mapping[str, Tensor], server_round: int
) -> tuple[dict[str, Tensor], float]:
    """The parameters after a task's local work, and its mean loss."""
    examples, rate = task.examples, task.training.learning_rate
    batches = draw_batches(task.training, len(examples.y), task.seed, task.client, server_round)
    x, y = torch.from_numpy(examples.x), torch.from_numpy(examples.y)
    with drawing(stream(task.seed, LAYERS, task.client, server_round)):
        model = task.model()
        model.load_state_dict(start)
        loss = local_sgd(model, x, y, batches, rate, task.behaviour.constrain)
    return model.state_dict(), loss


def train_reply(
    message: Message, task: Task, memory: MutableMapping[str, ArrayRecord] | None = None
) -> Message:
    """Train from the message's global model and answer with this client's parameters.

    `memory` is what the client keeps between rounds; without one it has seen nothing before.
    """
    server_round = int(str(message.content.config_records["config"]["server-round"]))
    arrays = message.content.array_records["arrays"]
    task = prepared(task, arrays, {} if memory is None else memory)
    start: Mapping[str, Tensor] = arrays.to_torch_state_dict()
    state = dict(start)
    metrics = MetricRecord({"num-examples": len(task.examples.y)})
    if task.behaviour.trains:
        state, metrics["train-loss"] = _train(task, start, server_round)
    if task.behaviour.craft:
        base = flat(start)
        rng = stream(task.seed, CRAFT, task.client, server_round)
        state = unflat(
            base + task.behaviour.craft(flat(state) - base, server_round, rng), like=state
        )
    reply = RecordDict({"arrays": ArrayRecord(state), "metrics": metrics})
    return Message(reply, reply_to=message)
