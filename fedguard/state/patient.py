"""A store that waits for its database to come back, so that its restart costs nobody a round."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from numpy.typing import NDArray

from fedguard.errors import StoreUnavailable
from fedguard.reputation import Override
from fedguard.state.types import Heartbeat, RoundRecord, State, StateStore
from fedguard.types import RoundReport

__all__ = ["PatientStore"]

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


class PatientStore:
    """Another store, every call of which is made again while it raises `StoreUnavailable`.

    After `patience` seconds the error is the caller's. Each call of a `StateStore` may be repeated
    without harm: a commit that went through before its answer was lost is found to be there.
    """

    def __init__(
        self, store: StateStore, patience: float, tell: Callable[[StoreUnavailable], None]
    ) -> None:
        self._store, self._patience, self._tell = store, patience, tell

    def load(self) -> State:
        return self._made(self._store.load)

    def commit(
        self,
        state: State,
        report: RoundReport,
        expected_round: int,
        record: RoundRecord = RoundRecord(),  # noqa: B008  (frozen and empty)
    ) -> None:
        self._made(lambda: self._store.commit(state, report, expected_round, record))

    def newest_model(self) -> Mapping[str, NDArray[Any]] | None:
        return self._made(self._store.newest_model)

    @property
    def done(self) -> int:
        return self._made(lambda: self._store.done)

    @property
    def advanced(self) -> int:
        return self._made(lambda: self._store.advanced)

    @property
    def version(self) -> int:
        return self._made(lambda: self._store.version)

    def sent_before(self, digests: Collection[str], version: int) -> Mapping[str, int]:
        return self._made(lambda: self._store.sent_before(digests, version))

    def override(self, override: Override) -> None:
        self._made(lambda: self._store.override(override))

    def links(self) -> Mapping[str, str]:
        return self._made(self._store.links)

    def measure(self, server_round: int, source: str, values: Mapping[str, float]) -> None:
        self._made(lambda: self._store.measure(server_round, source, values))

    def beat(self, heartbeat: Heartbeat) -> None:
        """Told once: a later one says more."""
        with suppress(StoreUnavailable):
            self._store.beat(heartbeat)

    def keep_inputs(self, data: Callable[[], bytes]) -> str | None:
        return self._made(lambda: self._store.keep_inputs(data))

    def keep_model(
        self, arrays: Callable[[], Mapping[str, NDArray[Any]]], provenance: Mapping[str, Any]
    ) -> str | None:
        return self._made(lambda: self._store.keep_model(arrays, provenance))

    def _made(self, call: Callable[[], T]) -> T:
        deadline, pause = time.monotonic() + self._patience, FIRST_PAUSE
        while True:
            try:
                return call()
            except StoreUnavailable as error:
                if time.monotonic() + pause > deadline:
                    raise
                self._tell(error)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
