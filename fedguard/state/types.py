"""What a federation remembers between rounds, and who keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from fedguard.errors import StaleCommit
from fedguard.types import RoundReport

__all__ = ["MemoryStore", "State", "StateStore"]


@dataclass(frozen=True, slots=True)
class State:
    """Rounds committed so far and the defence's own state (None before its first round)."""

    round: int = 0
    defence: tuple[Any, ...] | None = None


class StateStore(Protocol):
    """Atomic memory of one federation."""

    def load(self) -> State:
        """The state after the last committed round."""

    def commit(self, state: State, report: RoundReport, expected_round: int) -> None:
        """Make the round durable, whole or not at all.

        `expected_round` is the number of rounds the caller's `step` started from. Committing the
        same round's same report again does nothing; anything else raises `StaleCommit`.
        """


class MemoryStore:
    """A store that lasts as long as the process: for simulations and tests."""

    def __init__(self) -> None:
        self._state = State()
        self._reports: list[RoundReport] = []

    def load(self) -> State:
        return self._state

    def commit(self, state: State, report: RoundReport, expected_round: int) -> None:
        stored = len(self._reports)
        if stored == expected_round + 1 and self._reports[-1] == report:
            return
        if stored != expected_round or state.round != expected_round + 1:
            raise StaleCommit(expected_round, stored)
        self._reports.append(report)
        self._state = state

    @property
    def reports(self) -> tuple[RoundReport, ...]:
        return tuple(self._reports)
