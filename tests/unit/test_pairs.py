"""All pairs of rows in one pass are what a line of numpy each makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from fedguard_strategies.geometry import cosines, counted, squared_distances
from fedguard_strategies.pairs import closest


def gram_of(n: int) -> np.ndarray:
    rows = np.random.default_rng(n).normal(size=(n, 5)) + 1.0
    rows[n // 2] = 0.0
    rows[n // 3] = rows[0]
    return rows @ rows.T


@pytest.mark.parametrize("n", [1, 2, 7, 130])
def test_in_one_pass(n: int) -> None:
    gram = gram_of(n)
    squares = np.diagonal(gram)
    apart = np.maximum(squares[:, None] + squares[None, :] - 2.0 * gram, 0.0)
    np.fill_diagonal(apart, 0.0)
    assert (squared_distances(gram) == apart).all()
    assert (squared_distances(gram, slice(n // 2, n)) == apart[n // 2 :]).all()
    assert (squared_distances(np.asfortranarray(gram)) == apart).all()
    lengths = np.sqrt(squares)
    scale = np.divide(1.0, lengths, out=np.zeros(n), where=lengths > 0)
    assert (cosines(gram) == np.clip(gram * scale[:, None] * scale, -1.0, 1.0)).all()
    own, others = gram.mean(axis=1), gram.mean(axis=0) / 2
    likeness = (gram - own[:, None] - others) * scale[:, None] * scale
    np.fill_diagonal(likeness, -1.0)
    assert (closest(gram, own, others, scale) == np.maximum(likeness.max(axis=1), -1.0)).all()


def test_a_wild_row_stays_wild() -> None:
    gram = gram_of(7)
    gram[2] = gram[:, 2] = np.nan
    assert np.isnan(squared_distances(gram)[2, [0, 1, 3]]).all()
    assert np.isfinite(squared_distances(gram)[0, [1, 3, 4]]).all()
    assert np.isnan(cosines(gram)[0, 2])


def test_those_that_count() -> None:
    gram, among = gram_of(6), np.array([True, False, True, True, False, True])
    assert (counted(gram, among) == gram[np.ix_(among, among)]).all()
    assert counted(gram, np.ones(6, bool)) is gram
