"""An app as Flower's quickstarts write it, with scikit-learn clients, guarded by one line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flower_parts import FakeGrid, answer
from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.serverapp.strategy import Result

APP = Path(__file__).parents[1] / "quickstart_app"
ONE_LINE = (
    "    strategy = FedAvg(",
    "    strategy = guarded(FedAvg(",
    ")))\n    result",
    "))), standard_policy(f=2))\n    result",
)
IMPORTS = (
    "from fedguard.flower import guarded\nfrom fedguard_strategies.recipes import standard_policy\n"
)
NODES, HOSTILE = 10, 2


def context(config: dict[str, Any], node: dict[str, Any] | None = None) -> Context:
    return Context(
        run_id=1, node_id=1, node_config=node or {}, state=RecordDict(), run_config=config
    )


class LocalGrid(FakeGrid):
    """Every node is the app's own ClientApp in this process; the last ones lie."""

    def __init__(self, client_app: Any) -> None:
        super().__init__([lambda message, i=i: self._node(i, message) for i in range(NODES)])
        self.client_app = client_app

    def _node(self, part: int, message: Message) -> Message:
        own = {"partition-id": part, "num-partitions": NODES}
        reply: Message = self.client_app(message, context({}, own))
        if part < NODES - HOSTILE or "arrays" not in reply.content:
            return reply
        values = [-10.0 * each for each in reply.content["arrays"].to_numpy_ndarrays()]
        return answer(ArrayRecord(values), train_loss=-1e9, **{"num-examples": 10**6})(message)

    def send_and_receive(  # type: ignore[override]
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        return list(self.pull_messages(self.push_messages(messages)))


def trained(monkeypatch: pytest.MonkeyPatch, source: str) -> Result:
    monkeypatch.syspath_prepend(str(APP))
    client = importlib.import_module("quickstart.client_app")
    server = importlib.import_module("quickstart.server_app")
    names: dict[str, Any] = {"__name__": "changed"}
    exec(compile(source, server.__file__ or "", "exec"), names)
    config = {"num-server-rounds": 4, "fraction-train": 1.0}
    names["app"](LocalGrid(client.app), context(config))
    for name in [name for name in sys.modules if name.startswith("quickstart")]:
        del sys.modules[name]
    return names["results"][0]


def accuracy(result: Result) -> float:
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    weight, bias = result.arrays.to_numpy_ndarrays()
    return float(((images / 16.0 @ weight.T + bias).argmax(axis=1) == labels).mean())


def test_one_line_guards_a_quickstart(monkeypatch: pytest.MonkeyPatch) -> None:
    source = (APP / "quickstart" / "server_app.py").read_text()
    alone = trained(monkeypatch, source)
    changed = source
    for before, after in zip(ONE_LINE[::2], ONE_LINE[1::2], strict=True):
        assert changed.count(before) == 1
        changed = changed.replace(before, after)
    guarded = trained(
        monkeypatch, changed.replace("app = ServerApp()", IMPORTS + "app = ServerApp()")
    )
    assert accuracy(alone) < 0.5
    assert accuracy(guarded) > 0.85
    last = guarded.train_metrics_clientapp[4]
    assert np.float64(last["train_loss"]) > 0
    assert last["train_loss-lowest"] > 0  # who is not admitted is not pooled, or has one vote
    assert guarded.evaluate_metrics_clientapp[4]["accuracy"] > 0.85
