"""The server's pulse: what it is at, told to the store every few seconds while a run goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from logging import WARNING

import psutil
from flwr.app import Message
from flwr.common.logger import log

from fedguard.errors import RunHeld
from fedguard.flower.spool import Spool
from fedguard.state import Heartbeat, StateStore

__all__ = ["Pulse"]

EVERY = 5.0
"""Seconds between beats."""


class Pulse:
    """Beats from a thread of its own, so that a server that waits for its clients is seen to live.

    A beat that the store does not take is left out: the next one says more.
    """

    def __init__(self, store: StateStore, every: float = EVERY) -> None:
        self._store, self._every = store, every
        self._now = Heartbeat(0, "starting")
        self._spool: Spool | None = None
        self._over = threading.Event()

    def at(self, phase: str, server_round: int, asked: int = 0, spool: Spool | None = None) -> None:
        """What the server does from here on."""
        self._spool = spool
        self._now = Heartbeat(server_round, phase, asked, commit=self._now.commit)

    def committed(self, seconds: float) -> None:
        """How long the last commit took."""
        self._now = replace(self._now, commit=seconds)

    def counted(self, replies: Iterable[Message]) -> Iterator[Message]:
        """The replies, as they come."""
        for reply in replies:
            self._now = replace(self._now, replied=self._now.replied + 1)
            yield reply
            del reply  # the next one needs the room

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Beat until this is left, and once more: whether the run has ended or failed.

        One that gave up because rounds were held has ended as it should.
        """
        thread = threading.Thread(target=self._beat_on, name="fedguard-pulse", daemon=True)
        self._over.clear()
        thread.start()
        phase = "ended"
        try:
            yield
        except RunHeld:
            raise
        except BaseException:  # stopped from outside, too
            phase = "failed"
            raise
        finally:
            self._over.set()
            thread.join(self._every)
            self.at(phase, self._now.round)
            self._beat()

    def _beat_on(self) -> None:
        while not self._over.is_set():
            self._beat()
            self._over.wait(self._every)

    def _beat(self) -> None:
        spool = self._spool
        now = replace(
            self._now,
            memory=psutil.Process().memory_info().rss,
            spooled=spool.bytes if spool else 0,
        )
        try:
            self._store.beat(now)
        except Exception as error:  # a pulse must not end a run
            log(WARNING, "no heartbeat: %s", error)
