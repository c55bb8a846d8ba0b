"""Events derive from a round's report: nothing is told that the report does not hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fedguard.types import Change, RoundReport, Verdict

__all__ = ["Event", "events_of"]


class Event(NamedTuple):
    """Something worth telling: of a round, or of a client in it. `kind` is stable, dotted."""

    round: int
    kind: str
    client: str | None
    message: str
    data: Mapping[str, Any]


def events_of(report: RoundReport) -> list[Event]:
    """The events of one round: that it is held, who was refused, whose standing changed."""
    events = []
    if report.held:
        told = f"round held: {report.held}"
        events.append(Event(report.round, "round.held", None, told, {"why": report.held}))
    events += [
        _refusal(report.round, verdict)
        for verdict in report.refused
        if verdict.standing.counts  # of the others it was told when they were put away
    ]
    verdicts = {verdict.client: verdict for verdict in report.verdicts}
    events += [
        _change(report.round, change, verdicts.get(change.client)) for change in report.changes
    ]
    return events


def _refusal(server_round: int, verdict: Verdict) -> Event:
    told = f"update refused: {verdict.reason}"
    data = {"reason": verdict.reason, "detail": verdict.detail}
    return Event(server_round, "update.refused", verdict.client, told, data)


def _change(server_round: int, change: Change, verdict: Verdict | None) -> Event:
    back = change.after.counts and not change.before.counts
    kind = "client.reinstated" if back else f"client.{change.after}"
    data: dict[str, Any] = {"before": change.before, "after": change.after, "why": change.why}
    if verdict:
        data["scores"], data["evidence"] = dict(verdict.scores), dict(verdict.evidence)
        data["reputation"] = verdict.reputation
    told = f"{change.before} to {change.after}: {change.why}"
    return Event(server_round, kind, change.client, told, data)
