"""Anomaly scorers: how far a client's row is from the cohort, one family each."""

from __future__ import annotations

from fedguard_strategies.scorers.direction import direction
from fedguard_strategies.scorers.magnitude import magnitude
from fedguard_strategies.scorers.neighbourhood import neighbourhood

__all__ = ["direction", "magnitude", "neighbourhood"]
