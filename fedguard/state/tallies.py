"""A round's report counted, so that totals outlive the verdicts that were pruned."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from fedguard.types import RoundReport

__all__ = ["SCORE_BOUNDS", "tally_of"]

SCORE_BOUNDS = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0, 20.0, 50.0)
"""Upper bounds of the buckets of anomaly scores; a robust z of 3 is rare among honest clients."""


def tally_of(report: RoundReport) -> dict[str, Any]:
    """Refusals by reason; of each family's scores the buckets, the sum, and whose is highest.

    Scores below 0 are less strange than most and count as 0. The last bucket has no bound. Plain
    data.

    >>> from fedguard.types import Verdict
    >>> one = Verdict("a", True, scores={"direction": 0.7})
    >>> other = Verdict("b", False, "replayed", scores={"direction": 99.0})
    >>> told = tally_of(RoundReport(1, "mean", (one, other)))
    >>> told["refused"], told["scores"]["direction"]
    ({'replayed': 1}, {'counts': [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 'sum': 99.7, 'worst': 'b'})
    """
    scores = {}
    for family in sorted(set().union(*(verdict.scores for verdict in report.verdicts))):
        scored = [verdict for verdict in report.verdicts if family in verdict.scores]
        values = np.clip([verdict.scores[family] for verdict in scored], 0.0, None)
        places = np.searchsorted(SCORE_BOUNDS, values)
        counts = np.bincount(places, minlength=len(SCORE_BOUNDS) + 1).tolist()
        scores[family] = {
            "counts": counts,
            "sum": round(float(values.sum()), 4),
            "worst": scored[int(values.argmax())].client,
        }
    refused = Counter(verdict.reason for verdict in report.refused)
    return {"refused": dict(sorted(refused.items())), "scores": scores}
