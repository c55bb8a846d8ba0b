"""Ways to run the same scenario through the same strategy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from flwr.app import ArrayRecord, MetricRecord

from fedguard.flower import GuardedStrategy
from fedguard_simulations.federation import Federation
from fedguard_simulations.runs import Run

__all__ = ["Job", "Runner", "runner_of"]


class Job(NamedTuple):
    """One run to do: `strategy_of(name_of)` makes the strategy once nodes can be named."""

    federation: Federation
    run: Run
    strategy_of: Callable[[Callable[[Any], str]], GuardedStrategy]
    evaluate: Callable[[int, ArrayRecord], MetricRecord]


class Runner(Protocol):
    """Train as the job says and return the final global model."""

    def __call__(self, job: Job) -> ArrayRecord: ...


def runner_of(name: str) -> Runner:
    """The runner of this name. Raises `UnknownName`."""
    from fedguard.errors import UnknownName
    from fedguard_simulations.runners.flower import run_on_flower
    from fedguard_simulations.runners.vectorised import run_vectorised

    known: dict[str, Runner] = {"flower": run_on_flower, "vectorised": run_vectorised}
    if name not in known:
        raise UnknownName("runner", name, known)
    return known[name]
