"""What one probe tells of a round's updates: who is finite, who copies whom, who is strange."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from fedguard.blocks import Blocks
from fedguard.blocks.threads import available_cores, share_out
from fedguard.defence import initial_state, stages_of, survey
from fedguard.probes import Context, Float64, Probe, Statistics, gram, squares
from fedguard.reputation import Reputation, ReputationPolicy
from fedguard.reputation.evidence import benjamini_hochberg, combined
from fedguard.scoring import Memory, Rows, Scorer, surprise
from fedguard.server.policy import Policy
from fedguard.state import State
from fedguard.types import Cohort

__all__ = ["Scored", "scored"]

FEW_ROWS = 500
"""Up to which threads take longer than they save: 400 rows do on two cores, 1,000 do not."""


class Scored(NamedTuple):
    """The round's rows and what they show; arrays have one entry for each update.

    `original` is the row that a row is a copy of, or seems to be the same client as by the evidence
    so far, its own number otherwise. Scores and surprises are by family, 0 for rows that are not
    finite. `asked` are the defence's probes.
    """

    blocks: Blocks
    context: Context
    defence: tuple[Any, ...]
    statistics: Statistics
    finite: Rows
    original: list[int]
    scores: Mapping[str, Float64]
    surprises: Mapping[str, Float64]
    suspected: Rows
    memories: Mapping[str, Any]
    asked: tuple[Probe, ...]

    @property
    def known(self) -> Statistics:
        """What the defence asks for, as far as it holds for some of the rows alone."""
        whole = self.statistics.independent
        kept = {
            each: value
            for each, value in whole.values.items()
            if each in self.asked or any(own.part_of == each for own in self.asked)
        }
        return replace(whole, values=kept)


def scored(
    state: State,
    blocks: Blocks,
    cohort: Cohort,
    policy: Policy,
    known: Mapping[str, Reputation],
) -> Scored:
    """Probe once, for the defence and every scorer; score first, learn later."""
    context = Context.of(cohort)
    remembered = initial_state(policy.defence)
    if state.defence is not None and state.rule == policy.defence.kind:
        remembered = state.defence
    memories = {each.memory.name: each.memory for each in policy.scorers if each.memory}
    probes = [squares, *(each for scorer in policy.scorers for each in scorer.probes)]
    probes += [each for memory in memories.values() for each in memory.probes]
    if policy.reputation:
        probes.append(gram)
    statistics = survey(policy.defence, blocks, remembered, probes, context)
    finite = np.ones(blocks.n, bool)
    wild = statistics.non_finite()
    finite[wild[wild < blocks.n]] = False
    rows = np.flatnonzero(finite)
    seen = replace(statistics.take(rows), context=context.take(rows.tolist()))
    new = Reputation()
    original = list(range(blocks.n))
    if policy.reputation:
        each = [known.get(client, new) for client in context.clients]
        original = _originals(seen, rows, each, policy.reputation)
    counts = [known.get(client, new).standing.counts for client in context.clients]
    among = np.array([counts[row] and original[row] == row for row in rows], bool)
    learnt = {name: state.memories.get(name, memory.init()) for name, memory in memories.items()}
    past, recalled, found = dict(learnt), dict[str, Any](), dict[str, Float64]()

    def recall(memory: Memory) -> None:
        recalled[memory.name] = memory.recall(past[memory.name], seen, among)

    def score(scorer: Scorer) -> None:
        own = recalled[scorer.memory.name] if scorer.memory else None
        z = scorer.score(seen, among, own)
        found[scorer.family] = np.nan_to_num(z, nan=0.0, posinf=1e9, neginf=-1e9)

    def learn(memory: Memory) -> None:
        learnt[memory.name] = memory.learn(past[memory.name], seen, recalled[memory.name])

    if len(rows):
        threads = available_cores() if len(rows) > FEW_ROWS else 1
        alone = [partial(score, each) for each in policy.scorers if not each.memory]
        others = [partial(score, each) for each in policy.scorers if each.memory]
        share_out(_run, [*(partial(recall, each) for each in memories.values()), *alone], threads)
        share_out(_run, [*(partial(learn, each) for each in memories.values()), *others], threads)
    scores, surprises = {}, {}
    for scorer in policy.scorers if found else ():
        z = found[scorer.family]
        scores[scorer.family] = _spread(z, rows, blocks.n)
        surprises[scorer.family] = _spread(surprise(z, scorer.tail), rows, blocks.n)
    suspected = np.zeros(blocks.n, bool)
    if surprises:
        p = combined([values[rows] for values in surprises.values()])
        suspected[rows] = benjamini_hochberg(p, policy.discovery_rate)
    return Scored(
        blocks,
        context,
        remembered,
        statistics,
        finite,
        original,
        scores,
        surprises,
        suspected,
        learnt,
        tuple(each for stage in stages_of(policy.defence) for each in stage.probes),
    )


def _run(task: Callable[[], None]) -> None:
    task()


def _spread(values: Float64, rows: Any, n: int) -> Float64:
    whole = np.zeros(n)
    whole[rows] = values
    return whole


def _originals(
    seen: Statistics, rows: Any, known: Sequence[Reputation], policy: ReputationPolicy
) -> list[int]:
    """For every update the one it repeats; the best reputed client's is the original.

    Before all others that of a client which counts by the operator's order.
    Up to f may seem to be one, and another whom they make look like themselves.
    """
    from fedguard.copies import first_copies

    ordered = [each.own is not None and each.standing.counts for each in known]
    trust = np.array([each.value for each in known]) + ordered  # values are below 1
    order = np.argsort(-trust[rows], kind="stable")
    original = np.arange(len(known))
    original[rows] = rows[first_copies(seen.gram, order)]
    alike = [row for row in rows[order] if not known[row].own and policy.alike(known[row])]
    if 3 <= len(alike) <= min(policy.f, (len(rows) - 1) // 2) + 1:
        original[alike] = original[alike[0]]
    return original.tolist()
