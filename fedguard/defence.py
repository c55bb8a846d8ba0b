"""The engine: stages plan on statistics of the rows, and their acts run over blocks in one pass.

A defence is a chain of stages. Linear acts are matrix products on rows, so they compose into
one matrix and the statistics follow without looking at the data again; a block-wise act (a
trimmed mean, say) can only be run, and a stage that plans after it costs one more probe.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from fedguard.acts import Act, Blockwise, Linear, Program
from fedguard.blocks import Blocks, InMemory, blocks_of, one_blas_thread
from fedguard.errors import (
    CannotAggregate,
    InvalidParameter,
    NonFiniteUpdate,
    NotARule,
    ShapeMismatch,
    TooFewUpdates,
)
from fedguard.probes import Context, Float64, Probe, Statistics, only_scales, probe
from fedguard.types import Array, Cohort, Vector

__all__ = [
    "Act",
    "Aggregate",
    "Blockwise",
    "Chain",
    "Defence",
    "Linear",
    "Stage",
    "aggregate",
    "chain",
    "initial_state",
    "passes",
    "stages_of",
    "survey",
    "transform",
]

State = Any


def _stateless() -> State:
    return None


class Stage(NamedTuple):
    """One step of a defence (or of an omniscient attack) as pure functions.

    `plan(statistics, state)` sees the rows' statistics and returns an act and the next state.
    `bound` is the condition on n in words and `min_updates` what it comes to. `blockwise` says
    which act `plan` returns.

    A stage with vectors of its own names them in `recall(state, context)` (None stands for
    zeros): they are the last rows of the statistics that `plan` sees and its weights may use
    them. `remember(state, context, rows)` gives the next state once the act was run; `rows` is
    the defence's output, shape (1, d), or with `keeps_rows` what this stage left, shape (m, d).
    """

    name: str
    min_updates: int
    bound: str
    plan: Callable[[Statistics, State], tuple[Act, State]]
    probes: tuple[Probe, ...] = ()
    init: Callable[[], State] = _stateless
    blockwise: bool = False
    recall: Callable[[State, Context], Sequence[Vector | None]] | None = None
    remember: Callable[[State, Context, Array], State] | None = None
    keeps_rows: bool = False

    @property
    def kind(self) -> str:
        """The name without f, which no state depends on."""
        return re.sub(r"\bf=\d+(, )?", "", self.name)


class Chain(NamedTuple):
    """Stages applied left to right; made by `chain`."""

    stages: tuple[Stage, ...]

    @property
    def name(self) -> str:
        names = ", ".join(stage.name for stage in self.stages)
        return names if len(self.stages) == 1 else f"chain({names})"

    @property
    def kind(self) -> str:
        """What stages these are, whatever f is: those share a state."""
        return ", ".join(stage.kind for stage in self.stages)


Defence = Stage | Chain


class Aggregate(NamedTuple):
    """A defence's answer: `vector` (d,), the next `state`, and each row's share of the vector.

    `weights` is float64, shape (n,), or None when a block-wise stage mixed the rows.
    """

    vector: Vector
    state: tuple[State, ...]
    weights: Float64 | None


def chain(*stages: Defence) -> Chain:
    """Compose stages left to right; chains inside are flattened.

    >>> from fedguard_strategies import arc, trimmed_mean
    >>> chain(arc(f=1), trimmed_mean(f=1)).name
    'chain(arc(f=1), trimmed_mean(f=1))'
    """
    if not stages:
        raise InvalidParameter("chain() needs at least one stage")
    for each in stages:
        if not isinstance(each, (Stage, Chain)):
            raise TypeError(
                f"chain() takes what turns rows into rows or a vector, not a {type(each).__name__}"
            )
    return Chain(tuple(stage for each in stages for stage in stages_of(each)))


def stages_of(defence: Defence) -> tuple[Stage, ...]:
    return (defence,) if isinstance(defence, Stage) else defence.stages


def initial_state(defence: Defence) -> tuple[State, ...]:
    return tuple(stage.init() for stage in stages_of(defence))


def passes(defence: Defence) -> int:
    """How often the data are read: one act, one probe, one more probe after each block-wise stage.

    >>> from fedguard_strategies import krum, nnm, trimmed_mean
    >>> passes(trimmed_mean(f=1)), passes(chain(nnm(f=1), trimmed_mean(f=1)))
    (1, 2)
    """
    stages = stages_of(defence)
    known = set(_needed(stages))
    count = 1 + bool(known)
    for i, stage in enumerate(stages):
        if not all(each.known_by(known) for each in stage.probes):
            count, known = count + 1, set(_needed(stages[i:]))
        known = set() if stage.blockwise else {each for each in known if each.linear}
    return count


class _References(NamedTuple):
    """The stages' own vectors, shape (k, d), and which of them belong to each stage."""

    rows: Array
    own: tuple[range, ...]


