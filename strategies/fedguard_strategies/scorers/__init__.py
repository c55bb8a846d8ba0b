"""Anomaly scorers: how far a client's row is from the cohort, one family each."""

from __future__ import annotations

from fedguard_strategies.scorers.behaviour import behaviour
from fedguard_strategies.scorers.direction import direction
from fedguard_strategies.scorers.extent import extent
from fedguard_strategies.scorers.histories import histories
from fedguard_strategies.scorers.magnitude import magnitude
from fedguard_strategies.scorers.neighbourhood import neighbourhood
from fedguard_strategies.scorers.response import response
from fedguard_strategies.scorers.sybil import sybil
from fedguard_strategies.scorers.temporal import temporal
from fedguard_strategies.scorers.trigger import trigger

__all__ = [
    "behaviour",
    "direction",
    "extent",
    "histories",
    "magnitude",
    "neighbourhood",
    "response",
    "sybil",
    "temporal",
    "trigger",
]
