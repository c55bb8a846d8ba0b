"""A federation's run, followed in its store: nothing is told before it is durable."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Row

from fedguard.deploy.processes import Program
from fedguard.deploy.settings import Settings
from fedguard.errors import StoreUnavailable, UnknownName
from fedguard.state.opening import open_to_read
from fedguard.state.queries import events_since, rounds_of
from fedguard.state.sql import SqlStore

__all__ = ["News", "follow", "opened"]

LOOK_EVERY = 0.5


class News(NamedTuple):
    """A round that was committed, or None, and what was told since the news before."""

    round: Row[Any] | None
    events: list[Row[Any]]


def opened(settings: Settings) -> SqlStore | None:
    """The federation's store, to read; None before its first run. Raises `StoreTooOld` and such."""
    try:
        return open_to_read(settings.where, settings.federation, files=settings.own_files)
    except (StoreUnavailable, UnknownName):
        return None


def follow(settings: Settings, run: Program) -> Iterator[News]:
    """What happens in the store until the run's program ends."""
    store = opened(settings)
    done = store.done if store else 0
    place = max((row.id for row in events_since(store)), default=0) if store else 0
    running = True
    while running:
        running = run.running  # looked at before the store, so that its last round is told
        store = store or opened(settings)
        if store:
            new = list(events_since(store, place))
            place = new[-1].id if new else place
            for row in reversed(rounds_of(store, max(store.done - done, 1))):
                if row.number > done:
                    own = [each for each in new if each.round <= row.number]
                    new = [each for each in new if each.round > row.number]
                    yield News(row, own)
                    done = row.number
            if new:
                yield News(None, new)
        if running:
            time.sleep(LOOK_EVERY)
    if store:
        store.close()
