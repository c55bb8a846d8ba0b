"""What is known of one client over rounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fedguard.types import Standing

__all__ = ["Reputation"]


class Reputation(NamedTuple):
    """A client's standing and what it rests on; a new key starts on probation.

    `good` and `bad` are forgetful counts of rounds, `evidence` maps a family to what was gathered
    over rounds, 1 being an alarm, and `clean` counts rounds in a row with next to none since the
    standing last changed, in round `since`. While the operator's word counts more, `own` is the
    standing that the evidence gives.
    """

    standing: Standing = Standing.PROBATION
    since: int = 0
    participations: int = 0
    clean: int = 0
    quarantines: int = 0
    good: float = 0.0
    bad: float = 0.0
    evidence: Mapping[str, float] = {}
    own: Standing | None = None

    def to_list(self) -> list[Any]:
        """Its fields as plain data: a thousand of them are packed at once."""
        own = [self.participations, self.clean, self.quarantines, self.good, self.bad]
        under = [self.own.value] if self.own else []
        return [self.standing.value, self.since, *own, dict(self.evidence), *under]

    @classmethod
    def from_list(cls, fields: list[Any]) -> Reputation:
        """What `to_list` gave."""
        return cls(Standing(fields[0]), *fields[1:8], *map(Standing, fields[8:]))

    @property
    def in_doubt(self) -> bool:
        """Whether the defence has to count on it: it is not trusted, or was put away before.

        Whoever was put away and trained honestly until trusted again may have waited for that. So
        it stays in doubt, but for the operator's word.
        """
        trusted = self.standing is Standing.TRUSTED
        return not trusted or (self.quarantines > 0 and self.own is None)

    @property
    def value(self) -> float:
        """The mean of the Beta distribution, in (0, 1); 1/2 for who is not known.

        Source: Jøsang and Ismail, "The Beta Reputation System", 2002, section 2
        """
        return (1.0 + self.good) / (2.0 + self.good + self.bad)
