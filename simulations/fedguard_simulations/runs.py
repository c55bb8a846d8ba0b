"""The runs a scenario can make, and what is measured of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["MEASURES", "RUNS", "Run"]


@dataclass(frozen=True, slots=True)
class Run:
    """One training of a scenario: with its attack or not, with its defence or the plain mean.

    Without `malicious` the attackers do not take part at all: the honest-only oracle.
    """

    label: str
    title: str
    attacked: bool
    defended: bool
    malicious: bool = True


RUNS: Mapping[str, Run] = {
    run.label: run
    for run in (
        Run("clean", "no attack, no defence", attacked=False, defended=False),
        Run("attacked", "attack, no defence", attacked=True, defended=False),
        Run("defended", "attack, defence", attacked=True, defended=True),
        Run("peace", "no attack, defence", attacked=False, defended=True),
        Run("oracle", "honest clients only, no defence", False, False, malicious=False),
    )
}

MEASURES = ("accuracy", "attack_success", "precision", "recall", "false_positive_rate")
"""What an [expect] block may bound, as RUN_MEASURE: defended_accuracy."""
