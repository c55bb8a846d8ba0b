"""The vectorised runner: Flower's messages in one process, all clients' SGD as one batch.

Models it has no batched SGD for are trained one client after the other, as a ClientApp would.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, Error, Message, MetricRecord, RecordDict
from flwr.common.constant import ErrorCode
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity
from torch import Tensor, nn

from fedguard.blocks import one_blas_thread
from fedguard_clients.app import Task, prepared, train_reply
from fedguard_clients.training import CRAFT, Held, draw_batches, flat, stream, unflat
from fedguard_simulations.adversary import AdversarialGrid
from fedguard_simulations.federation import task_of
from fedguard_simulations.runners import Job

__all__ = ["VectorisedGrid", "batched_sgd", "batches", "run_vectorised"]

SUPERLINK = 1
FIRST_NODE = 1000  # node ids, in the order of the clients


def run_vectorised(job: Job) -> ArrayRecord:
    """Run a job in this process."""
    federation, run = job.federation, job.run
    clients = federation.participants(run)
    tasks = [task_of(federation.scenario, run, client) for client in clients]
    inner = VectorisedGrid(tasks)
    grid: Grid = inner
    strategy = job.strategy_of(lambda node: federation.name(clients[node.node_id - FIRST_NODE]))
    attack = federation.omniscient(run)
    if attack:
        by_node = dict(zip(grid.get_node_ids(), clients, strict=True))
        liars, name = federation.malicious, federation.name
        grid = AdversarialGrid(grid, attack, by_node, liars, name, strategy)

    def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord:
        if inner.failure:  # an error of ours, which a guarded grid takes for a client's
            raise inner.failure
        return job.evaluate(server_round, arrays)

    _identify_process()
    initial, rounds = federation.initial(), federation.scenario.rounds
    with one_blas_thread():  # numpy's threads would spin against torch's
        result = strategy.start(grid, initial, num_rounds=rounds, evaluate_fn=evaluate)
    return result.arrays or initial


def _identify_process() -> None:
    """Tell flwr which run its messages belong to; a ServerApp process has it from its SuperLink."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, SUPERLINK


