"""What clients say of themselves, pooled so that no claim counts more than another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

__all__ = ["pooled"]

CLAIMS = ("num-examples", "server-round")
"""Numbers about a reply, which are no measurement."""


def pooled(answers: Sequence[Mapping[str, float]], asked: int) -> dict[str, float]:
    """Median, lowest and highest of each number that most of those `asked` report, one answer each.

    Names that are no plain text are left out: clients choose them.

    >>> told = pooled([{"loss": 1.0}, {"loss": 2.0}, {"loss": 1e9, "other": 0.0}], asked=4)
    >>> told["loss"], told["loss-lowest"], told["loss-highest"], len(told)
    (2.0, 1.0, 1000000000.0, 3)
    """
    told: dict[str, float] = {}
    reported = Counter(key for answer in answers for key in answer if key.isprintable())
    by_most = (key for key, count in reported.items() if 2 * count > asked)
    for key in sorted(set(by_most).difference(CLAIMS)):
        values = sorted(answer[key] for answer in answers if key in answer)
        told[key] = values[(len(values) - 1) // 2]  # the lower of the middle two
        told |= {f"{key}-lowest": values[0], f"{key}-highest": values[-1]}
    return told
