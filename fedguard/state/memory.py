"""A store that lasts as long as the process: for simulations and tests."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from fedguard.errors import StaleCommit, UnheardOrder
from fedguard.reputation import Action, Override
from fedguard.reputation.overrides import followed
from fedguard.state.types import Heartbeat, RoundRecord, State
from fedguard.types import RoundReport

__all__ = ["MemoryStore"]


class MemoryStore:
    """Keeps state, reports and overrides in this process."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._state, self._clock = State(), clock
        self._reports: list[RoundReport] = []
        self._overrides: dict[str, Override] = {}
        self._links: dict[str, str] = {}
        self._sent: dict[str, tuple[int, int]] = {}
        self._orders = 0

    def load(self) -> State:
        now, following = self._clock(), self._state.round + 1
        held = {name: each for name, each in self._overrides.items() if each.holds(following, now)}
        return replace(self._state, overrides=held, heard=self._orders)

    def commit(
        self,
        state: State,
        report: RoundReport,
        expected_round: int,
        record: RoundRecord = RoundRecord(),  # noqa: B008  (frozen and empty)
    ) -> None:
        stored = len(self._reports)
        if stored == expected_round + 1 and self._reports[-1] == report:
            return
        if stored != expected_round or state.round != expected_round + 1:
            raise StaleCommit(expected_round, stored)
        if state.heard is not None and self._orders > state.heard:
            raise UnheardOrder
        for receipt in record.receipts.values():
            self._sent.setdefault(receipt.sha256, (report.round, receipt.model_version))
        self._reports.append(report)
        self._state = state

    def newest_model(self) -> Mapping[str, NDArray[Any]] | None:
        return None

    @property
    def done(self) -> int:
        return len(self._reports)

    @property
    def advanced(self) -> int:
        return sum(not each.held for each in self._reports)

    @property
    def version(self) -> int:
        return max((each.round for each in self._reports if each.moved), default=0)

    def sent_before(self, digests: Collection[str], version: int) -> Mapping[str, int]:
        found = {each: self._sent[each] for each in digests if each in self._sent}
        return {each: number for each, (number, model) in found.items() if model < version}

    def override(self, override: Override) -> None:
        if override.action is Action.LINK and override.same_as:
            own = self._links | {override.client: override.same_as}
            followed(own)
            self._links = own
        elif override.action.stands:
            self._overrides[override.client] = override.begun(self._state.round)
            self._orders += 1

    def links(self) -> Mapping[str, str]:
        return followed(self._links)

    def measure(self, server_round: int, source: str, values: Mapping[str, float]) -> None:
        """Nobody reads it in this process."""

    def beat(self, heartbeat: Heartbeat) -> None:
        """Nobody watches."""

    def keep_inputs(self, data: Callable[[], bytes]) -> str | None:
        return None

    def keep_model(
        self, arrays: Callable[[], Mapping[str, NDArray[Any]]], provenance: Mapping[str, Any]
    ) -> str | None:
        return None

    @property
    def reports(self) -> tuple[RoundReport, ...]:
        return tuple(self._reports)
