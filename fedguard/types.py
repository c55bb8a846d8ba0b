"""What a round is made of: updates in, verdicts and a report out. All frozen, all plain data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedguard.canonical import to_json
from fedguard.errors import DuplicateUpdate

__all__ = [
    "Array",
    "Change",
    "Cohort",
    "Fault",
    "RoundReport",
    "Standing",
    "Update",
    "Vector",
    "Verdict",
]


Array = NDArray[np.floating[Any]]
Vector = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class Update:
    """One client's contribution to one round.

    `delta` is the client's parameters minus the global model's: shape (d,), a real float dtype,
    in the model's units, or the .npy file that holds it. `num_examples` is what the client
    *claims*; nothing trusts it.
    """

    client: str
    delta: Vector | Path
    num_examples: int | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a client's reply never became an update: a stable `reason` and a sentence of `detail`."""

    client: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Cohort:
    """A round's updates in client order, and the faults of those who sent none that counts.

    `vectors` are the server's own, shape (d,), for rules that ask for them: "model" is the global
    model, "root" the server's update on clean data of its own.
    """

    updates: tuple[Update, ...] = ()
    faults: tuple[Fault, ...] = ()
    vectors: Mapping[str, Vector] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        updates: Iterable[Update],
        faults: Iterable[Fault] = (),
        vectors: Mapping[str, Vector] | None = None,
    ) -> Cohort:
        """Sort by client, whatever order replies came in. Raises `DuplicateUpdate`."""
        rows = sorted(updates, key=lambda update: update.client)
        for one, next_one in pairwise(rows):
            if one.client == next_one.client:
                raise DuplicateUpdate(one.client)
        ordered = tuple(sorted(faults, key=lambda fault: fault.client))
        return cls(tuple(rows), ordered, dict(vectors or {}))

    @property
    def clients(self) -> tuple[str, ...]:
        return tuple(update.client for update in self.updates)

    @property
    def rows(self) -> list[Vector | Path]:
        return [update.delta for update in self.updates]

    @property
    def asked(self) -> int:
        """How many sent an update or did not."""
        return len(self.updates) + len(self.faults)


class Standing(StrEnum):
    """How far a client is trusted. Under probation its weight is capped, in quarantine it is 0."""

    TRUSTED = "trusted"
    WATCH = "watch"
    PROBATION = "probation"
    QUARANTINE = "quarantine"
    BANNED = "banned"

    @property
    def counts(self) -> bool:
        """Whether its updates reach the model."""
        return self not in (Standing.QUARANTINE, Standing.BANNED)


@dataclass(frozen=True, slots=True)
class Change:
    """A client's standing before and after a round, and why in words."""

    client: str
    before: Standing
    after: Standing
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the server decided about one client in one round.

    `scores` maps a family (magnitude, direction, ...) to a robust z: higher is stranger.
    `weight` is the client's share of the aggregate, None where the rule mixes coordinates
    (trimmed mean, median) and no single share exists. `reason` says why it was not admitted.
    `evidence` maps a family to what has been gathered over rounds, as a share of what an alarm
    takes; `standing` and `reputation`, in [0, 1], are those after the round. `norm` is the
    update's Euclidean norm, None where it is not finite or there is no update.
    """

    client: str
    admitted: bool
    reason: str = ""
    detail: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    weight: float | None = None
    suspected: bool = False
    num_examples: int | None = None
    standing: Standing = Standing.TRUSTED
    reputation: float | None = None
    evidence: Mapping[str, float] = field(default_factory=dict)
    norm: float | None = None


@dataclass(frozen=True, slots=True)
class RoundReport:
    """Everything one round decided. Metrics, events and audit entries derive from it.

    `held` is None when the round moved the model, otherwise the reason it did not.
    """

    round: int
    defence: str
    verdicts: tuple[Verdict, ...]
    held: str | None = None
    norm: float = 0.0
    changes: tuple[Change, ...] = ()

    def to_bytes(self) -> bytes:
        """The report as JSON, the same bytes each time: what the audit log holds."""
        return to_json(self)

    @property
    def moved(self) -> bool:
        """Whether the model is another one after the round."""
        return self.held is None and self.norm > 0

    @property
    def admitted(self) -> tuple[str, ...]:
        return tuple(verdict.client for verdict in self.verdicts if verdict.admitted)

    @property
    def refused(self) -> tuple[Verdict, ...]:
        return tuple(verdict for verdict in self.verdicts if not verdict.admitted)

    @property
    def suspects(self) -> tuple[str, ...]:
        return tuple(verdict.client for verdict in self.verdicts if verdict.suspected)
