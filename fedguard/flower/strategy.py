"""GuardedStrategy: Flower's rounds with fedguard's decisions, thin over `fedguard.server`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping
from logging import INFO, WARNING
from pathlib import Path
from typing import Any

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

from fedguard.errors import (
    CannotAggregate,
    ConfigError,
    InvalidParameter,
    RunHeld,
)
from fedguard.flower.grid import GuardedGrid
from fedguard.flower.intake import Intake
from fedguard.flower.metrics import pooled
from fedguard.flower.model import Layout, numbers_of, reported_metrics
from fedguard.flower.participants import Participants, name_of_node
from fedguard.flower.pulse import Pulse
from fedguard.flower.removal import Removal
from fedguard.flower.spool import Spool
from fedguard.flower.succession import Succession
from fedguard.flower.telling import tell, tell_of_store
from fedguard.sampling import f_of_sample
from fedguard.server import Policy, commit_round, overruled, rehearse
from fedguard.server.watch import StopWatch
from fedguard.state import MemoryStore, PatientStore, StateStore
from fedguard.telemetry.logs import in_round
from fedguard.telemetry.traces import trace_round
from fedguard.types import Cohort, RoundReport, Standing, Vector

__all__ = ["GuardedStrategy"]

LARGEST_STATE = 1_000_000_000
"""Bytes that a database holds in one value."""
MetricRecordContent = dict[str, int | float | list[int] | list[float]]


def _ignore(_: RoundReport) -> None:
    """Nobody listens."""


Hook = Callable[[ArrayRecord, int], ArrayRecord]
"""What the server does to a model on data of its own, in a round."""


def _named(root: Hook | None, vectors: Mapping[str, Hook] | None) -> dict[str, Hook]:
    """The server's own vectors by name. Raises `InvalidParameter` for a name that is taken."""
    hooks = dict(vectors or {})
    taken = {"model"} | ({"root"} if root else set())
    if taken & set(hooks):
        raise InvalidParameter(f"vectors: {sorted(taken & set(hooks))} are given already")
    return hooks | ({"root": root} if root else {})


