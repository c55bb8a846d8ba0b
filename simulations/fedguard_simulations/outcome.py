"""What a simulation measured, as plain data that becomes results.json."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from math import isfinite, nan
from typing import Any

from fedguard import RoundReport
from fedguard_simulations.identities import client_of
from fedguard_simulations.scenario import Expectation, Scenario

__all__ = ["Detection", "Outcome", "RunOutcome", "versions"]


@dataclass(frozen=True, slots=True)
class Detection:
    """Suspicions against the truth, counted over client-rounds."""

    caught: int
    false_alarms: int
    missed: int
    cleared: int

    @property
    def precision(self) -> float:
        """Share of suspicions that were right; NaN when there was nobody to catch, or named."""
        named = self.caught + self.false_alarms
        return self.caught / named if named and self.caught + self.missed else nan

    @property
    def recall(self) -> float:
        """Share of malicious client-rounds that were suspected; NaN when there were none."""
        bad = self.caught + self.missed
        return self.caught / bad if bad else nan

    @property
    def false_positive_rate(self) -> float:
        """Share of honest client-rounds that were suspected."""
        good = self.false_alarms + self.cleared
        return self.false_alarms / good if good else 0.0


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """One run: metrics by round (0 is the initial model), reports from round 1, confusion."""

    label: str
    title: str
    attack: str | None
    defence: str
    accuracy: tuple[float, ...]
    loss: tuple[float, ...]
    attack_success: tuple[float, ...]
    reports: tuple[RoundReport, ...]
    confusion: tuple[tuple[int, ...], ...]
    seconds: float = field(compare=False)

    def detection(self, malicious: frozenset[str]) -> Detection:
        """Suspects, and clients whose update did not count, are named; only who attacks is bad."""
        bad = malicious if self.attack else frozenset()
        pairs = [
            (verdict.suspected or not verdict.admitted, client_of(verdict.client) in bad)
            for report in self.reports
            for verdict in report.verdicts
        ]
        return Detection(
            caught=pairs.count((True, True)),
            false_alarms=pairs.count((True, False)),
            missed=pairs.count((False, True)),
            cleared=pairs.count((False, False)),
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """All runs of one scenario on one data set by one runner."""

    scenario: Scenario
    dataset: str
    runner: str
    malicious: tuple[str, ...]
    runs: Mapping[str, RunOutcome]
    versions: Mapping[str, str]

    def metrics(self) -> dict[str, float]:
        """What an [expect] block can name: LABEL_accuracy, LABEL_recall and so on."""
        found = {}
        for label, run in self.runs.items():
            detection = run.detection(frozenset(self.malicious))
            found[f"{label}_accuracy"] = run.accuracy[-1]
            found[f"{label}_precision"] = detection.precision
            found[f"{label}_recall"] = detection.recall
            found[f"{label}_false_positive_rate"] = detection.false_positive_rate
            if run.attack_success:
                found[f"{label}_attack_success"] = run.attack_success[-1]
        return found

    def checked(self) -> list[tuple[Expectation, float, bool]]:
        """Each expectation for this data set whose run was made: what came, and if it holds."""
        found = self.metrics()
        return [
            (each, found[each.metric], each.holds(found[each.metric]))
            for each in self.scenario.expect
            if each.dataset == self.dataset and each.metric in found
        ]

    def to_dict(self) -> dict[str, Any]:
        plain = dataclasses.asdict(dataclasses.replace(self, scenario=None, runs={}))  # type: ignore[arg-type]
        runs = {label: dataclasses.asdict(run) for label, run in self.runs.items()}
        seconds = {label: run.pop("seconds") for label, run in runs.items()}
        for label, run in self.runs.items():
            detection = run.detection(frozenset(self.malicious))
            rates = ("precision", "recall", "false_positive_rate")
            runs[label]["detection"] = dataclasses.asdict(detection) | {
                rate: getattr(detection, rate) for rate in rates
            }
        return {
            **plain,
            "scenario": self.scenario.to_dict(),
            "runs": runs,
            "metrics": self.metrics(),
            "seconds": seconds,
        }

    def to_json(self) -> str:
        """results.json: the same seed gives the same text but for `seconds`, the last key.

        What is not finite (the loss of a ruined model, precision where nobody was named) is null.
        """
        return json.dumps(_finite(self.to_dict()), indent=1, allow_nan=False)


def _finite(plain: Any) -> Any:
    if isinstance(plain, Mapping):
        return {key: _finite(value) for key, value in plain.items()}
    if isinstance(plain, (list, tuple)):
        return [_finite(value) for value in plain]
    return None if isinstance(plain, float) and not isfinite(plain) else plain


def versions() -> dict[str, str]:
    """What the figures were made with."""
    names = ("fedguard", "flwr", "flwr-datasets", "numpy", "torch", "ray", "scikit-learn")
    return {"python": platform.python_version()} | {name: metadata.version(name) for name in names}
