"""A round, as a pure function, and the shell that makes it durable before anyone sees it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fedguard.blocks import InMemory
from fedguard.defence import Aggregate, Defence, aggregate, initial_state, stages_of, survey
from fedguard.errors import CannotAggregate, InvalidParameter, NothingTrusted
from fedguard.probes import Context, Statistics, squares
from fedguard.scoring import Scorer
from fedguard.state import State, StateStore
from fedguard.types import Cohort, RoundReport, Vector, Verdict

__all__ = ["SUSPECT_ABOVE", "Policy", "commit_round", "rehearse", "step"]

SUSPECT_ABOVE = 5.0
"""The default threshold of suspicion; docs/defences.md has recall and false alarms around it."""
NOBODY = "no admissible update"


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator decided: the defence, who scores, and from where a client is suspected.

    A client is a suspect when its score in any family exceeds `suspect_above` robust standard
    deviations. Suspicion is told, it does not act: the defence bounds the harm.
    """

    defence: Defence
    scorers: tuple[Scorer, ...] = ()
    suspect_above: float = SUSPECT_ABOVE

    def __post_init__(self) -> None:
        """One scorer a family: a verdict has one score for each."""
        families = [scorer.family for scorer in self.scorers]
        if len(set(families)) < len(families):
            raise InvalidParameter(f"one scorer a family, got {sorted(families)}")


def step(state: State, cohort: Cohort, policy: Policy) -> tuple[Vector | None, RoundReport, State]:
    """Turn a round's updates into one vector, shape (d,), or hold the round and give None.

    Pure: no clock, no I/O, no hidden randomness; the same arguments give the same bits. Rows
    that are not finite are refused, never planned on. When the defence cannot run the round is
    held: the model stays and the report says why.
    """
    if not cohort.updates:
        faults = tuple(_verdicts(cohort, [], None, {}, policy.suspect_above))
        report = RoundReport(state.round + 1, policy.defence.name, faults, NOBODY)
        return None, report, State(state.round + 1, state.defence)
    blocks = InMemory([update.delta for update in cohort.updates])
    remembered = initial_state(policy.defence) if state.defence is None else state.defence
    probes = [squares, *(each for scorer in policy.scorers for each in scorer.probes)]
    context = Context.of(cohort)
    statistics = survey(policy.defence, blocks, remembered, probes, context)
    refused = set(statistics.non_finite().tolist())
    admitted = [row for row in range(blocks.n) if row not in refused]
    scored = statistics.take(admitted)
    scorers = policy.scorers if admitted else ()
    scores = {scorer.family: scorer.score(scored) for scorer in scorers}
    outcome = _aggregate(policy.defence, blocks, remembered, statistics, admitted, context)
    result = outcome if isinstance(outcome, Aggregate) else None
    weights = result.weights if result else None
    report = RoundReport(
        round=state.round + 1,
        defence=policy.defence.name,
        verdicts=tuple(_verdicts(cohort, admitted, weights, scores, policy.suspect_above)),
        held=outcome if isinstance(outcome, str) else None,
        norm=float(np.linalg.norm(result.vector.astype(np.float64))) if result else 0.0,
    )
    after = State(state.round + 1, result.state if result else state.defence)
    return (result.vector if result else None), report, after


def rehearse(defence: Defence, n: int, vectors: Sequence[str] = ("model",)) -> None:
    """Run the defence on n random updates, and raise now what would fail in every round of n.

    `vectors` are those of the server's own that rounds will bring.
    """
    rng = np.random.default_rng(0)
    known = {name: rng.normal(size=8) for name in vectors}
    context = Context.of_rows(n)._replace(vectors=known)
    with suppress(NothingTrusted):
        aggregate(defence, rng.normal(size=(n, 8)), context=context)


def commit_round(
    store: StateStore, cohort: Cohort, policy: Policy
) -> tuple[Vector | None, RoundReport]:
    """Load, step, commit; only then does the caller get what it may publish."""
    state = store.load()
    vector, report, after = step(state, cohort, policy)
    store.commit(after, report, expected_round=state.round)
    return vector, report


def _aggregate(
    defence: Defence,
    blocks: InMemory,
    state: tuple[Any, ...],
    statistics: Statistics,
    admitted: list[int],
    context: Context,
) -> Aggregate | str:
    """The aggregate of the admitted rows, or why there is none."""
    if not admitted:
        return NOBODY
    known: Statistics | None = statistics
    if len(admitted) < blocks.n:
        own = range(blocks.n, statistics.n)  # the stages' own vectors
        per_client = any(stage.keeps_rows for stage in stages_of(defence))
        known = None if per_client else statistics.independent.take([*admitted, *own])
        blocks, context = blocks.take(admitted), context.take(admitted)
    try:
        result = aggregate(defence, blocks, state, known, context)
    except CannotAggregate as error:
        return str(error)
    if not np.isfinite(result.vector).all():
        return "the aggregate is not finite"
    return result


def _verdicts(
    cohort: Cohort, admitted: list[int], weights: Any, scores: dict[str, Any], suspect_above: float
) -> list[Verdict]:
    places = {row: place for place, row in enumerate(admitted)}
    verdicts = [Verdict(each.client, False, each.reason, each.detail) for each in cohort.faults]
    for row, update in enumerate(cohort.updates):
        place = places.get(row)
        if place is None:
            detail = "the update holds a NaN, an infinity, or values too large to square"
            verdict = Verdict(update.client, False, "non-finite", detail)
        else:
            own = {family: float(values[place]) for family, values in scores.items()}
            weight = None if weights is None else float(weights[place])
            suspected = max(own.values(), default=0.0) > suspect_above
            verdict = Verdict(update.client, True, scores=own, weight=weight, suspected=suspected)
        verdicts.append(replace(verdict, num_examples=update.num_examples))
    return sorted(verdicts, key=lambda verdict: verdict.client)
