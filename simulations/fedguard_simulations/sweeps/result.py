"""What a cell records of its run: figures alone, the same bytes for the same cell."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedguard_simulations.identities import client_of
from fedguard_simulations.outcome import RunOutcome
from fedguard_simulations.standings import histories, share_of

__all__ = ["Result"]


@dataclass(frozen=True, slots=True)
class Result:
    """One run's figures; the last of `accuracy` and `attack_success` is the final model's.

    `share` is the malicious clients' part of the weight in the aggregates. `hostile` counts their
    keys, `found` has the rounds until each that was put away was. `honest_away` of `honest` clients
    were put away at least once. `caught` to `cleared` count client-rounds by suspicion and truth.
    """

    accuracy: tuple[float, ...]
    attack_success: tuple[float, ...]
    share: float
    hostile: int
    found: tuple[int, ...]
    honest: int
    honest_away: int
    caught: int
    false_alarms: int
    missed: int
    cleared: int
    held: int

    @classmethod
    def of(cls, run: RunOutcome, malicious: frozenset[str]) -> Result:
        """What to record of a run; without an attack nobody counts as malicious."""
        bad = malicious if run.attack else frozenset[str]()
        fared = histories(run.reports)
        hostile = [each for name, each in fared.items() if client_of(name) in bad]
        honest = [each for name, each in fared.items() if client_of(name) not in bad]
        return cls(
            accuracy=run.accuracy,
            attack_success=run.attack_success,
            share=share_of(run.reports, bad),
            hostile=len(hostile),
            found=tuple(sorted(each.first for each in hostile if each.first is not None)),
            honest=len(honest),
            honest_away=sum(each.quarantines > 0 for each in honest),
            held=sum(report.held is not None for report in run.reports),
            **dataclasses.asdict(run.detection(malicious)),
        )

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Result:
        """What `dataclasses.asdict` and JSON made plain."""
        values: dict[str, Any] = {
            name: tuple(each) if isinstance(each, list) else each for name, each in plain.items()
        }
        return cls(**values)

    def final(self) -> Result:
        """Without the rounds before the last."""
        return dataclasses.replace(
            self, accuracy=self.accuracy[-1:], attack_success=self.attack_success[-1:]
        )
