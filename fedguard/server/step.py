"""The pure round: admit, score, judge, aggregate, report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from fedguard.blocks import blocks_of, one_blas_thread
from fedguard.defence import (
    Aggregate,
    Defence,
    Linear,
    Stage,
    aggregate,
    chain,
    stages_of,
)
from fedguard.errors import CannotAggregate, TooFewUpdates
from fedguard.probes import Statistics
from fedguard.server.judged import Judged, judged, overruled
from fedguard.server.policy import Policy
from fedguard.server.scored import Scored, scored
from fedguard.state import State
from fedguard.types import Cohort, RoundReport, Vector, Verdict

__all__ = ["step"]

NOBODY = "no admissible update"
DECIMALS = 4
"""Of a score: as many as anybody reads, and a third of the log."""
LEAST_WEIGHT = 0.05
"""Beside the heaviest row, below which a row is left out: shortened to next to nothing, a few of
them would be the tightest rows there are, and pull the aggregate to nothing."""
NOT_FINITE = "the update holds a NaN, an infinity, or values too large to square"


def _unwatched(part: str) -> None:
    """Nobody holds a watch."""


def step(
    state: State, cohort: Cohort, policy: Policy, done: Callable[[str], None] = _unwatched
) -> tuple[Vector | None, RoundReport, State]:
    """Turn a round's updates into one vector, shape (d,), or hold the round and give None.

    Pure: no clock, no I/O, no hidden randomness; the same arguments give the same bits. Rows
    that are not finite are refused, never planned on. With a reputation policy one of several
    copies counts, and who is in quarantine is scored and does not count. When the defence cannot
    run, or more clients than the policy allows would be quarantined at once, the round is held:
    the model stays and the report says why. `done` hears when each part is over, for who holds a
    watch.
    """
    with one_blas_thread():
        return _step(state, cohort, policy, done)


def _step(
    state: State, cohort: Cohort, policy: Policy, done: Callable[[str], None]
) -> tuple[Vector | None, RoundReport, State]:
    seen = None
    if cohort.updates:
        blocks = blocks_of(cohort.rows)
        state = state.of_model(blocks.d)
        seen = scored(state, blocks, cohort, policy, overruled(state))
    done("score")
    judgement = judged(state, cohort, policy, seen)
    admitted = _admitted(seen, judgement) if seen else []
    held = judgement.held or _too_few(len(admitted), cohort, policy)
    outcome: Aggregate | str = held or NOBODY
    defence = policy.defence
    if seen and not held:
        defence, outcome = _aggregate(policy, seen, admitted, judgement)
    outcome, optimiser = _stepped(policy, state, outcome)
    done("aggregate")
    result = outcome if isinstance(outcome, Aggregate) else None
    report = RoundReport(
        round=state.round + 1,
        defence=defence.name,
        verdicts=tuple(_verdicts(cohort, seen, judgement, admitted, result)),
        held=outcome if isinstance(outcome, str) else None,
        norm=float(np.linalg.norm(result.vector.astype(np.float64))) if result else 0.0,
        changes=judgement.changes,
    )
    goes_on = state.rule == policy.defence.kind
    if result:
        own: tuple[Any, ...] | None = result.state[-len(stages_of(policy.defence)) :]
    else:
        own = state.defence if goes_on else None
    after = State(
        state.round + 1,
        own,
        policy.defence.kind,
        state.parameters,
        seen.memories if seen else state.memories,
        judgement.reputations,
        optimiser=optimiser,
        heard=state.heard,
    )
    return (result.vector if result else None), report, after


def _too_few(admitted: int, cohort: Cohort, policy: Policy) -> str | None:
    """Why so few are not enough, if they are not."""
    if not admitted:
        return NOBODY
    if admitted < policy.quorum * cohort.asked:
        return (
            f"{admitted} of the {cohort.asked} clients asked are admitted, fewer than the quorum "
            f"of {policy.quorum:.0%}"
        )
    return None


def _admitted(seen: Scored, judgement: Judged) -> list[int]:
    """The rows that count: finite, of good standing, every copy once."""
    counts = [judgement.of(client).standing.counts for client in seen.context.clients]
    able = [row for row in np.flatnonzero(seen.finite).tolist() if counts[row]]
    taken: dict[int, int] = {}
    for row in able:  # the original, or its first copy if that one does not count
        taken.setdefault(seen.original[row], row)
    taken |= {row: row for row in able if seen.original[row] == row}
    return sorted(taken.values())


def _aggregate(
    policy: Policy, seen: Scored, admitted: list[int], judgement: Judged
) -> tuple[Defence, Aggregate | str]:
    """The aggregate of the admitted rows and by what, or why there is none."""
    blocks, context, statistics = seen.blocks, seen.context, seen.statistics
    weights = judgement.weights([context.clients[row] for row in admitted])
    weights /= weights.max()
    counting = np.flatnonzero(weights >= LEAST_WEIGHT)
    rows = [admitted[place] for place in counting]
    known: Statistics | None = statistics
    if len(rows) < blocks.n:
        own = range(blocks.n, statistics.n)  # the stages' own vectors
        per_client = any(stage.keeps_rows for stage in stages_of(policy.defence))
        known = None if per_client else seen.known.take([*rows, *own])
        blocks, context = blocks.take(rows), context.take(rows)
    shares = weights[counting]
    shortened = _shortened(shares) if (shares < 1).any() else None
    away = seen.blocks.n - int(np.count_nonzero(weights))
    for defence in _against(policy, seen, away, rows, judgement):
        whole = chain(shortened, defence) if shortened else defence
        state = (None, *seen.defence) if shortened else seen.defence
        try:
            result = aggregate(whole, blocks, state, known, context)
        except TooFewUpdates as error:
            told = str(error)
            continue
        except CannotAggregate as error:
            return defence, str(error)
        if not np.isfinite(result.vector).all():
            return defence, "the aggregate is not finite"
        if result.weights is not None:
            weights[:] = 0.0
            weights[counting] = result.weights
            result = result._replace(weights=weights)
        return defence, result
    return policy.defence, told


def _against(
    policy: Policy, seen: Scored, away: int, counting: list[int], judgement: Judged
) -> Sequence[Defence]:
    """The policy's defence, and what to do when too few are left for it, in order.

    Of the f are those who are `away`: in quarantine, not finite, copies, or certain.
    """
    known = [judgement.of(client) for client in seen.context.clients]
    first, most = 0, len(policy.smaller)
    enough = seen.blocks.n >= stages_of(policy.defence)[0].min_updates
    if policy.adaptive and enough:  # else f hostile could be too many
        doubted = sum(bool(seen.suspected[row]) or known[row].in_doubt for row in counting)
        left = max(most - away, 0)
        first = most - min(max(doubted, left - left // 2), most)
    return (policy.defence, *policy.smaller)[first : max(first, away) + 1]


def _stepped(
    policy: Policy, state: State, outcome: Aggregate | str
) -> tuple[Aggregate | str, tuple[str, Any] | None]:
    """The outcome with the optimiser's step as its vector, and the optimiser's next state."""
    optimiser = policy.optimiser
    goes_on = optimiser and state.optimiser and state.optimiser[0] == optimiser.name
    before = state.optimiser if goes_on else None
    if not optimiser or isinstance(outcome, str):
        return outcome, before
    with np.errstate(over="ignore", invalid="ignore"):
        vector, after = optimiser.step(outcome.vector, before[1] if before else None)
    vector = vector.astype(outcome.vector.dtype, copy=False)
    moments = after if isinstance(after, tuple) else (after,)
    if not all(np.isfinite(each).all() for each in (vector, *moments)):
        return "the server optimiser's step is not finite", before
    return outcome._replace(vector=vector), (optimiser.name, after)


def _shortened(weights: Any) -> Stage:
    """Rows of clients on probation count for less: they are shorter by their weight."""

    def plan(rows: Statistics, state: Any) -> tuple[Linear, Any]:
        return Linear(np.diag(weights)), state

    return Stage("probation", 1, "n >= 1", plan)


def _verdicts(
    cohort: Cohort,
    seen: Scored | None,
    judgement: Judged,
    admitted: list[int],
    result: Aggregate | None,
) -> list[Verdict]:
    """One for every update and every fault, in client order."""
    verdicts = [
        Verdict(
            *(fault.client, False, fault.reason, fault.detail, {}, None, False, None),
            *judgement.told(fault.client),
        )
        for fault in cohort.faults
    ]
    if seen:
        verdicts += _of_updates(cohort, seen, judgement, admitted, result)
    return sorted(verdicts, key=lambda verdict: verdict.client)


def _of_updates(
    cohort: Cohort,
    seen: Scored,
    judgement: Judged,
    admitted: list[int],
    result: Aggregate | None,
) -> Iterator[Verdict]:
    shares = result.weights.tolist() if result and result.weights is not None else None
    places = {row: place for place, row in enumerate(admitted)}
    families, n = tuple(seen.scores), len(cohort.updates)
    scores = np.round(np.reshape([*seen.scores.values()], (-1, n)), DECIMALS).T.tolist()
    lines = zip(
        *(cohort.updates, scores, seen.statistics.norms[:n].tolist()),
        *(seen.finite.tolist(), seen.suspected.tolist()),
        strict=True,
    )
    for row, (update, own, norm, finite, suspected) in enumerate(lines):
        place = places.get(row)
        reason, detail = ("", "") if place is not None else _refusal(seen, row, judgement)
        yield Verdict(  # by place, which takes half as long, for every client of a round
            update.client,
            place is not None,
            reason,
            detail,
            dict(zip(families, own, strict=True)) if finite else {},
            shares[place] if shares and place is not None else None,
            suspected,
            update.num_examples,
            *judgement.told(update.client),
            float(f"{norm:.6g}") if finite else None,
        )


def _refusal(seen: Scored, row: int, judgement: Judged) -> tuple[str, str]:
    if not seen.finite[row]:
        return "non-finite", NOT_FINITE
    client = seen.context.clients[row]
    if not judgement.of(client).standing.counts:
        return str(judgement.of(client).standing), "scored in shadow"
    return "copy", f"the update of {seen.context.clients[seen.original[row]]}, or all but the same"
