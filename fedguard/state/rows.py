"""A round's report as the values of its rows."""

from __future__ import annotations

from typing import Any

from fedguard.canonical import to_json
from fedguard.reputation import Reputation
from fedguard.state.tallies import tally_of
from fedguard.state.types import Receipt, RoundRecord
from fedguard.types import RoundReport, Verdict

__all__ = ["CLIENT", "NO_RECEIPT", "VERDICT", "client_row", "round_row", "verdict_row"]

CLIENT = ("participations", "standing", "since", "reputation")
"""Of a client's reputation, the columns of its own."""
NO_RECEIPT = dict.fromkeys(Receipt._fields)
VERDICT = (
    *("admitted", "reason", "detail", "weight", "suspected", "standing", "reputation"),
    *("scores", "evidence", "num_examples", "norm", *Receipt._fields),
)
"""Of a verdict and a receipt, the columns of their own."""


def client_row(known: Reputation) -> tuple[Any, ...]:
    """The columns `CLIENT`."""
    return known.participations, known.standing.value, known.since, known.value


def round_row(report: RoundReport, record: RoundRecord) -> dict[str, Any]:
    """What a round says of itself."""
    return {
        "number": report.round,
        "seconds": record.seconds,
        "defence": report.defence,
        "held": report.held,
        "norm": report.norm,
        "admitted": len(report.admitted),
        "refused": len(report.refused),
        "suspected": len(report.suspects),
        "model": record.model,
        "inputs": record.inputs,
        "stages": dict(record.stages),
        "tally": tally_of(report),
    }


def verdict_row(verdict: Verdict, record: RoundRecord) -> tuple[Any, ...]:
    """The columns `VERDICT`; JSON is text."""
    return (
        verdict.admitted,
        verdict.reason,
        verdict.detail,
        verdict.weight,
        verdict.suspected,
        verdict.standing.value,
        verdict.reputation,
        to_json(verdict.scores).decode(),
        to_json(verdict.evidence).decode(),
        verdict.num_examples,
        verdict.norm,
        *(record.receipts.get(verdict.client) or NO_RECEIPT.values()),
    )
