"""What the operator says of a client, which counts more than any evidence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from fedguard.types import Standing

__all__ = ["Action", "Override"]


class Action(StrEnum):
    """What an operator can do about a client; a note only says something."""

    TRUST = "trust"
    REINSTATE = "reinstate"
    QUARANTINE = "quarantine"
    BAN = "ban"
    NOTE = "note"


STANDINGS = {
    Action.TRUST: Standing.TRUSTED,
    Action.REINSTATE: Standing.PROBATION,
    Action.QUARANTINE: Standing.QUARANTINE,
    Action.BAN: Standing.BANNED,
}


@dataclass(frozen=True, slots=True)
class Override:
    """A client has this standing, whatever the evidence says, until the override ends.

    It ends after round `until_round` or at `until_time` (seconds since 1970), if it has an end.
    `reinstate` acts once: the client starts over on probation, and evidence counts again.
    """

    client: str
    action: Action
    note: str = ""
    author: str = ""
    until_round: int | None = None
    until_time: float | None = None

    @property
    def standing(self) -> Standing:
        return STANDINGS[self.action]

    def begun(self, done: int) -> Override:
        """As it is kept when `done` rounds are: who is reinstated is so in the next round alone."""
        return replace(self, until_round=done + 1) if self.action is Action.REINSTATE else self

    def holds(self, server_round: int, now: float) -> bool:
        """Whether it still counts in a round that starts now."""
        in_rounds = self.until_round is None or server_round <= self.until_round
        return in_rounds and (self.until_time is None or now < self.until_time)
