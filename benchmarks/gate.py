"""What a round of large replies, or of many, costs through the gate, next to Flower's own FedAvg.

    python benchmarks/gate.py --out build/benchmarks/gate.json

Replies are fed to the grid's interface, one at a time: each is made in a process of its own when
it is pulled, taken apart into objects and put together again in the server's process, as a
SuperLink and its ServerApp do. Real nodes would take longer to send them than both servers take.
The round is the standard policy's, with scores and reputations, in the memory that is allowed,
the rest on disk; FedAvg holds every reply.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from measuring import machine, resident
from numpy.typing import NDArray

from fedguard.flower import GuardedStrategy
from fedguard.state.opening import open_store
from fedguard_strategies.recipes import standard_policy

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from flower_parts import FakeGrid

SIZES = ((100, 25_000_000), (100, 1_000_000), (1_000, 100_000), (10_000, 10_000))
"""Clients and parameters."""
MEMORY = 256 << 20
"""Bytes of updates that the guarded round may hold."""
LIES = 10
"""One client in so many sends its update negated, three times as long."""


def upload(n: int, d: int, asked: Any) -> None:
    """The nodes, in a process of their own: the objects of each reply, by the number asked for."""
    honest = honest_update(d)
    for client in iter(partial(_asked, asked), None):
        own = np.random.default_rng(client).standard_normal(min(d, 65_536), np.float32)
        update = honest + 0.01 * np.resize(own, d)
        if client % LIES == 0:
            update *= -3.0
        record = RecordDict(
            {
                "arrays": ArrayRecord({"model": Array(update)}),
                "metrics": MetricRecord({"num-examples": 100}),
            }
        )
        objects = get_all_nested_objects(record)
        asked.send((record.object_id, len(objects)))
        for name, each in objects.items():
            asked.send_bytes(name.encode())
            asked.send_bytes(each.deflate())


def _asked(pipe: Any) -> int | None:
    """Whose reply is wanted; None when the server has ended."""
    try:
        return int(pipe.recv())
    except EOFError:
        return None


def honest_update(d: int) -> NDArray[np.float32]:
    return 0.01 * np.random.default_rng(0).standard_normal(d, np.float32)


class Replies(FakeGrid):
    """Nodes whose replies are made when they are pulled; how long that took is counted apart."""

    def __init__(self, n: int, d: int) -> None:
        super().__init__([lambda asked: asked] * n)
        context = multiprocessing.get_context("spawn")
        self.nodes, own = context.Pipe()
        context.Process(target=upload, args=(n, d, own), daemon=True).start()
        own.close()
        self.making = 0.0

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        replies = []
        for each in message_ids:
            began = time.perf_counter()
            asked = self.sent[each]
            self.nodes.send(asked.metadata.dst_node_id - 101)
            name, count = self.nodes.recv()
            take = self.nodes.recv_bytes
            contents = {take().decode(): take() for _ in range(count)}
            self.making += time.perf_counter() - began
            content = inflate_object_from_contents(name, contents)
            replies.append(Message(content, reply_to=asked))
        return replies

    def send_and_receive(  # type: ignore[override]
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        return [
            reply for each in self.push_messages(messages) for reply in self.pull_messages([each])
        ]


def measured(who: str, n: int, d: int, told: Any) -> None:
    """One round, in a process of its own."""
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    grid, start = Replies(n, d), ArrayRecord({"model": Array(np.zeros(d, np.float32))})
    before = resident("VmRSS")
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        if who == "fedguard":
            with open_store(folder) as store:
                strategy: Any = GuardedStrategy(
                    standard_policy(f=n // 5), min_nodes=n, store=store, memory=MEMORY
                )
                result = strategy.start(grid, start, num_rounds=1)
        else:
            counts = {"min_train_nodes": n, "min_available_nodes": n}
            result = FedAvg(fraction_evaluate=0.0, **counts).start(grid, start, num_rounds=1)
        seconds, peak = time.perf_counter() - began - grid.making, resident("VmHWM")
    assert len(result.arrays), "the round moved no model"
    honest = honest_update(d)
    away = float(np.linalg.norm(result.arrays["model"].numpy() - honest))
    told.send(
        {
            "who": who,
            "clients": n,
            "d": d,
            "seconds": round(seconds, 2),
            "gigabytes": round(4 * n * d / 1e9, 2),
            "peak_mb": round(peak / 2**20),
            "before_mb": round(before / 2**20),
            "away": round(away / float(np.linalg.norm(honest)), 3),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/gate.json"))
    given = parser.parse_args()
    context, cells = multiprocessing.get_context("spawn"), []
    for n, d in SIZES:
        for who in ("fedguard", "FedAvg"):
            told, own = context.Pipe(duplex=False)
            process = context.Process(target=measured, args=(who, n, d, own))
            process.start()
            own.close()
            try:
                cells.append(told.recv())
            except EOFError:
                cells.append({"who": who, "clients": n, "d": d, "seconds": None})
            process.join()
            print(json.dumps(cells[-1]), flush=True)
    command = " ".join(["python", *sys.argv])
    whole = {"command": command, "machine": machine(), "memory_mb": MEMORY >> 20, "cells": cells}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
