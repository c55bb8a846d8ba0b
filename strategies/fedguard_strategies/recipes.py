"""Defences and scorers put together: what to use when there is no reason to choose otherwise."""

from __future__ import annotations

from fedguard.scoring import Scorer
from fedguard_strategies.scorers import (
    behaviour,
    direction,
    extent,
    magnitude,
    neighbourhood,
    sybil,
    temporal,
)

__all__ = ["standard_scorers"]


def standard_scorers(
    f: int, size: int = 1024, seed: int = 0, canaries: bool = False
) -> tuple[Scorer, ...]:
    """One scorer a family, from one pass over the data.

    Clients' histories are sketches of `size` numbers drawn by `seed`, which is best kept secret.
    With `canaries`, clean data of the server's own, behaviour is scored too.
    """
    standard = (
        magnitude(),
        direction(size, seed),
        neighbourhood(f),
        extent(),
        sybil(size, seed),
        temporal(size, seed),
    )
    return (*standard, behaviour()) if canaries else standard
