"""Defences and scorers put together: what to use when there is no reason to choose otherwise."""

from __future__ import annotations

from fedguard.scoring import Scorer
from fedguard_strategies.scorers import direction, magnitude, neighbourhood

__all__ = ["standard_scorers"]


def standard_scorers(f: int) -> tuple[Scorer, ...]:
    """One scorer per family, all read off the Gram matrix."""
    return (magnitude(), direction(), neighbourhood(f))
