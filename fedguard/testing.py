"""Promises every stage keeps, as functions to run over your own: `for check in CHECKS: check(...)`.

Each takes a defence that ends in a rule, a matrix of updates, float, shape (n, d), and for
defences that need one the context of its n rows; it raises AssertionError with the promise that
was broken.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import numpy as np

from fedguard.blocks import Debug, InMemory
from fedguard.defence import Defence, aggregate, stages_of
from fedguard.errors import CannotAggregate, NonFiniteUpdate, TooFewUpdates
from fedguard.probes import Context
from fedguard.types import Array

__all__ = [
    "CHECKS",
    "check_any_column_cut",
    "check_any_memory_layout",
    "check_backends_agree",
    "check_bounds_wild_rows",
    "check_client_order",
    "check_inputs_untouched",
    "check_keeps_dtype",
    "check_refuses_non_finite",
    "check_same_bits_again",
    "check_scales",
    "check_state_round_trips",
    "check_too_few_updates",
]

E = TypeVar("E", bound=Exception)


def _close(one: Array, other: Array, promise: str) -> None:
    scale = max(float(np.abs(other).max(initial=0.0)), 1e-30)
    worst = float(np.abs(one - other).max(initial=0.0)) / scale
    assert worst < 1e-4, f"{promise}: differs by {worst:.2g} of the largest value"


def _raised(
    kind: type[E], defence: Defence, rows: Array, context: Context | None = None
) -> E | None:
    try:
        aggregate(defence, rows, context=context)
    except kind as error:
        return error
    return None


def check_any_column_cut(defence: Defence, rows: Array, context: Context | None = None) -> None:
    """Blocks of any width give the same vector up to rounding."""
    whole = aggregate(defence, rows, context=context).vector
    for columns in (1, 7, rows.shape[1]):
        blocks = InMemory(rows, block_columns=columns)
        cut = aggregate(defence, blocks, context=context).vector
        _close(cut, whole, f"{defence.name}, blocks of {columns} columns")


def check_any_memory_layout(defence: Defence, rows: Array, context: Context | None = None) -> None:
    """Read-only, column by column, backwards or with gaps: the same bits; without columns too."""
    plain = aggregate(defence, rows, context=context).vector.tobytes()
    fixed, gaps = rows.copy(), np.zeros((len(rows), 2 * rows.shape[1] + 3), rows.dtype)
    fixed.flags.writeable = False
    gaps[:, 3::2] = rows
    backwards = rows[::-1, ::-1].copy()[::-1, ::-1]
    for same in (fixed, np.asfortranarray(rows), gaps[:, 3::2], backwards):
        vector = aggregate(defence, same, context=context).vector
        assert vector.tobytes() == plain, f"{defence.name}: strides {same.strides} differ"
    if context is not None:
        vectors = {name: vector[:0] for name, vector in context.vectors.items()}
        context = context._replace(vectors=vectors)
    with suppress(CannotAggregate):  # nobody need be trusted who says nothing
        assert aggregate(defence, rows[:, :0], context=context).vector.shape == (0,)


def check_client_order(defence: Defence, rows: Array, context: Context | None = None) -> None:
    """Whoever is first, the vector is the same up to rounding."""
    order = np.random.default_rng(1).permutation(len(rows))
    moved = context and context.take(order.tolist())
    one = aggregate(defence, rows, context=context).vector
    other = aggregate(defence, rows[order], context=moved).vector
    _close(other, one, f"{defence.name}, clients reordered")


def check_inputs_untouched(defence: Defence, rows: Array, context: Context | None = None) -> None:
    """The updates are the caller's: not one bit of them changes, not even when writable."""
    before = rows.tobytes()
    aggregate(defence, rows, context=context)
    assert rows.tobytes() == before, f"{defence.name} changed its input"


def check_same_bits_again(defence: Defence, rows: Array, context: Context | None = None) -> None:
    """No hidden state: the second call answers as the first did, to the bit."""
    one = aggregate(defence, rows, context=context).vector
    other = aggregate(defence, rows, context=context).vector
    assert one.tobytes() == other.tobytes(), f"{defence.name} answered differently twice"


def check_backends_agree(defence: Defence, rows: Array, context: Context | None = None) -> None:
    """In memory, as a list of rows and under Debug: the same bits."""
    one = aggregate(defence, InMemory(rows), context=context).vector
    for blocks in (InMemory([row.copy() for row in rows]), Debug(InMemory(rows))):
        other = aggregate(defence, blocks, context=context).vector
        assert one.tobytes() == other.tobytes(), f"{defence.name}: {type(blocks).__name__} differs"


