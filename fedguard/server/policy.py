"""What the operator decided, and a trial of it before anyone trains."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from fedguard.defence import Defence, aggregate
from fedguard.errors import InvalidParameter, MissingVector, NothingTrusted
from fedguard.optimisers import Optimiser
from fedguard.probes import Context
from fedguard.reputation import ReputationPolicy
from fedguard.scoring import Scorer

__all__ = ["Policy", "rehearse"]


@dataclass(frozen=True, slots=True)
class Policy:
    """The defence, who scores, and whether evidence acts.

    Scores of all families together make suspects, of whom a share `discovery_rate` may be honest.
    Suspicion is told; only with a `reputation` policy do rounds of evidence act. When fewer than a
    share `quorum` of the clients asked are admitted, the round is held. The `optimiser` turns the
    aggregate into the model's step; without one the aggregate is the step.

    `smaller` are the same defence against one hostile client less, two less, and so on. Whose
    update came and does not count, in quarantine or a copy, is among the hostile that the defence
    is against: when so few are left that it cannot run, the next smaller one does, down by as many.
    An `adaptive` policy's defence is against as many as there is doubt about in the round, who are
    not trusted, were put away before or are suspected, and half of those hostile at the least who
    can be left: what it costs the honest is then paid only while it is needed. `reason` says why
    all this was chosen.
    """

    defence: Defence
    scorers: tuple[Scorer, ...] = ()
    reputation: ReputationPolicy | None = None
    discovery_rate: float = 0.05
    quorum: float = 0.5
    optimiser: Optimiser | None = None
    smaller: tuple[Defence, ...] = ()
    adaptive: bool = False
    reason: str = ""

    def __post_init__(self) -> None:
        """One scorer a family: a verdict has one score for each."""
        families = [scorer.family for scorer in self.scorers]
        if len(set(families)) < len(families):
            raise InvalidParameter(f"one scorer a family, got {sorted(families)}")
        if not 0 < self.discovery_rate < 1:
            raise InvalidParameter(f"discovery_rate must lie in (0, 1), got {self.discovery_rate}")
        if not 0 <= self.quorum <= 1:
            raise InvalidParameter(f"quorum must lie in [0, 1], got {self.quorum}")
        for other in self.smaller:
            if other.kind != self.defence.kind:
                raise InvalidParameter(
                    f"{other.name} is not {self.defence.name} against fewer: it has other stages"
                )


def rehearse(
    defence: Defence,
    n: int,
    vectors: Sequence[str] = ("model",),
    scorers: Sequence[Scorer] = (),
) -> None:
    """Run the defence on n random updates, and raise now what would fail in every round of n.

    `vectors` are those of the server's own that rounds will bring; scorers need some, too.
    """
    for name in (each.against for scorer in scorers for each in scorer.probes if each.against):
        if name not in vectors:
            raise MissingVector(name, vectors)
    rng = np.random.default_rng(0)
    known = {name: rng.normal(size=8) for name in vectors}
    context = Context.of_rows(n)._replace(vectors=known)
    with suppress(NothingTrusted):
        aggregate(defence, rng.normal(size=(n, 8)), context=context)
