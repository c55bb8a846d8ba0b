"""What one hostile reply does to Flower's own strategies, and to fedguard: docs/hostile.md.

    python benchmarks/hostile.py docs

Ten honest nodes and a hostile one, one round. Replies are taken apart into objects and put together
again as a SuperLink and its ServerApp do. `make hostile` tries the same replies on real processes.
"""

from __future__ import annotations

import logging
import multiprocessing
import resource
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import flwr
import numpy as np
from flwr.app import Array, ArrayRecord, Error, Message
from flwr.serverapp import strategy as flower
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents

import fedguard_strategies as rules
from fedguard import Policy
from fedguard.flower import GuardedStrategy
from fedguard.flower.wire import Allowance, TooLarge, _inflated

TESTS = Path(__file__).parents[1] / "tests"
sys.path.insert(0, str(TESTS))
from flower_parts import FakeGrid, hostile_app  # noqa: E402

HONEST = 10
HEADS = ("FedAvg", "FedMedian", "FedTrimmedAvg", "MultiKrum", "fedguard")
ROUNDING = 1e-6
MUCH = 300
"""Megabytes more than before the round from which a reply is said to have cost memory."""
Inflate = Callable[[str, dict[str, bytes]], Message]


class WireGrid(FakeGrid):
    """Replies as they come off a SuperLink; the last node is the hostile one."""

    def __init__(self, app: Any, case: str | None, inflate: Inflate) -> None:
        super().__init__([self._reply] * (HONEST + (case is not None)))  # type: ignore[list-item]
        self.app, self.case, self.inflate = app, case, inflate

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        replies = [self._reply(self.sent[each]) for each in message_ids]
        return [self._over_the_wire(reply) for reply in replies if reply is not None]

    def _over_the_wire(self, reply: Message) -> Message:
        objects = get_all_nested_objects(reply)
        return self.inflate(
            reply.object_id, {name: each.deflate() for name, each in objects.items()}
        )

    def _reply(self, asked: Message) -> Message | None:
        number = asked.metadata.dst_node_id - 101
        arrays = self.app.trained(asked.content.array_records["arrays"], number % 3)
        weight = arrays["weight"].numpy() + np.float32(1e-4 * number)  # nobody's copy
        arrays["weight"] = Array(weight)
        if number < HONEST or self.case is None:
            return Message(self.app.reply_of(arrays), reply_to=asked)
        if self.case in ("silent", "dies"):
            return None
        if self.case == "raises":
            return Message(Error(3, "RuntimeError: hostile"), reply_to=asked)
        reply = Message(self.app.CASES[self.case][0](arrays), reply_to=asked)
        spoofed = self.case == "in another's name"
        return self.app.in_the_name_of(101, reply) if spoofed else reply

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        return self.pull_messages(self.push_messages(messages))


def strategy_of(name: str) -> Any:
    count = {"min_available_nodes": HONEST, "min_train_nodes": HONEST}
    if name == "fedguard":
        return GuardedStrategy(Policy(rules.trimmed_mean(2)), min_nodes=HONEST)
    if name == "MultiKrum":
        return flower.MultiKrum(
            fraction_evaluate=0.0, num_malicious_nodes=2, num_nodes_to_select=6, **count
        )
    return getattr(flower, name)(fraction_evaluate=0.0, **count)


def within(allowance: Allowance, message_id: str, contents: dict[str, bytes]) -> Message:
    """As the gate does with what it pulls from a SuperLink."""
    size = sum(len(content) for content in contents.values())
    if size > allowance.bytes or len(contents) > allowance.objects:
        raise TooLarge(f"it has {size} bytes in {len(contents)} objects")
    return _inflated(message_id, contents, allowance.bytes)


def trained(app: Any, name: str, case: str | None) -> ArrayRecord:
    start = app.start()
    inflate: Inflate = inflate_object_from_contents  # type: ignore[assignment]
    if name == "fedguard":
        inflate = partial(within, Allowance.of(start))
    grid = WireGrid(app, case, inflate)
    return strategy_of(name).start(grid, start, num_rounds=1, timeout=0.5).arrays


def outcome(name: str, case: str, told: Any) -> None:
    """One round, in a process of its own: how it ended, in a word."""
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    app = hostile_app()
    honest = trained(app, name, None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        word = _word(trained(app, name, case), honest)
    except SystemExit:
        word = "**run ends**"
    except Exception as error:
        word = f"**run ends** ({type(error).__name__})"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    told.send(word + (f", {grown:.0f} MB" if grown > MUCH else ""))


def _word(arrays: ArrayRecord, honest: ArrayRecord) -> str:
    if set(arrays) != set(honest):
        return "**no model**" if not len(arrays) else "**other arrays**"
    values = {name: array.numpy() for name, array in arrays.items()}
    wanted = {name: array.numpy() for name, array in honest.items()}
    for name, own in values.items():
        if own.dtype != wanted[name].dtype or own.shape != wanted[name].shape:
            return f"**{name}: {own.dtype}, {own.shape}**"
    floats = [name for name, own in values.items() if own.dtype.kind == "f"]
    if not all(np.isfinite(values[name]).all() for name in floats):
        return "**not finite**"
    if all(values[name].tobytes() == wanted[name].tobytes() for name in values):
        return "same"
    apart = max(float(np.abs(values[name] - wanted[name]).max()) for name in floats)
    return f"moved by {apart:.1g}" if apart > ROUNDING else "same but for rounding"


def main() -> None:
    out, context = Path(sys.argv[1]), multiprocessing.get_context("fork")
    cases = hostile_app().CASES
    rows = []
    for case, (_, reason) in cases.items():
        row = [case]
        for name in HEADS:
            told, own = context.Pipe(duplex=False)
            process = context.Process(target=outcome, args=(name, case, own))
            process.start()
            own.close()
            try:
                row.append(told.recv())
            except EOFError:
                row.append("**killed**")
            process.join()
        row.append(reason)
        rows.append(row)
        print(" | ".join(row), flush=True)
    heads = ["Reply", *HEADS, "its sender's fault"]
    lines = [heads, ["---"] * len(heads), *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    told = (
        "# One hostile reply\n\n"
        "Ten honest nodes train a softmax regression on scikit-learn's digits, an eleventh, "
        "which knows the app and the model it was sent, spends its one reply on one of "
        "these. They are fedguard's own: what the wire format and Flower's messages let a "
        "node send, of which no paper has a list. One round, "
        f"Flower {flwr.__version__}, replies taken apart into "
        "objects and put together again as a SuperLink and its ServerApp do "
        "(`python benchmarks/hostile.py docs`). *Same* is to the bit the model of the ten honest "
        "alone; *run ends* loses every round after it; *moved* tells by how much the model is "
        f"another one. Memory is told from {MUCH} MB. On real processes, with TLS and node keys, "
        "`make hostile` finds for each of them that the run goes on, the honest aggregate is the "
        "same to the bit and the fault is its sender's.\n\n"
    )
    (out / "hostile.md").write_text(told + table + "\n", encoding="utf8")


if __name__ == "__main__":
    main()