def check_keeps_dtype(defence: Defence, rows: Array, context: Context | None = None) -> None:
    """float32 in, float32 out; float64 in, float64 out; float16 is worked in float32."""
    for given, worked in (("f2", "f4"), ("f4", "f4"), ("f8", "f8")):
        vector = aggregate(defence, rows.astype(given), context=context).vector
        assert vector.dtype == worked, f"{defence.name}: {given} became {vector.dtype}"
        assert vector.shape == rows.shape[1:], f"{defence.name}: shape {vector.shape}"


def check_scales(defence: Defence, rows: Array, context: Context | None = None) -> None:
    """All a power of two smaller, the server's vectors too: so is the vector."""
    one = aggregate(defence, rows, context=context).vector
    if context is not None:
        smaller = {name: vector * 2.0**-20 for name, vector in context.vectors.items()}
        context = context._replace(vectors=smaller)
    small = aggregate(defence, rows * 2.0**-20, context=context).vector
    _close(small * 2.0**20, one, f"{defence.name}, updates 2^-20 as large")


def check_state_round_trips(defence: Defence, rows: Array, context: Context | None = None) -> None:
    """State that was stored and loaded continues as if it never left."""
    first = aggregate(defence, rows, context=context)
    stored = pickle.loads(pickle.dumps(first.state))
    one = aggregate(defence, rows, first.state, context=context).vector
    other = aggregate(defence, rows, stored, context=context).vector
    assert one.tobytes() == other.tobytes(), f"{defence.name}: stored state answers differently"


def check_too_few_updates(defence: Defence, rows: Array, context: Context | None = None) -> None:
    """At its bound a defence runs; one update below it says so and computes nothing."""
    needed = max(stage.min_updates for stage in stages_of(defence))
    first = [context and context.take(range(count)) for count in (needed, needed - 1)]
    if needed <= len(rows):
        aggregate(defence, rows[:needed], context=first[0])
    error = _raised(TooFewUpdates, defence, rows[: needed - 1], first[1])
    assert error, f"{defence.name} ran on {needed - 1} updates, its bound is {needed}"
    assert error.bound in str(error), f"{defence.name}: the error does not tell the bound"


def check_refuses_non_finite(defence: Defence, rows: Array, context: Context | None = None) -> None:
    """NaN and infinities are refused by row number, wherever they stand."""
    for bad in (np.nan, np.inf, -np.inf):
        wild = rows.copy()
        wild[1, -1] = bad
        error = _raised(NonFiniteUpdate, defence, wild, context)
        assert error, f"{defence.name} accepted {bad}"
        assert error.rows == (1,), f"{defence.name} blamed rows {error.rows}, row 1 has {bad}"


def check_bounds_wild_rows(
    defence: Defence, rows: Array, f: int, context: Context | None = None
) -> None:
    """f rows anywhere, however far, move the vector by no more than a few honest diameters.

    Alone and in company, apart and identical, equally far, one much farther than the others, and
    each much farther than the next, up to the largest float32 whose square still fits a plan.
    """
    directions = np.random.default_rng(2).normal(size=(f, rows.shape[1])).astype(rows.dtype)
    for size in (1e1, 1e2, 1e6, 1e10, 1e18, 1e30, 1e36):
        sizes = np.full((f, 1), size, rows.dtype)
        mixed = sizes.copy()
        mixed[1:] = 10.0
        crowd = np.repeat(directions[:1], f, axis=0)
        steps = (size ** (1.0 / np.arange(1, f + 1))).astype(rows.dtype)[:, None]
        alone = crowd[:1] * size
        for wild in (directions * sizes, crowd * sizes, directions * mixed, crowd * steps, alone):
            honest = rows[len(wild) :]
            centre = honest.mean(axis=0)
            diameter = float(np.linalg.norm(honest - centre, axis=1).max())
            whole = np.concatenate([honest, wild])
            vector = aggregate(defence, whole, context=context).vector
            moved = float(np.linalg.norm(vector.astype(np.float64) - centre))
            assert moved < 5 * diameter, f"{defence.name}: {f} rows of size {size:g} moved {moved}"


CHECKS: tuple[Callable[[Defence, Array, Context | None], None], ...] = (
    check_any_column_cut,
    check_any_memory_layout,
    check_client_order,
    check_inputs_untouched,
    check_same_bits_again,
    check_backends_agree,
    check_keeps_dtype,
    check_scales,
    check_state_round_trips,
    check_too_few_updates,
    check_refuses_non_finite,
)
