"""Load, step, commit: only then does the caller get what it may publish."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace

from fedguard.allocator import keep_memory
from fedguard.errors import StaleCommit, UnheardOrder
from fedguard.server.policy import Policy
from fedguard.server.replay import can_be_kept, packed_inputs
from fedguard.server.step import step
from fedguard.server.watch import StopWatch
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
    watch: StopWatch | None = None,
) -> tuple[Vector | None, RoundReport]:
    """One round on what the store remembers, durable when this returns.

    `seal(vector, report)` writes the files that the round's record names, the new model among
    them, before the commit that names them. `begun` is how many rounds were committed when clients
    were asked: if it is another number by now, another server runs this federation, and what they
    trained on is no longer the model. Raises `StaleCommit`. A `watch` that runs already goes on.
    An order that the operator gives meanwhile is heard: the round is decided, and sealed, again.
    """
    keep_memory()
    watch = watch or StopWatch()
    before = watch.total
    while True:
        with suppress(UnheardOrder), _uncollected():
            return _committed(store, cohort, policy, seal, begun, watch, before)


@contextmanager
def _uncollected() -> Iterator[None]:
    """No search for garbage in cycles: a round makes thousands of objects, and none goes round."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _committed(
    store: StateStore,
    cohort: Cohort,
    policy: Policy,
    seal: Sealed,
    begun: int | None,
    watch: StopWatch,
    before: float,
) -> tuple[Vector | None, RoundReport]:
    state = store.load()
    if begun is not None and state.round != begun:
        raise StaleCommit(begun, state.round)
    vector, report, after = step(state, cohort, policy, watch.lap)
    packed = packed_inputs(state, cohort, policy)
    inputs = store.keep_inputs(packed) if can_be_kept(cohort) else None
    record = seal(vector, report)
    watch.lap("save")
    seconds, stages = watch.total - before, dict(watch.laps)
    record = replace(record, inputs=inputs, seconds=seconds, stages=stages)
    store.commit(after, report, state.round, record)
    watch.lap("commit")
    return vector, report
