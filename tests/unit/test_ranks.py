"""Compiled order statistics against plain sorting, ties, zeros and extremes included."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedguard_strategies import ranks, sorting
from fedguard_strategies.networks import FOURS, by_fours, network

FINITE = st.floats(-(2.0**127), 2.0**127, width=32)
COLUMNS = hnp.arrays(
    np.float32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=FINITE
)


def naive_mean(rows: np.ndarray, first: int, last: int) -> np.ndarray:
    return np.sort(rows, axis=0)[first:last].mean(axis=0, dtype=np.float64)


def naive_window(rows: np.ndarray, keep: int) -> np.ndarray:
    ordered = np.sort(rows, axis=0).astype(np.float64)
    distance = np.abs(ordered - np.median(ordered, axis=0))
    kept = np.argsort(distance, axis=0, kind="stable")[:keep]
    return np.take_along_axis(ordered, kept, axis=0).mean(axis=0)


def close(one: np.ndarray, other: np.ndarray, rows: np.ndarray) -> None:
    assert one.shape == (1, rows.shape[1])
    assert one.dtype == rows.dtype
    size = np.abs(rows.astype(np.float64)).max(axis=0)
    assert (np.abs(one[0] - other) <= 2e-7 * size + 2e-45).all()


@given(COLUMNS, st.data())
@settings(max_examples=200, deadline=None)
def test_means_of_ranks(rows: np.ndarray, data: st.DataObject) -> None:
    n = len(rows)
    first = data.draw(st.integers(0, n - 1))
    last = data.draw(st.integers(first + 1, n))
    for given_rows in (rows, rows.astype(np.float64), rows[:, ::-1], np.asfortranarray(rows)):
        close(
            ranks.mean_of_ranks(given_rows, first, last),
            naive_mean(given_rows, first, last),
            given_rows,
        )
    keep = data.draw(st.integers(n // 2 + 1, n))
    close(ranks.mean_around_middle(rows, keep), naive_window(rows, keep), rows)


@given(COLUMNS, st.data())
@settings(max_examples=200, deadline=None)
def test_bisection_finds_what_sorting_finds(rows: np.ndarray, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(rows) - 1))
    last = data.draw(st.integers(first + 1, len(rows)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorting, "NETWORK_UP_TO", 0)
        for given_rows in (rows, rows.round(-38), rows.astype(np.float64)):
            close(
                ranks.mean_of_ranks(given_rows, first, last),
                naive_mean(given_rows, first, last),
                given_rows,
            )


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 33, 50, 129, 1500])
def test_many_rows_and_tiles(n: int) -> None:
    rows = np.random.default_rng(n).normal(size=(n, 700)).astype(np.float32)
    f = (n - 1) // 4
    close(ranks.mean_of_ranks(rows, f, n - f), naive_mean(rows, f, n - f), rows)
    middle = ranks.mean_of_ranks(rows, (n - 1) // 2, n // 2 + 1)
    close(middle, np.median(rows.astype(np.float64), axis=0), rows)
    if n < 200:
        close(ranks.mean_around_middle(rows, n - f), naive_window(rows, n - f), rows)


def test_other_array_libraries() -> None:
    rows = np.random.default_rng(0).normal(size=(9, 40)).astype(np.float32)
    tensor = torch.from_numpy(rows)
    close(ranks.mean_of_ranks(tensor, 2, 7).numpy(), naive_mean(rows, 2, 7), rows)
    close(ranks.mean_around_middle(tensor, 6).numpy(), naive_window(rows, 6), rows)


@pytest.mark.parametrize("n", range(1, 9))
def test_networks_sort_by_the_zero_one_principle(n: int) -> None:
    values = np.array(list(product((0, 1), repeat=n)))

    def run(pairs: np.ndarray) -> np.ndarray:
        out = values.copy()
        for i, j in pairs:
            out[:, [i, j]] = np.sort(out[:, [i, j]], axis=1)
        return out

    assert (run(network(n, 0, n, ordered=True)) == np.sort(values, axis=1)).all()
    for first in range(n):
        for last in range(first + 1, n + 1):
            found, wanted = run(network(n, first, last)), np.sort(values, axis=1)
            assert (np.sort(found[:, first:last], axis=1) == wanted[:, first:last]).all()


def test_no_rows_of_memory_between_columns_are_needed() -> None:
    wide = np.random.default_rng(0).normal(size=(5, 64)).astype(np.float32)
    block = wide[:, 10:11]
    close(ranks.mean_of_ranks(block, 1, 4), naive_mean(block, 1, 4), block)
    assert ranks.mean_of_ranks(wide[:, :0], 1, 4).shape == (1, 0)


@pytest.mark.parametrize("n", [2, 3, 7, 16, 33, 50])
@pytest.mark.parametrize("ordered", [False, True])
def test_steps_by_fours_are_the_network(n: int, ordered: bool) -> None:
    for low, high in ((0, n), (n // 4, n - n // 4), ((n - 1) // 2, n // 2 + 1)):
        pairs = [tuple(pair) for pair in network(n, low, high, ordered).tolist()]
        steps = by_fours(n, low, high, ordered).tolist()
        run = [(step[one], step[other]) for step in steps for one, other in FOURS[step[4]]]
        assert sorted(run) == sorted(pairs)
        for row in range(n):  # every row meets the same others in the same order
            assert [pair for pair in run if row in pair] == [pair for pair in pairs if row in pair]