class GuardedStrategy(Strategy):
    """A Flower strategy that aggregates by `policy` and trusts nothing a client sends.

    Who is asked: it waits for `min_nodes` before a round samples (for `node_timeout` seconds at
    most), asks `fraction_train` of the nodes, at least `min_train_nodes` (`min_nodes` if None), and
    moves the model by the aggregate of the deltas admitted. Every client counts once, whatever
    number of examples it claims. With `malicious`, how many of the federation's clients may be
    hostile, `policy` is a function of f, and f follows from the sample of each round.

    What comes: clients reply with an ArrayRecord of their parameters. Replies are taken as they
    come and let go; the updates of a round that would need more than `memory` bytes lie on disk, in
    `spool` or where temporary files do. Once the policy's quorum has replied, the others have
    `patience` seconds more, or until Flower's timeout if it is None. An update longer than
    `longest` (Euclidean norm), of another round, or sent before on an older model is a fault.
    Numbers that clients report are pooled as median, lowest and highest of those in good standing.

    When a round cannot be aggregated it is held: the model stays, the report tells why, and the
    next round tries again. When `retries` tries were held, too, the run ends with `RunHeld`; None
    tries for good. While the store cannot be used the round waits, `store_patience` seconds.

    `on_round` hears of a round after `store` has committed it. `root(arrays, round)` trains the
    model on clean data of the server's own and returns it; only rules and scorers that say so need
    it (FLTrust, behaviour). `vectors` are more such functions, by the name that a rule or scorer
    asks for: what each does to the model is that vector. After the aggregate has moved the model
    `removal` may cleanse it. `proximal_mu` goes to clients as Flower's FedProx sends it.

    Who is asked nobody can tell beforehand; with a `seed`, which must then be a secret, it is drawn
    again in the same way.

    Source: the message API of flwr.serverapp.strategy
    """

    def __init__(
        self,
        policy: Policy | Callable[[int], Policy],
        *,
        malicious: int | None = None,
        min_nodes: int = 2,
        min_train_nodes: int | None = None,
        min_evaluate_nodes: int | None = None,
        fraction_train: float = 1.0,
        fraction_evaluate: float = 0.0,
        node_timeout: float = 600.0,
        store: StateStore | None = None,
        store_patience: float = 300.0,
        retries: int | None = 2,
        name_of: Callable[[Any], str] = name_of_node,
        on_round: Callable[[RoundReport], None] = _ignore,
        root: Hook | None = None,
        vectors: Mapping[str, Hook] | None = None,
        removal: Removal | None = None,
        proximal_mu: float | None = None,
        seed: int | None = None,
        patience: float | None = None,
        longest: float | None = None,
        memory: int = 4 << 30,
        spool: Path | None = None,
        arrays_key: str = "arrays",
        config_key: str = "config",
    ) -> None:
        if callable(policy) != (malicious is not None):
            raise InvalidParameter("with `malicious`, and only then, the policy is a function of f")
        if removal and removal.every < 1:
            raise InvalidParameter(f"removal: every must be 1 or more, got {removal.every}")
        self._policy, self._malicious = policy, malicious
        self.store = MemoryStore() if store is None else store
        self._rounds = PatientStore(self.store, store_patience, tell_of_store)
        self._pulse = Pulse(self.store)
        fractions = {"train": fraction_train, "evaluate": fraction_evaluate}
        asked = min_nodes if min_train_nodes is None else min_train_nodes
        measuring = asked if min_evaluate_nodes is None else min_evaluate_nodes
        least = {"train": asked, "evaluate": measuring}
        self._who = Participants(min_nodes, least, node_timeout, fractions, name_of, seed)
        self._retries, self._held = retries, 0
        self._on_round, self._removal, self._mu = on_round, removal, proximal_mu
        self._hooks = _named(root, vectors)
        self._arrays_key, self._config_key = arrays_key, config_key
        self._patience, self._longest = patience, longest
        self._memory, self._spool = memory, spool
        self._asked: dict[int, str] = {}
        self._evaluating: dict[int, str] = {}
        self._model = ArrayRecord()
        self._own: tuple[int, dict[str, Vector]] = 0, {}
        self._done = 0
        self.policy = self._policy_of(min_nodes, asked)

    def _policy_of(self, clients: int, asked: int) -> Policy:
        """The policy of a round that asks some of the clients there are."""
        if isinstance(self._policy, Policy):
            return self._policy
        if not asked:
            return self._policy(0)
        malicious = min(self._malicious or 0, clients)
        return self._policy(f_of_sample(clients, malicious, asked))

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
        that are left of `num_rounds`, numbered as if nothing had happened. Rounds that were held
        are not counted: the next run makes up for them. Round 0 of the results is then the last of
        those done before.
        """
        layout = Layout.of(initial_arrays)  # refused before anyone trains on it
        if self.policy.optimiser and 2 * layout.d * layout.dtype.itemsize > LARGEST_STATE:
            raise ConfigError(
                f"{self.policy.optimiser.name} may remember two values for each of {layout.d:,} "
                "parameters, more than a store can hold in one place: leave the optimiser out"
            )
        self._rehearse()
        arrays, self._done = self._resumed(initial_arrays)
        left = max(num_rounds - self._rounds.advanced, 0)
        if self._done:
            log(INFO, "%s rounds are done, %s of %s are left", self._done, left, num_rounds)
        guarded = GuardedGrid(grid, arrays, self.policy.quorum, self._patience)
        evaluate = None if evaluate_fn is None else self._numbered(evaluate_fn)
        with self._pulse.beating():
            result = super().start(
                guarded, arrays, left, timeout, train_config, evaluate_config, evaluate
            )
        if self._done and not len(result.arrays):
            result.arrays = arrays
        return result

    def _resumed(self, initial: ArrayRecord) -> tuple[ArrayRecord, int]:
        """What to begin with, and how many rounds were done before."""
        kept = self._rounds.newest_model()
        if kept is None:
            return initial, self._rounds.done
        arrays = ArrayRecord({name: Array(values) for name, values in kept.items()})
        if not Layout.of(arrays).fits(Layout.of(initial)):
            log(WARNING, "the store's model is another one: the rounds begin with the app's")
            return initial, self._rounds.done
        return arrays, self._rounds.done

    def _numbered(
        self, evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None]
    ) -> Callable[[int, ArrayRecord], MetricRecord | None]:
        def evaluate(server_round: int, arrays: ArrayRecord) -> MetricRecord | None:
            number = self._done + server_round
            self._pulse.at("evaluating", number)
            told = evaluate_fn(number, arrays)
            if told:
                self._rounds.measure(number, "server", numbers_of(told))
            return told

        return evaluate

    def summary(self) -> None:
        log(INFO, "\t├──> Defence: %s", self.policy.defence.name)
        if self.policy.reason:
            log(INFO, "\t├──> Because %s", self.policy.reason)
        log(INFO, "\t└──> Scores: %s", ", ".join(each.family for each in self.policy.scorers))

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        server_round += self._done
        self._model = arrays
        in_round(server_round)
        self._pulse.at("waiting", server_round)
        named = self._named(self._who.waited_for(grid))
        self._asked = self._who.sample(named, "train", server_round)
        self.policy = self._policy_of(len(named), len(self._asked))
        if self._mu is not None:
            config["proximal-mu"] = self._mu
        return self._messages(self._asked, arrays, config, server_round, MessageType.TRAIN)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Admit, aggregate, commit, tell; (None, metrics) holds the model where it is."""
        server_round += self._done
        layout = Layout.of(self._model)
        size = layout.d * layout.dtype.itemsize
        with Spool(len(self._asked), size, self._memory, self._spool) as spool:
            self._pulse.at("training", server_round, len(self._asked), spool)
            return self._round(server_round, layout, replies, spool)

    def own_vectors(self, layout: Layout, base: Vector, server_round: int) -> dict[str, Vector]:
        """The server's own by name, shape (d,): the model, `base`, and what its hooks train.

        A round has them once, whoever asks: a hook may go on from where it was.
        """
        if self._own[0] != server_round:
            trained = {
                name: layout.flat(hook(self._model, server_round)) - base
                for name, hook in self._hooks.items()
            }
            self._own = server_round, {"model": base} | trained
        return self._own[1]

    def _round(
        self, server_round: int, layout: Layout, replies: Iterable[Message], spool: Spool
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        base = layout.flat(self._model)
        intake = Intake(
            layout,
            base,
            self._asked,
            server_round,
            self._rounds,
            spool,
            self._longest,
            self._arrays_key,
        )
        watch = StopWatch()
        updates, faults, receipts, told = intake.taken(self._pulse.counted(replies))
        watch.lap("collect")
        self._pulse.at("deciding", server_round, len(self._asked), spool)
        cohort = Cohort.of(updates, faults, self.own_vectors(layout, base, server_round))
        self._own = 0, {}
        after = Succession(self._model, layout, self._rounds, receipts, self._removal, watch)
        _, report = commit_round(
            self._rounds, cohort, self.policy, after.seal, begun=server_round - 1, watch=watch
        )
        self._pulse.committed(watch.laps["commit"])
        trace_round(report, watch)
        tell(report)
        self._on_round(report)
        self._end_if_held(report)
        metrics: MetricRecordContent = {
            **pooled([told[client] for client in report.admitted], len(report.admitted)),
            "admitted": len(report.admitted),
            "refused": len(report.refused),
            "suspected": len(report.suspects),
            "held": int(report.held is not None),
        }
        return after.model, MetricRecord(metrics)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        if not self._who.fractions["evaluate"]:
            return []
        server_round += self._done
        named = self._named(grid.get_nodes())
        self._pulse.at("evaluating", server_round, len(named))
        self._evaluating = self._who.sample(named, "evaluate", server_round)
        kind = MessageType.EVALUATE
        return self._messages(self._evaluating, arrays, config, server_round, kind)

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """What those in good standing report, pooled; no weights."""
        known = overruled(self._rounds.load())
        out = {client for client, each in known.items() if not each.standing.counts}
        asked = {node for node, client in self._evaluating.items() if client not in out}
        answers = [
            reported_metrics(reply.content)
            for reply in replies
            if reply.has_content() and reply.metadata.src_node_id in asked
        ]
        told: MetricRecordContent = {**pooled(answers, len(asked))}
        self._rounds.measure(server_round + self._done, "clients", pooled(answers, len(asked)))
        return MetricRecord(told) if told else None

    def _named(self, nodes: Iterable[Any]) -> dict[str, int]:
        """The clients that may be asked, and their nodes: who is banned gets no model any more."""
        known = overruled(self._rounds.load())
        named = self._who.named(nodes, self._rounds.links())
        banned = {name for name, each in known.items() if each.standing is Standing.BANNED}
        return {name: node for name, node in named.items() if name not in banned}

    def _messages(
        self,
        asked: Iterable[int],
        arrays: ArrayRecord,
        config: ConfigRecord,
        server_round: int,
        kind: str,
    ) -> list[Message]:
        config["server-round"] = server_round
        config["nonce"] = secrets.token_hex(16)  # else a node could upload it first, falsified
        record = RecordDict({self._arrays_key: arrays, self._config_key: config})
        return [Message(record, node_id, kind) for node_id in asked]

    def _rehearse(self) -> None:
        """Raise what no round could do; what only a small round cannot is told."""
        vectors = ("model", *self._hooks)
        least = self._who.least["train"]
        for few, told in ((least, "of"), (least - 1, "with one refused of")):
            try:
                rehearse(self.policy.defence, few, vectors, self.policy.scorers)
            except CannotAggregate as error:
                log(WARNING, "a round %s %s updates will be held: %s", told, least, error)
                break

    def _end_if_held(self, report: RoundReport) -> None:
        """Raise `RunHeld` when trying again has not helped."""
        self._held = self._held + 1 if report.held else 0
        if report.held and self._retries is not None and self._held > self._retries:
            raise RunHeld(report.round, self._held, report.held)
