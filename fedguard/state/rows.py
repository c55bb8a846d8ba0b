"""A round's report as the values of its rows."""

from __future__ import annotations

from typing import Any

from fedguard.canonical import to_json
from fedguard.reputation import Reputation
from fedguard.state.tallies import tally_of
from fedguard.state.types import RoundRecord
from fedguard.types import RoundReport, Verdict

__all__ = ["CLIENT", "NO_RECEIPT", "client_row", "round_row", "verdict_row"]

CLIENT = ("participations", "standing", "since", "reputation")
"""Of a client's reputation, the columns of its own."""
NO_RECEIPT = {"sha256": None, "size": None, "received_at": None, "model_version": None}


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


def verdict_row(verdict: Verdict, record: RoundRecord) -> dict[str, Any]:
    """What a round says of one client; JSON is text."""
    receipt = record.receipts.get(verdict.client)
    return (receipt._asdict() if receipt else NO_RECEIPT) | {
        "admitted": verdict.admitted,
        "reason": verdict.reason,
        "detail": verdict.detail,
        "weight": verdict.weight,
        "suspected": verdict.suspected,
        "standing": verdict.standing.value,
        "reputation": verdict.reputation,
        "scores": to_json(verdict.scores).decode(),
        "evidence": to_json(verdict.evidence).decode(),
        "num_examples": verdict.num_examples,
        "norm": verdict.norm,
    }
