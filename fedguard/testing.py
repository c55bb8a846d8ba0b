"""Promises every stage keeps, as functions to run over your own: `for check in CHECKS: check(...)`.

Each takes a defence that ends in a rule and a matrix of updates, float, shape (n, d), and raises
AssertionError with the promise that was broken.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from fedguard.blocks import Debug, InMemory
from fedguard.defence import Defence, aggregate, stages_of
from fedguard.errors import NonFiniteUpdate, TooFewUpdates
from fedguard.types import Array

__all__ = [
    "CHECKS",
    "check_any_column_cut",
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


def _raised(kind: type[E], defence: Defence, rows: Array) -> E | None:
    try:
        aggregate(defence, rows)
    except kind as error:
        return error
    return None


def check_any_column_cut(defence: Defence, rows: Array) -> None:
    """Blocks of any width give the same vector up to rounding."""
    whole = aggregate(defence, rows).vector
    for columns in (1, 7, rows.shape[1]):
        cut = aggregate(defence, InMemory(rows, block_columns=columns)).vector
        _close(cut, whole, f"{defence.name}, blocks of {columns} columns")


def check_client_order(defence: Defence, rows: Array) -> None:
    """Whoever is first, the vector is the same up to rounding."""
    order = np.random.default_rng(1).permutation(len(rows))
    one, other = aggregate(defence, rows).vector, aggregate(defence, rows[order]).vector
    _close(other, one, f"{defence.name}, clients reordered")


def check_inputs_untouched(defence: Defence, rows: Array) -> None:
    """The updates are the caller's: not one bit of them changes, not even when writable."""
    before = rows.tobytes()
    aggregate(defence, rows)
    assert rows.tobytes() == before, f"{defence.name} changed its input"


def check_same_bits_again(defence: Defence, rows: Array) -> None:
    """No hidden state: the second call answers as the first did, to the bit."""
    one, other = aggregate(defence, rows).vector, aggregate(defence, rows).vector
    assert one.tobytes() == other.tobytes(), f"{defence.name} answered differently twice"


def check_backends_agree(defence: Defence, rows: Array) -> None:
    """In memory, as a list of rows and under Debug: the same bits."""
    one = aggregate(defence, InMemory(rows)).vector
    for blocks in (InMemory([row.copy() for row in rows]), Debug(InMemory(rows))):
        other = aggregate(defence, blocks).vector
        assert one.tobytes() == other.tobytes(), f"{defence.name}: {type(blocks).__name__} differs"


def check_keeps_dtype(defence: Defence, rows: Array) -> None:
    """float32 in, float32 out; float64 in, float64 out; float16 is worked in float32."""
    for given, worked in (("f2", "f4"), ("f4", "f4"), ("f8", "f8")):
        vector = aggregate(defence, rows.astype(given)).vector
        assert vector.dtype == worked, f"{defence.name}: {given} became {vector.dtype}"
        assert vector.shape == rows.shape[1:], f"{defence.name}: shape {vector.shape}"


def check_scales(defence: Defence, rows: Array) -> None:
    """Updates a power of two smaller give a vector as much smaller: no absolute tolerances."""
    one = aggregate(defence, rows).vector
    small = aggregate(defence, rows * 2.0**-20).vector
    _close(small * 2.0**20, one, f"{defence.name}, updates 2^-20 as large")


def check_state_round_trips(defence: Defence, rows: Array) -> None:
    """State that was stored and loaded continues as if it never left."""
    first = aggregate(defence, rows)
    stored = pickle.loads(pickle.dumps(first.state))
    one = aggregate(defence, rows, first.state).vector
    other = aggregate(defence, rows, stored).vector
    assert one.tobytes() == other.tobytes(), f"{defence.name}: stored state answers differently"


def check_too_few_updates(defence: Defence, rows: Array) -> None:
    """At its bound a defence runs; one update below it says so and computes nothing."""
    needed = max(stage.min_updates for stage in stages_of(defence))
    if needed <= len(rows):
        aggregate(defence, rows[:needed])
    error = _raised(TooFewUpdates, defence, rows[: needed - 1])
    assert error, f"{defence.name} ran on {needed - 1} updates, its bound is {needed}"
    assert error.bound in str(error), f"{defence.name}: the error does not tell the bound"


def check_refuses_non_finite(defence: Defence, rows: Array) -> None:
    """NaN and infinities are refused by row number, wherever they stand."""
    for bad in (np.nan, np.inf, -np.inf):
        wild = rows.copy()
        wild[1, -1] = bad
        error = _raised(NonFiniteUpdate, defence, wild)
        assert error, f"{defence.name} accepted {bad}"
        assert error.rows == (1,), f"{defence.name} blamed rows {error.rows}, row 1 has {bad}"


def check_bounds_wild_rows(defence: Defence, rows: Array, f: int) -> None:
    """f rows anywhere, however far, move the vector by no more than a few honest diameters.

    Alone and in company, apart and identical, equally far and one much farther than the others,
    up to the largest float32 whose square still fits a plan.
    """
    directions = np.random.default_rng(2).normal(size=(f, rows.shape[1])).astype(rows.dtype)
    for size in (1e1, 1e2, 1e6, 1e10, 1e18, 1e30, 1e36):
        sizes = np.full((f, 1), size, rows.dtype)
        mixed = sizes.copy()
        mixed[1:] = 10.0
        crowd = np.repeat(directions[:1], f, axis=0)
        for wild in (directions * sizes, crowd * sizes, directions * mixed, crowd[:1] * size):
            honest = rows[len(wild) :]
            centre = honest.mean(axis=0)
            diameter = float(np.linalg.norm(honest - centre, axis=1).max())
            vector = aggregate(defence, np.concatenate([honest, wild])).vector.astype(np.float64)
            moved = float(np.linalg.norm(vector - centre))
            assert moved < 5 * diameter, f"{defence.name}: {f} rows of size {size:g} moved {moved}"


CHECKS: tuple[Callable[[Defence, Array], None], ...] = (
    check_any_column_cut,
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
