"""How each client fared in a run: rounds it took part in, and when it lost its standing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from fedguard import RoundReport
from fedguard.types import Standing
from fedguard_simulations.identities import client_of

__all__ = ["History", "histories", "share_of"]


class History(NamedTuple):
    """One name's rounds; `first` are those until its first quarantine, None without one."""

    rounds: int = 0
    first: int | None = None
    quarantines: int = 0
    probations: int = 0


def histories(reports: Sequence[RoundReport]) -> dict[str, History]:
    """Every name that took part, in the order of appearance."""
    found: dict[str, History] = {}
    for report in reports:
        for verdict in report.verdicts:
            own = found.get(verdict.client, History())
            found[verdict.client] = own._replace(rounds=own.rounds + 1)
        for change in report.changes:
            if not change.before.counts:
                continue
            own = found[change.client]
            gone, down = not change.after.counts, change.after is Standing.PROBATION
            found[change.client] = own._replace(
                first=own.rounds if gone and own.first is None else own.first,
                quarantines=own.quarantines + gone,
                probations=own.probations + down,
            )
    return found


def share_of(reports: Sequence[RoundReport], clients: frozenset[str]) -> float:
    """The part of all weight in the aggregates that `clients` had."""
    weights = [
        (verdict.weight, client_of(verdict.client) in clients)
        for report in reports
        for verdict in report.verdicts
        if verdict.weight is not None
    ]
    whole = sum(weight for weight, _ in weights)
    return sum(weight for weight, own in weights if own) / (whole or 1.0)
