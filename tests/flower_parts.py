"""A model, replies and a grid in memory, for tests of the Flower side."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1


HOSTILE_APP = Path(__file__).parent / "hostile_app"


def hostile_app() -> Any:
    """The module of the app whose nodes may be hostile."""
    return app_module("hostile")


def app_module(name: str) -> Any:
    """A module of its folder."""
    spec = importlib.util.spec_from_file_location(name, HOSTILE_APP / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def model(dtype: str = "float32") -> ArrayRecord:
    """Two float arrays and BatchNorm's counter."""
    return ArrayRecord(
        {
            "weight": Array(np.arange(6, dtype=dtype).reshape(2, 3)),
            "bias": Array(np.zeros(2, dtype)),
            "num_batches_tracked": Array(np.array(7, np.int64)),
        }
    )


def shifted(by: float, arrays: ArrayRecord | None = None) -> ArrayRecord:
    """The model with `by` added to every float."""
    moved = {}
    for name, array in (arrays or model()).items():
        values = array.numpy()
        moved[name] = Array(values + values.dtype.type(by) if values.dtype.kind == "f" else values)
    return ArrayRecord(moved)


def content(arrays: ArrayRecord | None, **metrics: Any) -> RecordDict:
    records: dict[str, Any] = {"metrics": MetricRecord({"num-examples": 10, **metrics})}
    if arrays is not None:
        records["arrays"] = arrays
    return RecordDict(records)


def npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=True)
    return buffer.getvalue()


Answer = Callable[[Message], Message]


class FakeGrid(Grid):
    """Nodes 101, 102, …: `answers[i](message)` is the reply of node 101 + i, or raises."""

    def __init__(self, answers: list[Answer], appear_one_by_one: bool = False) -> None:
        self.answers = answers
        self.sent: dict[str, Message] = {}
        self.pulled: list[str] = []
        self.shown = 1 if appear_one_by_one else len(answers)

    def get_node_ids(self) -> Iterable[int]:
        ids = range(101, 101 + self.shown)
        self.shown = min(self.shown + 1, len(self.answers))
        return ids

    def get_nodes(self) -> Iterable[Any]:
        return [NodeInfo(node_id=node) for node in self.get_node_ids()]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        ids = []
        for message in messages:
            ids.append(f"m{len(self.sent)}")
            message.metadata.__dict__["_message_id"] = ids[-1]
            self.sent[ids[-1]] = message
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        replies = []
        for each in message_ids:
            self.pulled.append(each)
            message = self.sent[each]
            replies.append(self.answers[message.metadata.dst_node_id - 101](message))
        return replies

    def send_and_receive(self, *args: Any, **kwargs: Any) -> Iterable[Message]:
        pytest.fail("the strategy must pull one reply at a time")

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        return Message(*args, **kwargs)

    def set_run(self, run: Any) -> None:
        pass

    @property
    def run(self) -> Any:
        return None


def answer(arrays: ArrayRecord | None, **metrics: Any) -> Answer:
    """A node that always replies with these arrays."""
    return lambda message: Message(content(arrays, **metrics), reply_to=message)