def _references(
    defence: Defence, state: Sequence[State], blocks: Blocks, context: Context
) -> _References:
    recalled = [
        list(stage.recall(own, context)) if stage.recall else []
        for stage, own in zip(stages_of(defence), state, strict=True)
    ]
    rows = np.zeros((sum(map(len, recalled)), blocks.d), blocks.dtype)
    for row, vector in zip(rows, (each for own in recalled for each in own), strict=True):
        if vector is not None:
            if np.shape(vector) != row.shape:
                raise ShapeMismatch(
                    f"a vector of {defence.name} has shape {np.shape(vector)}, "
                    f"the updates have {row.shape}"
                )
            row[:] = vector
    bounds = np.cumsum([0, *map(len, recalled)]).tolist()
    return _References(rows, tuple(range(*pair) for pair in pairwise(bounds)))


def survey(
    defence: Defence,
    blocks: Blocks,
    state: Sequence[State],
    probes: Iterable[Probe],
    context: Context | None = None,
) -> Statistics:
    """The first probe of a defence, taken together with everybody else's `probes`.

    The statistics cover the updates with the defence's own vectors below them, as `aggregate`
    takes them; only they may have non-finite rows.
    """
    context = context or Context.of_rows(blocks.n)
    below = _references(defence, state, blocks, context).rows
    wanted = [*probes, *_needed(stages_of(defence))]
    program = Program(blocks.n, below, check_finite=False)
    return replace(_probe(program, blocks, wanted, context), context=context)


def _needed(stages: Sequence[Stage]) -> list[Probe]:
    """The probes to collect now: all up to the next block-wise act that will still be known."""
    wanted: list[Probe] = []
    for i, stage in enumerate(stages):
        for each in stage.probes:
            if i == 0 or each.linear:
                wanted.append(each)
            elif each.part_of:  # the whole of it will still be known then
                wanted.append(each.part_of)
        if stage.blockwise:
            break
    return wanted


def _plan(
    defence: Defence,
    blocks: Blocks,
    state: Sequence[State],
    statistics: Statistics | None,
    context: Context,
) -> tuple[Program, list[State]]:
    stages, states = stages_of(defence), list(state)
    _refuse_too_few(stages[0], blocks.n)
    below, own = _references(defence, state, blocks, context)
    program = Program(blocks.n, below, check_finite=statistics is None)
    whose: Context | None = context
    for i, stage in enumerate(stages):
        _refuse_too_few(stage, program.rows)
        known = statistics.values if statistics else {}
        wanted = _needed(stages[i:])
        if i == 0 and wanted and not known:  # the updates themselves, so that it can blame them
            shown = any(each.linear or each.part_of for each in wanted)
            program = replace(program, check_finite=not shown)
            statistics = _probe(program, blocks, wanted, context)
            if (wild := statistics.non_finite()).size:
                _blame(wild.tolist(), program.rows)
            known = statistics.values
        if not all(each.known_by(known) for each in stage.probes):
            statistics = _probe(program, blocks, wanted, context)
        act, states[i] = stage.plan(_view(statistics, program.rows, own[i], whose), states[i])
        if isinstance(act, Linear):
            whose = whose if only_scales(act.weights[:, : program.rows]) else None
            statistics = statistics.through(program.whole(act, own[i])) if statistics else None
        else:
            statistics, whose = None, None
        program = program.then(stage.name, act, own[i], stage.keeps_rows)
    return program, states


