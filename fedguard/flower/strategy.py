"""GuardedStrategy: Flower's rounds with fedguard's decisions, thin over `fedguard.server`."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import INFO, WARNING
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    Message,
    MessageType,
    MetricRecord,
    RecordDict,
)
from flwr.common.logger import log
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy

from fedguard.errors import CannotAggregate, InvalidParameter
from fedguard.flower.grid import GuardedGrid
from fedguard.flower.intake import Intake
from fedguard.flower.model import Layout, reported_metrics
from fedguard.flower.spool import Spool
from fedguard.server import Policy, commit_round, rehearse
from fedguard.state import MemoryStore, Receipt, RoundRecord, StateStore
from fedguard.types import Cohort, RoundReport, Vector

__all__ = ["GuardedStrategy", "name_of_node"]

MetricRecordContent = dict[str, int | float | list[int] | list[float]]


def name_of_node(node: Any) -> str:
    """A client's lasting name: a digest of its public key, or its node id if it has none."""
    if node.public_key:
        return hashlib.sha256(node.public_key).hexdigest()[:16]
    return str(node.node_id)


def _ignore(_: RoundReport) -> None:
    """Nobody listens."""


def _provenance(report: RoundReport, receipts: Mapping[str, Receipt]) -> dict[str, Any]:
    """What a model's manifest says of where it comes from."""
    return {
        "round": report.round,
        "defence": report.defence,
        "norm": report.norm,
        "contributors": {each.client: each.weight for each in report.verdicts if each.admitted},
        "updates": {client: receipt.sha256 for client, receipt in sorted(receipts.items())},
    }


