"""What the server's log says of a round."""

from __future__ import annotations

from logging import INFO, WARNING

from flwr.common.logger import log

from fedguard.errors import StoreUnavailable
from fedguard.types import RoundReport

__all__ = ["tell", "tell_of_store"]


def tell(report: RoundReport) -> None:
    """Who changed standing, who was refused and why, whether the round is held."""
    for change in report.changes:
        if change.before is not change.after:
            log(
                INFO,
                "%s: %s, was %s (%s)",
                change.client,
                change.after,
                change.before,
                change.why,
            )
    for verdict in report.refused:
        if verdict.standing.counts:  # of the others it was told when they were put away
            log(WARNING, "refused %s: %s (%s)", verdict.client, verdict.reason, verdict.detail)
    if report.held:
        log(WARNING, "round %s is held: %s", report.round, report.held)


def tell_of_store(error: StoreUnavailable) -> None:
    """That the round waits, and for what."""
    log(WARNING, "the round waits for its store: %s", error.why)