class VectorisedGrid(Grid):
    """A grid whose nodes live in this process and train together when a reply is asked for."""

    def __init__(self, tasks: list[Task]) -> None:
        self._tasks = tasks
        self._model = tasks[0].model()
        self._train = self._train_as_one if batches(self._model) else self._train_in_turn
        self._memories: list[dict[str, ArrayRecord]] = [{} for _ in tasks]
        self._pushed: dict[str, Message] = {}
        self._replies: dict[str, Message] = {}
        self._count = 0
        self.failure: Exception | None = None

    def get_node_ids(self) -> Iterable[int]:
        return range(FIRST_NODE, FIRST_NODE + len(self._tasks))

    def get_nodes(self) -> Iterable[Any]:
        return [NodeInfo(node_id=node) for node in self.get_node_ids()]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        ids = []
        for message in messages:
            self._count += 1
            ids.append(f"message-{self._count}")
            self._pushed[ids[-1]] = message
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        if self._pushed:
            messages, self._pushed = self._pushed, {}
            try:
                self._train(messages)
            except Exception as error:
                self.failure = error
                failed = Error(ErrorCode.UNKNOWN, repr(error))
                self._replies |= {
                    each: Message(failed, reply_to=message) for each, message in messages.items()
                }
        return [self._replies.pop(each) for each in message_ids if each in self._replies]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        return self.pull_messages(list(self.push_messages(messages)))

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        return Message(*args, **kwargs)

    def set_run(self, run: Any) -> None:
        """There is no run to register."""

    @property
    def run(self) -> Any:
        return None

    def _train_in_turn(self, messages: Mapping[str, Message]) -> None:
        """Each message alone, on one thread: several cost small models more than they save."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for message_id, message in messages.items():
                own = _place(message)
                task, memory = self._tasks[own], self._memories[own]
                self._replies[message_id] = train_reply(message, task, memory)
        finally:
            torch.set_num_threads(threads)

    def _train_as_one(self, messages: Mapping[str, Message]) -> None:
        """All messages of one round, as one batch over their clients."""
        content = next(iter(messages.values())).content
        arrays = content.array_records["arrays"]
        start = arrays.to_torch_state_dict()
        server_round = int(str(content.config_records["config"]["server-round"]))
        places = list(map(_place, messages.values()))
        tasks = [prepared(self._tasks[own], arrays, self._memories[own]) for own in places]
        trained, losses = batched_sgd(self._model, start, tasks, server_round)
        base = flat(start)
        for i, (message_id, message) in enumerate(messages.items()):
            task, state = tasks[i], {name: values[i] for name, values in trained.items()}
            if task.behaviour.craft:
                rng = stream(task.seed, CRAFT, task.client, server_round)
                delta = flat(state) - base if task.behaviour.trains else np.zeros_like(base)
                state = unflat(base + task.behaviour.craft(delta, server_round, rng), like=start)
            metrics = MetricRecord({"num-examples": len(task.examples.y)})
            metrics["train-loss"] = float(losses[i])
            reply = RecordDict({"arrays": ArrayRecord(state), "metrics": metrics})
            self._replies[message_id] = Message(reply, reply_to=message)


def batches(model: nn.Module) -> bool:
    """Whether `batched_sgd` can train a model: linear layers and ReLU, one after the other."""
    known = (nn.Flatten, nn.Linear, nn.ReLU)
    return isinstance(model, nn.Sequential) and all(type(layer) in known for layer in model)


def _place(message: Message) -> int:
    """The number of the client that a message is for."""
    return message.metadata.dst_node_id - FIRST_NODE


def batched_sgd(
    model: nn.Module, start: Mapping[str, Tensor], tasks: list[Task], server_round: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Local SGD of all tasks from one model: parameters stacked, shape (n, ...), and mean losses.

    Every client draws the batches it would draw alone, so the result is that of n ClientApps up
    to rounding.
    """
    training = tasks[0].training
    rate = training.learning_rate
    drawn = [
        draw_batches(training, len(task.examples.y), task.seed, task.client, server_round)
        for task in tasks
    ]
    pairs = list(zip(tasks, drawn, strict=True))
    x = torch.from_numpy(np.stack([task.examples.x[batches] for task, batches in pairs]))
    y = torch.from_numpy(np.stack([task.examples.y[batches] for task, batches in pairs]))
    stacked = {
        name: values.repeat(len(tasks), *(1 for _ in values.shape))  # never a view of `start`
        for name, values in start.items()
    }
    held = [
        Held({name: values[i] for name, values in stacked.items()}, constrain)
        for i, task in enumerate(tasks)
        if (constrain := task.behaviour.constrain)
    ]
    total = torch.zeros(len(tasks))
    for i in range(training.steps):
        total += _sgd_step(model, stacked, x[:, i], y[:, i], rate)
        for each in held:
            each.after_step(rate)
    return stacked, total / training.steps


@torch.no_grad()
def _sgd_step(
    model: nn.Module, stacked: Mapping[str, Tensor], x: Tensor, y: Tensor, learning_rate: float
) -> Tensor:
    """One step of n models on their own batches, in place; x (n, batch, ...), losses (n,).

    Back-propagation is written out, because fusing each gradient into its update saves the
    memory traffic that would otherwise be most of the work.
    """
    inputs = [x.flatten(2)]
    layers = [
        (name, layer) for name, layer in model.named_children() if not isinstance(layer, nn.Flatten)
    ]
    for name, layer in layers:
        if isinstance(layer, nn.Linear):
            weight, bias = stacked[f"{name}.weight"], stacked[f"{name}.bias"]
            inputs.append(torch.baddbmm(bias[:, None, :], inputs[-1], weight.transpose(1, 2)))
        else:
            inputs.append(inputs[-1].relu())
    log_shares = inputs.pop().log_softmax(dim=2)
    losses = -log_shares.gather(2, y[:, :, None]).mean(dim=(1, 2))
    back = (log_shares.exp() - nn.functional.one_hot(y, log_shares.shape[2])) / y.shape[1]
    for (name, layer), seen in reversed(list(zip(layers, inputs, strict=True))):
        if isinstance(layer, nn.Linear):
            weight, bias = stacked[f"{name}.weight"], stacked[f"{name}.bias"]
            before = torch.bmm(back, weight) if seen is not inputs[0] else back
            weight.baddbmm_(back.transpose(1, 2), seen, alpha=-learning_rate)
            bias.sub_(back.sum(dim=1), alpha=learning_rate)
            back = before
        else:
            back = back * (seen > 0)
    return losses
