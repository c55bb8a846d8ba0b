"""Load, step, commit: only then does the caller get what it may publish."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from fedguard.errors import StaleCommit
from fedguard.server.policy import Policy
from fedguard.server.replay import packed_inputs
from fedguard.server.step import step
from fedguard.state import RoundRecord, StateStore
from fedguard.types import Cohort, RoundReport, Vector

__all__ = ["commit_round"]

Sealed = Callable[[Vector | None, RoundReport], RoundRecord]


def _nothing_more(vector: Vector | None, report: RoundReport) -> RoundRecord:
    return RoundRecord()


def commit_round(
    store: StateStore,
    cohort: Cohort,
    policy: Policy,
    seal: Sealed = _nothing_more,
    begun: int | None = None,
) -> tuple[Vector | None, RoundReport]:
    """One round on what the store remembers, durable when this returns.

    `seal(vector, report)` writes the files that the round's record names, the new model among
    them, before the commit that names them. `begun` is how many rounds were committed when clients
    were asked: if it is another number by now, another server runs this federation, and what they
    trained on is no longer the model. Raises `StaleCommit`.
    """
    watch = StopWatch()
    state = store.load()
    if begun is not None and state.round != begun:
        raise StaleCommit(begun, state.round)
    vector, report, after = step(state, cohort, policy, watch.lap)
    inputs = store.keep_inputs(packed_inputs(state, cohort, policy))
    record = seal(vector, report)
    watch.lap("save")
    stages = {**record.stages, **watch.laps}
    record = replace(record, inputs=inputs, seconds=watch.total, stages=stages)
    store.commit(after, report, state.round, record)
    return vector, report


class StopWatch:
    """Seconds since it was made, and of each part that was told to be over."""

    def __init__(self) -> None:
        self._began = self._last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, part: str) -> None:
        """What took the time since the last call."""
        now = time.perf_counter()
        self.laps[part] = now - self._last
        self._last = now

    @property
    def total(self) -> float:
        return time.perf_counter() - self._began
