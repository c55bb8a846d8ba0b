"""Values worked by hand from the papers' definitions."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import fedguard_strategies as rules
from fedguard import InMemory, aggregate, chain
from fedguard.defence import transform
from fedguard.errors import TooFewUpdates
from fedguard_strategies.caf import caf_weights
from fedguard_strategies.krum import krum_scores


def vector(defence, rows) -> list[float]:
    return aggregate(defence, np.array(rows, np.float64)).vector.tolist()


def left(defence, rows) -> np.ndarray:
    return transform(defence, InMemory(np.array(rows, np.float64)))[0]


LINE = [[0.0], [1.0], [2.0], [3.0], [100.0]]


def test_mean() -> None:
    assert vector(rules.mean(), [[1.0, 5.0], [3.0, 7.0]]) == [2.0, 6.0]


def test_norm_clipping_scales_down_and_never_up() -> None:
    assert left(rules.norm_clipping(1.0), [[3.0, 4.0], [0.3, 0.4]]) == pytest.approx(
        np.array([[0.6, 0.8], [0.3, 0.4]])
    )


def test_clip_by_median_norm() -> None:
    # norms 1, 2, 10: the median is 2
    assert left(rules.clip_by_median_norm(), [[1.0], [2.0], [10.0]]).ravel() == pytest.approx(
        [1, 2, 2]
    )


def test_arc_clips_k_to_the_next() -> None:
    # n=5, f=1: k = floor(2/5 * 4) = 1, so the longest goes down to the second longest
    assert left(rules.arc(1), LINE).ravel() == pytest.approx([0, 1, 2, 3, 3])
    # n=5, f=2: k = floor(4/5 * 3) = 2
    assert left(rules.arc(2), LINE).ravel() == pytest.approx([0, 1, 2, 2, 2])


def test_trimmed_mean() -> None:
    assert vector(rules.trimmed_mean(1), LINE) == [2.0]  # (1 + 2 + 3) / 3


def test_coordinate_median_of_odd_and_even() -> None:
    assert vector(rules.coordinate_median(), LINE) == [2.0]
    assert vector(rules.coordinate_median(), LINE[:4]) == [1.5]


def test_mean_around_median() -> None:
    # median 2; the 4 nearest are 2, 1, 3, 0
    assert vector(rules.mean_around_median(1), LINE) == [1.5]
    # median 2.5 of 0, 1, 4, 9: distances 2.5, 1.5, 1.5, 6.5; f=1 keeps 1, 4 and 0
    assert vector(rules.mean_around_median(1), [[9.0], [4.0], [1.0], [0.0]]) == [
        pytest.approx(5 / 3)
    ]


def test_krum_sums_over_n_minus_f_minus_two_neighbours() -> None:
    # n=6, f=1: 3 neighbours. squares of the distances, nearest first:
    #   0.0: 1, 4, 16 = 21    1.0: 1, 1, 9 = 11    2.0: 1, 4, 4 = 9
    #   4.0: 4, 9, 16 = 29    100 and 104 are far
    rows = [[0.0], [1.0], [2.0], [4.0], [100.0], [104.0]]
    assert vector(rules.krum(1), rows) == [2.0]
    assert krum_scores(np.array(rows) @ np.array(rows).T, 1)[:4].tolist() == [21, 11, 9, 29]


def test_krum_with_four_neighbours_would_choose_otherwise() -> None:
    # n=5, f=1: 2 neighbours.  0.0: 1+9=10   1.0: 1+4=5   3.0: 4+4=8   5.0: 4+16=20
    rows = [[0.0], [1.0], [3.0], [5.0], [-10.0]]
    assert vector(rules.krum(1), rows) == [1.0]
    # over n - f - 1 = 3 neighbours the sums would be 35, 21, 17: and 3.0 would win


def test_multi_krum_averages_the_best_and_defaults_to_n_minus_f() -> None:
    rows = [[0.0], [1.0], [2.0], [4.0], [100.0], [104.0]]
    assert vector(rules.multi_krum(1, m=2), rows) == [1.5]  # scores 9 and 11: rows 2 and 1
    assert vector(rules.multi_krum(1), rows) == [pytest.approx((0 + 1 + 2 + 4 + 100) / 5)]


def test_multi_krum_never_averages_more_than_n_minus_f() -> None:
    with pytest.raises(TooFewUpdates, match=r"n >= f \+ m"):
        vector(rules.multi_krum(4, m=17), np.eye(20))
    assert len(vector(rules.multi_krum(4, m=16), np.eye(20))) == 20


def test_geometric_median_of_a_triangle_with_an_obtuse_corner_is_that_corner() -> None:
    # an angle of at least 120 degrees: the Fermat point is the corner itself
    rows = [[0.0, 0.0], [10.0, 1.0], [-10.0, 1.0]]
    assert vector(rules.geometric_median(iterations=5000), rows) == pytest.approx([0, 0], abs=1e-3)


def test_geometric_median_of_an_equilateral_triangle_is_its_centre() -> None:
    rows = [[0.0, 0.0], [2.0, 0.0], [1.0, 3.0**0.5]]
    assert vector(rules.geometric_median(), rows) == pytest.approx([1, 3**-0.5])


def test_nnm_mixes_each_row_with_its_nearest() -> None:
    # n=5, f=2: means of 3. 0: (0,1,2) 1: (0,1,2) 2: (1,2,3) 3: (1,2,3) 100: (2,3,100)
    assert left(rules.nnm(2), LINE).ravel() == pytest.approx([1, 1, 2, 2, 35])


def test_bucketing_averages_disjoint_buckets_and_draws_anew() -> None:
    defence = chain(rules.bucketing(2), rules.mean())
    buckets = left(rules.bucketing(2), LINE)
    assert len(buckets) == 3
    order = np.random.default_rng([0, 0]).permutation(5)
    by_hand = [np.mean([LINE[i][0] for i in order[k : k + 2]]) for k in (0, 2, 4)]
    assert buckets.ravel() == pytest.approx(by_hand)
    first = aggregate(defence, np.array(LINE))
    again = aggregate(defence, np.array(LINE), first.state)
    assert first.state[0] == 1
    assert first.vector[0] != again.vector[0]


def test_centred_clipping_moves_by_clipped_steps_and_remembers() -> None:
    # centre 0, tau 1: steps 0.5, 1, -1 give 0.5 / 3
    rows = np.array([[0.5], [4.0], [-9.0]])
    first = aggregate(rules.centred_clipping(1.0, iterations=1), rows)
    assert first.vector == pytest.approx([0.5 / 3])
    # from there: 1/3, 1, -1 more
    second = aggregate(rules.centred_clipping(1.0, iterations=1), rows, first.state)
    assert second.vector == pytest.approx([0.5 / 3 + (1 / 3) / 3])
    assert aggregate(rules.centred_clipping(1.0, iterations=2), rows).vector == pytest.approx(
        second.vector
    )


def test_caf_weighs_the_far_row_out() -> None:
    # 0,1,2,3,100 with f=1: mean 21.2, variance 1553.36; the squares (449.44, 408.04, 368.64,
    # 331.24, 6209.44) over the largest give weights .9276, .9343, .9406, .9467, 0 (sum 3.749 > 3).
    weights = 1 - np.array([449.44, 408.04, 368.64, 331.24, 6209.44]) / 6209.44
    mean = weights @ [0, 1, 2, 3, 100] / weights.sum()  # 1.5079; the variance is 1.2489
    # next: its farthest, 3, goes; 0.0, ... leave sum < 3, so the second mean is the answer
    assert vector(rules.caf(1), LINE) == [pytest.approx(mean)]
    assert mean == pytest.approx(1.5069, abs=2e-3)


def test_caf_ends_on_identical_colluders() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(20, 5))
    rows[:8] = 50.0  # more than n - 2f = 4 of them: their weight cannot be filtered
    assert np.isfinite(aggregate(rules.caf(8), rows).vector).all()


def test_caf_of_many_rows_is_that_of_a_dense_solver(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).normal(size=(100, 40)) * np.linspace(1, 3, 40)
    rows[:20] += 5.0
    by_products = caf_weights(rows @ rows.T, 20)
    monkeypatch.setattr(sys.modules[caf_weights.__module__], "FEW", 100)
    assert by_products == pytest.approx(caf_weights(rows @ rows.T, 20), abs=1e-12)
    assert by_products[:20].sum() < 0.02


@pytest.mark.parametrize("many", [7, 70])
@pytest.mark.parametrize("point", [[2.0, 3.0], [0.0, 0.0], [1e-30, 0.0]])
def test_rows_without_spread_give_that_row(point: list[float], many: int) -> None:
    arcs = chain(rules.arc(2), rules.nnm(2), rules.mean())
    for rule in (
        rules.caf(2),
        rules.krum(2),
        rules.geometric_median(),
        rules.trimmed_mean(2),
        arcs,
    ):
        assert vector(rule, [point] * many) == pytest.approx(point)
    assert vector(rules.geometric_median(), [[0.0]] * 4 + [[8.0]] * 3) == pytest.approx(
        [0], abs=1e-4
    )
