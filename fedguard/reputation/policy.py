"""What the operator sets, and how a client's standing follows from the evidence."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fedguard.errors import InvalidParameter
from fedguard.probes import Float64
from fedguard.reputation.evidence import MOST_EVIDENCE, gathered
from fedguard.reputation.reputation import Reputation
from fedguard.scoring import MOST_SURPRISE, Rows
from fedguard.types import Standing

__all__ = ["PROTOCOL", "Evidence", "ReputationPolicy"]

PROTOCOL = "protocol"
"""The one family that proves by itself: faults."""
POSITION = frozenset({"magnitude", "direction", "neighbourhood"})
"""Families that go together: an honest client that alone holds a class sends long updates, far
from the others, another way. Of a verdict they are one."""
APART = frozenset({"direction", "neighbourhood", "extent"})
"""Families that say how far a client is from the others."""
CANARIES = frozenset({"behaviour", "trigger"})
"""Families that the same clean examples tell: who has one class in plenty may show in both."""
TOGETHER = (POSITION, CANARIES)
LAWS = frozenset({"response"})
"""Families that hold a client against what training can do, whatever its data are and whatever
the others send: honest clients are strange in all others, by being few. Most evidence is proof."""
LOUD_ROUNDS = 2.5
"""An alarm is this many rounds of the most surprise there is: three rounds at the least."""
AT_ONE, PER_TENFOLD = 0.75, 0.8
"""The allowance at which one false quarantine comes of 1,000 client-rounds, and how much more it
takes for ten times fewer; docs/detection.md shows what each rate then gives."""
ENOUGH, LITTLE = 0.5, 0.1
"""Shares of an alarm from which a client is watched, and below which it is clean."""
ODD = 1.0
"""Surprise of a law, one honest round in ten, with which no round is clean: evidence comes later,
and who was trusted meanwhile would no longer be defended against."""


class Evidence(NamedTuple):
    """What one round says of one client: surprise by family, and whether it was suspected."""

    surprises: Mapping[str, float]
    suspected: bool = False


@dataclass(frozen=True, slots=True)
class ReputationPolicy:
    """How evidence acts.

    `f` clients at most may be quarantined in one round, or the round is held. Of 1,000 rounds of
    honest clients, `false_quarantines` may end in quarantine: fewer make it slower to act. A new
    key is on probation for `probation` clean rounds, with up to `probation_weight` of a trusted
    client's; after a quarantine come `quarantine` clean rounds in shadow, twice as many each time,
    and the one after `ban_after` quarantines is a ban. Bad rounds are forgotten at `forget_bad` a
    round, good ones faster.
    """

    f: int
    false_quarantines: float = 0.1
    participations: int = 3
    probation: int = 12
    probation_weight: float = 0.5
    quarantine: int = 20
    ban_after: int = 3
    forget_good: float = 0.05
    forget_bad: float = 0.01

    def __post_init__(self) -> None:
        """Raise `InvalidParameter` for what makes no sense."""
        counts = ("f", "participations", "probation", "quarantine", "ban_after")
        for name in counts:
            if getattr(self, name) < 0:
                raise InvalidParameter(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("probation_weight", "forget_good", "forget_bad"):
            if not 0 < getattr(self, name) <= 1:
                raise InvalidParameter(f"{name} must lie in (0, 1], got {getattr(self, name)}")
        if not 0 < self.false_quarantines <= 1:
            raise InvalidParameter(
                f"false_quarantines, per 1,000 client-rounds, must lie in (0, 1], got "
                f"{self.false_quarantines}"
            )
        if self.allowance >= MOST_SURPRISE - 1:
            raise InvalidParameter(
                f"false_quarantines={self.false_quarantines} is rarer than can be told apart"
            )

    @property
    def allowance(self) -> float:
        """The surprise, -log10 p, that a client may show round after round.

        False quarantines are honest clients whose every round is strange, and by measurement
        their number falls tenfold and more for each unit of it.
        """
        return AT_ONE - PER_TENFOLD * math.log10(self.false_quarantines)

    @property
    def alarm(self) -> float:
        """How much surprise beyond the allowance is an alarm."""
        return LOUD_ROUNDS * (MOST_SURPRISE - self.allowance)

    def after(self, known: Reputation, evidence: Evidence, server_round: int) -> Reputation:
        """A client's reputation after a round it took part in."""
        surprises = np.array([[*evidence.surprises.values()]])
        families, suspected = tuple(evidence.surprises), [evidence.suspected]
        return self.all_after([known], families, surprises, suspected, server_round)[0]

    def all_after(
        self,
        known: Sequence[Reputation],
        families: Sequence[str],
        surprises: Float64,
        suspected: Sequence[bool],
        server_round: int,
    ) -> list[Reputation]:
        """The reputations of many at once; their surprises have shape (clients, families)."""
        none = (0.0,) * len(families)
        before = [value for each in known for value in map(each.evidence.get, families, none)]
        earlier = np.reshape(before, surprises.shape)
        levels = gathered(earlier, surprises, self.allowance, self.alarm)
        laws = [place for place, family in enumerate(families) if family in LAWS]
        odd: Rows = np.logical_or.reduce(surprises[:, laws] >= ODD, axis=1)
        lines = zip(known, levels.tolist(), odd.tolist(), suspected, strict=True)
        return [
            self._after(each, zip(families, own, strict=True), strange, doubted, server_round)
            for each, own, strange, doubted in lines
        ]

    def _after(
        self,
        known: Reputation,
        own: Iterable[tuple[str, float]],
        odd: bool,
        suspected: bool,
        server_round: int,
    ) -> Reputation:
        levels = dict(known.evidence)
        levels.update(own)
        level = max(levels.values(), default=0.0)
        seen = Reputation(
            known.standing,
            known.since,
            known.participations + 1,
            0 if odd or level >= LITTLE else known.clean + 1,
            known.quarantines,
            (1 - self.forget_good) * known.good + (not suspected),
            (1 - self.forget_bad) * known.bad + suspected,
            levels,
        )
        return self._judged(seen, level, server_round)

    def _judged(self, seen: Reputation, level: float, server_round: int) -> Reputation:
        after = self._standing(seen, level)
        if after is seen.standing:
            return seen
        times = seen.quarantines + (after is Standing.QUARANTINE)
        if after is Standing.QUARANTINE and times > self.ban_after:
            after = Standing.BANNED
        return seen._replace(standing=after, since=server_round, clean=0, quarantines=times)

    def _standing(self, seen: Reputation, level: float) -> Standing:
        """What follows from the evidence, the most of any family being the `level`."""
        if seen.standing is Standing.BANNED:
            return seen.standing
        if seen.standing is Standing.QUARANTINE:
            wanted = self.quarantine * 2 ** (seen.quarantines - 1)
            return Standing.PROBATION if seen.clean >= wanted else seen.standing
        if level >= 1:
            enough = seen.participations >= self.participations
            proved = enough and self._proved(seen.evidence)
            return Standing.QUARANTINE if proved else Standing.PROBATION
        if seen.standing is Standing.TRUSTED:
            return Standing.WATCH if level >= ENOUGH else seen.standing
        return Standing.TRUSTED if seen.clean >= self.probation else seen.standing

    def _proved(self, levels: Mapping[str, float]) -> bool:
        """Alarms of two families that do not follow from one another; or of faults; or a law's most
        evidence: a law is proof by itself or none. Honest clients with odd data are far out at all
        times, and a law's single alarm beside that would be enough once in a long run.
        """
        alarms = {family for family, each in levels.items() if each >= 1} - LAWS
        kinds = {next((each for each in TOGETHER if family in each), family) for family in alarms}
        broken = any(levels.get(family, 0.0) >= MOST_EVIDENCE for family in LAWS)
        return PROTOCOL in alarms or broken or len(kinds) >= 2

    def apart(self, known: Reputation) -> bool:
        """Whether there is the most evidence there can be that it lies far from the others."""
        return any(known.evidence.get(family, 0.0) >= MOST_EVIDENCE for family in APART)

    def alike(self, known: Reputation) -> bool:
        """Whether there is an alarm's evidence that it and another are one."""
        return known.evidence.get("sybil", 0.0) >= 1

    def weight(self, known: Reputation) -> float:
        """How long a row of such a client counts, beside a trusted one's.

        Of a new key it grows from little: whoever comes back under another gains little by it. So
        it does, by clean rounds, of who comes back from quarantine.
        """
        if not known.standing.counts:
            return 0.0
        if known.standing is not Standing.PROBATION:
            return 1.0
        rounds = max(known.clean if known.quarantines else known.participations, 1)
        return self.probation_weight * min(rounds / max(self.probation, 1), 1.0) ** 2
