"""Products of rows of one block, compiled and by BLAS, however the block lies in memory."""

from __future__ import annotations

import numpy as np
import pytest

from fedguard.products import products, squares


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 11, 64, 65, 128, 129])
@pytest.mark.parametrize("columns", [0, 1, 5, 1023, 1025, 3000])
def test_products(n: int, columns: int, dtype: type) -> None:
    rng = np.random.default_rng(n + columns)
    rows = (rng.normal(size=(n, columns)) + 3.0).astype(dtype)
    wide = rows.astype(np.float64)
    exact = wide @ wide.T
    rounding = 1e-6 if dtype is np.float32 else 1e-14
    assert products(rows) == pytest.approx(exact, rel=rounding)
    assert products(rows).dtype == np.float64
    assert (products(rows) == products(rows).T).all()
    assert squares(rows) == pytest.approx(np.diagonal(exact), rel=rounding)


def test_rows_may_lie_in_any_way() -> None:
    rows = np.random.default_rng(0).normal(size=(7, 50))
    expected = products(rows).tobytes(), squares(rows).tobytes()
    wide = np.zeros((7, 100))
    wide[:, 3:53] = rows
    backwards = rows[::-1].copy()[::-1]
    for same in (np.asfortranarray(rows), wide[:, 3:53], backwards):
        assert (products(same).tobytes(), squares(same).tobytes()) == expected
    one = np.broadcast_to(rows[0], (7, 50))
    assert (products(one) == products(one)[0, 0]).all()
    assert products(one)[0, 0] == pytest.approx(squares(rows)[0], rel=1e-14)


def test_a_wild_value_shows_in_its_row_alone() -> None:
    rows = np.ones((5, 2000), np.float32)
    rows[2, 1500] = np.nan
    rows[3, 10] = np.inf
    assert np.isnan(squares(rows)).tolist() == [False, False, True, False, False]
    assert np.isfinite(np.diagonal(products(rows))).tolist() == [True, True, False, False, True]