class GuardedStrategy(Strategy):
    """A Flower strategy that aggregates by `policy` and trusts nothing a client sends.

    It waits for `min_nodes` before a round samples (for `node_timeout` seconds at most), asks
    `fraction_train` of the nodes, at least `min_nodes`, and moves the model by the aggregate of
    the deltas admitted. Every client counts once, whatever number of examples it claims. A round
    that cannot be aggregated is held: the model stays, the report tells why. `on_round` hears of
    a round after `store` has committed it. Clients reply with an ArrayRecord of their parameters.
    `root(arrays, round)` trains the model on clean data of the server's own and returns it; only
    rules and scorers that say so need it (FLTrust, behaviour).

    Replies are taken as they come and let go; the updates of a round that would need more than
    `memory` bytes lie on disk, in `spool` or where temporary files do. Once the policy's quorum has
    replied, the others have `patience` seconds more, or until Flower's timeout if it is None.
    An update longer than `longest` (Euclidean norm), of another round, or sent before on an older
    model is a fault.

    Source: the message API of flwr.serverapp.strategy
    """

    def __init__(
        self,
        policy: Policy,
        *,
        min_nodes: int = 2,
        fraction_train: float = 1.0,
        fraction_evaluate: float = 0.0,
        node_timeout: float = 600.0,
        store: StateStore | None = None,
        name_of: Callable[[Any], str] = name_of_node,
        on_round: Callable[[RoundReport], None] = _ignore,
        root: Callable[[ArrayRecord, int], ArrayRecord] | None = None,
        seed: int = 0,
        patience: float | None = None,
        longest: float | None = None,
        memory: int = 4 << 30,
        spool: Path | None = None,
        arrays_key: str = "arrays",
        config_key: str = "config",
    ) -> None:
        for name, value in (("train", fraction_train), ("evaluate", fraction_evaluate)):
            if not 0 <= value <= 1:
                raise InvalidParameter(f"fraction_{name} must lie in [0, 1], got {value}")
        self.policy = policy
        self.store = MemoryStore() if store is None else store
        self._min_nodes, self._node_timeout = min_nodes, node_timeout
        self._fractions = {"train": fraction_train, "evaluate": fraction_evaluate}
        self._name_of, self._on_round, self._seed = name_of, on_round, seed
        self._arrays_key, self._config_key = arrays_key, config_key
        self._root = root
        self._patience, self._longest = patience, longest
        self._memory, self._spool = memory, spool
        self._asked: dict[int, str] = {}
        self._model = ArrayRecord()
        self._done = 0

    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """Run the rounds: Flower's own loop over a `GuardedGrid`. Arguments as in Flower.

        A store that holds models goes on where it stopped: from its newest model, with the rounds
        that are left of `num_rounds`, numbered as if nothing had happened. Round 0 of the results
        is then the last of those done before.
        """
        Layout.of(initial_arrays)  # refused before anyone trains on it
        self._rehearse()
        arrays, self._done = self._resumed(initial_arrays)
        left = max(num_rounds - self._done, 0)
        if self._done:
            log(INFO, "%s rounds are done, %s of %s are left", self._done, left, num_rounds)
        guarded = GuardedGrid(grid, arrays, self.policy.quorum, self._patience)
        evaluate = None if evaluate_fn is None else self._numbered(evaluate_fn)
        result = super().start(
            guarded, arrays, left, timeout, train_config, evaluate_config, evaluate
        )
        if self._done and not len(result.arrays):
            result.arrays = arrays
        return result

    def _resumed(self, initial: ArrayRecord) -> tuple[ArrayRecord, int]:
        """What to begin with, and how many rounds were done before."""
        kept = self.store.newest_model()
        if kept is None:
            return initial, 0
        arrays = ArrayRecord({name: Array(values) for name, values in kept.items()})
        if not Layout.of(arrays).fits(Layout.of(initial)):
            log(WARNING, "the store's model is another one: the rounds begin with the app's")
            return initial, self.store.done
        return arrays, self.store.done

    def _numbered(
        self, evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None]
    ) -> Callable[[int, ArrayRecord], MetricRecord | None]:
        def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
            return evaluate_fn(self._done + server_round, arrays)

        return evaluate

    def summary(self) -> None:
        log(INFO, "\t├──> Defence: %s", self.policy.defence.name)
        log(INFO, "\t└──> Scores: %s", ", ".join(each.name for each in self.policy.scorers))

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        server_round += self._done
        self._model = arrays
        nodes = self._wait_for_nodes(grid)
        self._asked = self._sample(nodes, "train", server_round)
        return self._messages(self._asked, arrays, config, server_round, MessageType.TRAIN)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Admit, aggregate, commit, tell; (None, metrics) holds the model where it is."""
        server_round += self._done
        layout = Layout.of(self._model)
        size = layout.d * layout.dtype.itemsize
        with Spool(len(self._asked), size, self._memory, self._spool) as spool:
            return self._round(server_round, layout, replies, spool)

    def _round(
        self, server_round: int, layout: Layout, replies: Iterable[Message], spool: Spool
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        base = layout.flat(self._model)
        intake = Intake(
            layout,
            base,
            self._asked,
            server_round,
            self.store,
            spool,
            self._longest,
            self._arrays_key,
        )
        updates, faults, receipts = intake.taken(replies)
        vectors = {"model": base}
        if self._root:
            vectors["root"] = layout.flat(self._root(self._model, server_round)) - base
        cohort = Cohort.of(updates, faults, vectors)
        moved: list[ArrayRecord] = []

        def seal(vector: Vector | None, report: RoundReport) -> RoundRecord:
            if vector is None:
                return RoundRecord(receipts=receipts)
            moved.append(layout.moved(self._model, vector))
            name = self.store.keep_model(
                lambda: {name: array.numpy() for name, array in moved[0].items()},
                _provenance(report, receipts),
            )
            return RoundRecord(receipts=receipts, model=name)

        _, report = commit_round(self.store, cohort, self.policy, seal)
        arrays = moved[0] if moved else None
        self._tell(report)
        metrics: MetricRecordContent = {
            "admitted": len(report.admitted),
            "refused": len(report.refused),
            "suspected": len(report.suspects),
            "held": int(report.held is not None),
        }
        return arrays, MetricRecord(metrics)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        if not self._fractions["evaluate"]:
            return []
        server_round += self._done
        asked = self._sample(list(grid.get_nodes()), "evaluate", server_round)
        return self._messages(asked, arrays, config, server_round, MessageType.EVALUATE)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """The median over clients of each number that most of them report; no weights."""
        answers = [reported_metrics(reply.content) for reply in replies if reply.has_content()]
        told: MetricRecordContent = {}
        for key in sorted(set().union(*answers)) if answers else ():
            values = [answer[key] for answer in answers if key in answer]
            if 2 * len(values) > len(answers) and key != "num-examples":
                told[key] = sorted(values)[(len(values) - 1) // 2]  # the lower of the middle two
        return MetricRecord(told) if told else None

    def _wait_for_nodes(self, grid: Grid) -> list[Any]:
        deadline = time.monotonic() + self._node_timeout
        while len(nodes := list(grid.get_nodes())) < self._min_nodes:
            if time.monotonic() > deadline:
                log(WARNING, "%s nodes after waiting, %s wanted", len(nodes), self._min_nodes)
                break
            time.sleep(0.1)
        return nodes

    def _sample(self, nodes: Sequence[Any], purpose: str, server_round: int) -> dict[int, str]:
        """Who takes part: node id to client name, drawn by name so that ids do not matter.

        Of two nodes of one name the lower id takes part: a client counts once.
        """
        by_name: dict[str, int] = {}
        for node in sorted(nodes, key=lambda node: node.node_id):
            by_name.setdefault(self._name_of(node), node.node_id)
        names = sorted(by_name.items())
        share = int(self._fractions[purpose] * len(names))
        count = min(max(share, self._min_nodes), len(names)) if share < len(names) else len(names)
        rng = np.random.default_rng([self._seed, server_round, purpose == "train"])
        chosen = sorted(rng.choice(len(names), count, replace=False)) if names else []
        return {names[i][1]: names[i][0] for i in chosen}

    def _messages(
        self,
        asked: Iterable[int],
        arrays: ArrayRecord,
        config: ConfigRecord,
        server_round: int,
        kind: str,
    ) -> list[Message]:
        config["server-round"] = server_round
        record = RecordDict({self._arrays_key: arrays, self._config_key: config})
        return [Message(record, node_id, kind) for node_id in asked]

    def _rehearse(self) -> None:
        """Raise what no round could do; what only a small round cannot is told."""
        vectors = ("model", "root") if self._root else ("model",)
        for few, told in ((self._min_nodes, "of"), (self._min_nodes - 1, "with one refused of")):
            try:
                rehearse(self.policy.defence, few, vectors, self.policy.scorers)
            except CannotAggregate as error:
                log(WARNING, "a round %s %s updates will be held: %s", told, self._min_nodes, error)
                break

    def _tell(self, report: RoundReport) -> None:
        for change in report.changes:
            if change.before is not change.after:
                log(
                    INFO,
                    "%s: %s, was %s (%s)",
                    change.client,
                    change.after,
                    change.before,
                    change.why,
                )
        for verdict in report.refused:
            if verdict.standing.counts:  # of the others it was told when they were put away
                log(WARNING, "refused %s: %s (%s)", verdict.client, verdict.reason, verdict.detail)
        if report.held:
            log(WARNING, "round %s is held: %s", report.round, report.held)
        self._on_round(report)