def _blame(wild: list[int], rows: int) -> None:
    """Say who is not finite: updates, or a vector that a stage brought."""
    if wild[0] >= rows:
        raise CannotAggregate("a vector of the server's own is not finite")
    raise NonFiniteUpdate([row for row in wild if row < rows])


def _refuse_too_few(stage: Stage, rows: int) -> None:
    if rows < stage.min_updates:
        raise TooFewUpdates(stage.name, stage.bound, stage.min_updates, rows)


def _probe(program: Program, blocks: Blocks, wanted: list[Probe], context: Context) -> Statistics:
    vectors = {each.against: context.vector(each.against) for each in wanted if each.against}
    return probe(blocks, wanted, program.with_references, vectors)


def _view(
    statistics: Statistics | None, rows: int, own: range, whose: Context | None
) -> Statistics:
    """What a stage may see: its rows, and its own vectors as the last ones."""
    if statistics is None:
        return Statistics(rows + len(own), {}, whose)
    seen = statistics.take([*range(rows), *(rows + each for each in own)])
    return replace(seen, context=whose)


def transform(
    stages: Defence,
    blocks: Blocks,
    state: Sequence[State] | None = None,
    statistics: Statistics | None = None,
    context: Context | None = None,
) -> tuple[Array, tuple[State, ...], Float64 | None]:
    """Run stages and return the rows they leave, shape (m, d), the next state and the row weights.

    `statistics` are those of the updates with the stages' own vectors below them, if a probe of
    them was already paid for. Raises `TooFewUpdates`, `NonFiniteUpdate`.
    """
    state = initial_state(stages) if state is None else state
    context = context or Context.of_rows(blocks.n)
    with one_blas_thread():
        program, states = _plan(stages, blocks, state, statistics, context)
        left = np.empty((program.height, blocks.d), blocks.dtype)
        blocks.write(program, left)
    rows, at, kept = left[: program.rows], program.rows, iter(program.kept)
    for i, stage in enumerate(stages_of(stages)):
        own = rows
        if stage.keeps_rows:
            count = next(kept)[1]
            own, at = left[at : at + count], at + count
        if stage.remember:
            states[i] = stage.remember(states[i], context, own)
    return rows, tuple(states), program.weights


def aggregate(
    defence: Defence,
    cohort: Cohort | Blocks | Array | Iterable[Vector],
    state: Sequence[State] | None = None,
    statistics: Statistics | None = None,
    context: Context | None = None,
) -> Aggregate:
    """Reduce n updates to one vector of shape (d,), at least float32.

    Pass the returned state to the next round's call. A `Cohort` brings its clients' names and
    claims; without one `context` may, else rows are known by their number. Raises
    `TooFewUpdates` when a bound fails, `NonFiniteUpdate`, `NotARule` when more than one row is
    left.

    >>> import numpy as np
    >>> from fedguard_strategies import coordinate_median
    >>> aggregate(coordinate_median(), np.array([[1.0], [2.0], [99.0]])).vector
    array([2.])
    """
    if not isinstance(defence, Stage | Chain):
        raise InvalidParameter(f"a defence is made by a factory, as krum(f=1); got {defence!r}")
    if isinstance(cohort, Cohort):
        context = context or Context.of(cohort)
    blocks = _blocks(cohort)
    rows, states, weights = transform(defence, blocks, state, statistics, context)
    if len(rows) != 1:
        raise NotARule(defence.name, len(rows))
    return Aggregate(rows[0], states, None if weights is None else weights[0])


def _blocks(cohort: Cohort | Blocks | Array | Iterable[Vector]) -> Blocks:
    if isinstance(cohort, Cohort):
        return blocks_of(cohort.rows)
    return cohort if isinstance(cohort, Blocks) else InMemory(_rows(cohort))


def _rows(cohort: Array | Iterable[Vector]) -> Array | list[Vector]:
    if isinstance(cohort, np.ndarray):
        return cohort
    if not isinstance(cohort, Iterable):
        raise ShapeMismatch(f"updates are an (n, d) array or a list of (d,) ones, got {cohort!r}")
    return list(cohort)
