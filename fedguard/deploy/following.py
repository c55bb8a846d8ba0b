"""A federation's run, followed in its store: nothing is told before it is durable."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from fedguard.deploy.processes import Program
from fedguard.deploy.settings import Settings
from fedguard.errors import NoStore, StoreUnavailable, UnknownName
from fedguard.state.opening import open_to_read
from fedguard.state.queries import events_since, heartbeat_of, rounds_of
from fedguard.state.sql import SqlStore

__all__ = ["News", "done_in", "follow", "opened"]

LOOK_EVERY = 0.5
TELL_EVERY = 15.0
"""Seconds after which it is told what the server waits for."""


class News(NamedTuple):
    """A row of `rounds` that is new, or None, and those of `events` since the news before.

    `beat` is the server's heartbeat, when there was nothing else for a while.
    """

    round: Any
    events: list[Any]
    beat: Any = None


def opened(settings: Settings) -> SqlStore | None:
    """The federation's store, to read; None before its first run.

    Raises `StoreUnavailable` when its database is away, `StoreTooOld`, `StoreTooNew`.
    """
    try:
        return open_to_read(settings.where, settings.federation, files=settings.own_files)
    except (NoStore, UnknownName):
        return None


def done_in(settings: Settings) -> tuple[int, int]:
    """How many rounds are committed, and how many of them were not held."""
    store = opened(settings)
    if store is None:
        return 0, 0
    with store:
        return store.done, store.advanced


def follow(settings: Settings, run: Program) -> Iterator[News]:
    """What happens in the store until the run's program ends; while it is away, nothing does."""
    store: SqlStore | None = None
    (done, _), place = done_in(settings), _last_event(settings)
    running, told = True, time.monotonic()
    while running:
        running = run.running  # looked at before the store, so that its last round is told
        with suppress(StoreUnavailable):
            store = store or opened(settings)
            if store:
                for news in _since(store, done, place):
                    done = news.round.number if news.round else done
                    place = news.events[-1].id if news.events else place
                    told = time.monotonic()
                    yield news
                if time.monotonic() - told >= TELL_EVERY and (beat := heartbeat_of(store)):
                    told = time.monotonic()
                    yield News(None, [], beat)
        if running:
            time.sleep(LOOK_EVERY)
    if store:
        store.close()


def _last_event(settings: Settings) -> int:
    store = opened(settings)
    if store is None:
        return 0
    with store:
        return max((row.id for row in events_since(store)), default=0)


def _since(store: SqlStore, done: int, place: int) -> list[News]:
    """The rounds after `done`, each with its events, and events of no new round."""
    events = list(events_since(store, place))
    found = []
    for row in reversed(rounds_of(store, max(store.done - done, 1))):
        if row.number > done:
            own = [each for each in events if each.round <= row.number]
            events = events[len(own) :]
            found.append(News(row, own))
    return [*found, *([News(None, events)] if events else [])]
