"""A federation's rounds as its settings say."""

from __future__ import annotations

from typing import Any

from flwr.app import ArrayRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result

from fedguard.deploy.settings import Settings
from fedguard.errors import ConfigError
from fedguard.flower.strategy import GuardedStrategy
from fedguard.server import Policy
from fedguard.state.opening import open_store
from fedguard.state.sql import Retention
from fedguard.telemetry import logs, traces

__all__ = ["train"]


def train(
    grid: Grid, settings: Settings, policy: Policy, initial_arrays: ArrayRecord, **options: Any
) -> Result:
    """Run the rounds that are left on the federation's store.

    `options` are those of a Flower strategy's `start`: `train_config`, `evaluate_fn` and the like.
    """
    rounds, keep = settings.rounds, settings.keep
    if settings.log.form != "flower":
        logs.set_up(settings.log.form, settings.federation)
    if settings.log.traces:
        _traced(settings.federation)
    retention = Retention(inputs=keep.inputs, verdicts=keep.verdicts)
    where = (settings.where, settings.federation)
    with open_store(*where, files=settings.own_files, retention=retention) as store:
        strategy = GuardedStrategy(
            policy,
            store=store,
            min_nodes=rounds.min_nodes,
            fraction_train=rounds.fraction_train,
            fraction_evaluate=rounds.fraction_evaluate,
            node_timeout=rounds.node_timeout,
            patience=rounds.patience,
            retries=rounds.retries,
            longest=rounds.longest,
            memory=rounds.memory,
            spool=settings.spool,
        )
        options = {"num_rounds": rounds.count, "timeout": rounds.timeout, **options}
        return strategy.start(grid, initial_arrays, **options)


def _traced(federation: str) -> None:
    try:
        traces.set_up(federation)
    except ImportError as error:
        raise ConfigError(f"log.traces needs fedguard[otel]: {error}") from None
