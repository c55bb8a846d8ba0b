"""Omniscient attacks against the papers' formulas, worked out plainly on small n and d."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from fedguard import InMemory
from fedguard.cli.listing import describe
from fedguard.defence import transform
from fedguard.errors import InvalidParameter, TooFewUpdates
from fedguard_simulations.attacks import (
    OMNISCIENT,
    fang_krum,
    fang_trimmed_mean,
    min_max,
    min_sum,
)

PERTURBATIONS = {
    "inverse_std": lambda rows: -rows.std(axis=0),
    "inverse_sign": lambda rows: -np.sign(rows.mean(axis=0)),
    "inverse_unit_vector": lambda rows: -rows.mean(axis=0) / np.linalg.norm(rows.mean(axis=0)),
}


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(12, 40)) * 0.5 + 0.3


def sent(attack, rows: np.ndarray, columns: int = 7) -> np.ndarray:
    return transform(attack, InMemory(rows, block_columns=columns))[0]


def bisected(fits) -> float:
    """The largest number for which `fits` holds, which it does up to that and not beyond."""
    low, high = 0.0, 1000.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
def test_min_max_by_bisection(perturbation: str, rows: np.ndarray) -> None:
    mean, along = rows.mean(axis=0), PERTURBATIONS[perturbation](rows)
    limit = max(np.linalg.norm(one - other) for one in rows for other in rows)
    gamma = bisected(lambda g: np.linalg.norm(mean + g * along - rows, axis=1).max() <= limit)
    assert gamma > 0.1
    wild = sent(min_max(3, perturbation), rows)
    assert wild == pytest.approx(np.stack([mean + gamma * along] * 3))


@pytest.mark.parametrize("perturbation", PERTURBATIONS)
def test_min_sum_by_bisection(perturbation: str, rows: np.ndarray) -> None:
    mean, along = rows.mean(axis=0), PERTURBATIONS[perturbation](rows)
    limit = max(((one - rows) ** 2).sum() for one in rows)
    gamma = bisected(lambda g: ((mean + g * along - rows) ** 2).sum() <= limit)
    assert gamma > 0.1
    wild = sent(min_sum(3, perturbation), rows)
    assert wild == pytest.approx(np.stack([mean + gamma * along] * 3))


@pytest.mark.parametrize("factory", [min_max, min_sum])
@pytest.mark.parametrize("perturbation", PERTURBATIONS)
def test_without_spread_or_mean_nothing_is_pushed(factory, perturbation: str) -> None:
    same = np.ones((4, 3))
    assert sent(factory(2, perturbation), same) == pytest.approx(np.ones((2, 3)))
    assert sent(factory(2, perturbation), 0 * same).tolist() == np.zeros((2, 3)).tolist()


def test_perturbations_have_the_papers_names() -> None:
    assert min_max(4).name == "min_max(f=4)"
    assert min_sum(4, "inverse_sign").name == "min_sum(f=4, perturbation='inverse_sign')"
    with pytest.raises(InvalidParameter, match=r"one of \['inverse_std', .* got 'std'"):
        min_max(4, perturbation="std")


def krum_of(rows: np.ndarray, f: int) -> int:
    """Which row Krum picks: the least sum of squared distances to its n - f - 2 nearest."""
    sums = []
    for i, row in enumerate(rows):
        others = [((row - each) ** 2).sum() for j, each in enumerate(rows) if j != i]
        sums.append(sum(sorted(others)[: len(rows) - f - 2]))
    return int(np.argmin(sums))


def fang_strength(honest: np.ndarray, f: int) -> tuple[np.ndarray, float, int]:
    """Direction, strength and number of halvings, on whole models around a global one."""
    d, m, c = honest.shape[1], len(honest) + f, f
    direction = np.sign(honest[krum_of(honest, f)])
    nearest = []
    for i, row in enumerate(honest):
        others = [((row - each) ** 2).sum() for j, each in enumerate(honest) if j != i]
        nearest.append(sum(sorted(others)[: m - c - 2]))
    longest = max(np.linalg.norm(row) for row in honest)
    strength = (min(nearest) / ((m - 2 * c - 1) * d)) ** 0.5 + longest / d**0.5
    for halvings in range(50):
        if krum_of(np.vstack([[-strength * direction] * f, honest]), f) < f:
            return direction, strength, halvings
        strength /= 2
    raise AssertionError("never picked")


@pytest.mark.parametrize(("n", "f", "spread"), [(12, 3, 0.5), (9, 2, 2.0), (16, 8, 1.0)])
def test_fang_krum_is_the_bound_halved_until_krum_picks_it(n: int, f: int, spread: float) -> None:
    honest = np.random.default_rng(n).normal(size=(n, 30)) * spread + 0.3
    direction, strength, halvings = fang_strength(honest, f)
    wild = sent(fang_krum(f), honest)
    assert wild == pytest.approx(np.stack([-strength * direction] * f))
    assert halvings > 0
    assert krum_of(np.vstack([wild, honest]), f) < f


def test_fang_krum_gives_up_near_the_global_model() -> None:
    honest = np.random.default_rng(0).normal(size=(16, 30)) * 0.01 + 0.3
    wild = sent(fang_krum(4), honest)
    assert 0 < np.abs(wild).max() < 1e-5
    assert krum_of(np.vstack([wild, honest]), 4) >= 4


def test_fang_krum_leaves_what_does_not_move() -> None:
    honest = np.random.default_rng(0).normal(size=(8, 6))
    honest[:, 2] = 0.0
    assert (sent(fang_krum(2), honest)[:, 2] == 0).all()
    assert sent(fang_krum(2), 0 * honest).tolist() == np.zeros((2, 6)).tolist()


def test_fang_krum_needs_enough_to_see() -> None:
    with pytest.raises(TooFewUpdates, match=r"f \+ 3 honest"):
        sent(fang_krum(4), np.eye(6))


def test_fang_trimmed_mean_draws_in_the_papers_intervals() -> None:
    centre = np.array([3.0, -3.0, 0.5, -0.5] * 500)  # all on one side, or on both
    honest = np.random.default_rng(1).uniform(-1, 1, size=(9, 2000)) + centre
    wild = sent(fang_trimmed_mean(5), honest)
    for j in range(2000):
        low, high = honest[:, j].min(), honest[:, j].max()
        if honest[:, j].mean() > 0:
            ends = (low / 2, low) if low > 0 else (2 * low, low)
        else:
            ends = (high, 2 * high) if high > 0 else (high, high / 2)
        assert (wild[:, j] >= ends[0]).all()
        assert (wild[:, j] <= ends[1]).all()
    # all over them: between the lowest and half of it
    places = np.abs(wild[:, ::4] - honest.min(axis=0)[::4]) / (honest.min(axis=0)[::4] / 2)
    assert places.min() < 0.02
    assert places.max() > 0.98
    assert places.mean() == pytest.approx(0.5, abs=0.02)


def test_fang_trimmed_mean_draws_anew_for_each_attacker_round_and_seed(rows: np.ndarray) -> None:
    attack = fang_trimmed_mean(2)
    first, state, _ = transform(attack, InMemory(rows))
    second, _, _ = transform(attack, InMemory(rows), state)
    other = sent(fang_trimmed_mean(2, seed=1), rows)
    seen = {each.tobytes() for each in (*first, *second, *other)}
    assert len(seen) == 6
    with pytest.raises(InvalidParameter, match="b must be above 1, got 1"):
        fang_trimmed_mean(2, b=1)


@pytest.mark.parametrize("factory", OMNISCIENT, ids=lambda each: each.__name__)
def test_every_omniscient_attack_says_what_it_knows_and_may_change(factory) -> None:
    told = describe(factory)
    assert told["knows"].startswith("every honest update of the round")
    assert told["budget"].startswith("f updates a round")
    assert "written" in told
    assert "Source: " in inspect.getdoc(factory)


@pytest.mark.parametrize("factory", OMNISCIENT, ids=lambda each: each.__name__)
@pytest.mark.parametrize("f", [0, -1])
def test_f_is_at_least_one(factory, f: int) -> None:
    with pytest.raises(InvalidParameter, match=str(f)):
        factory(f)


ATTACKS = [
    *(factory(3, perturbation) for factory in (min_max, min_sum) for perturbation in PERTURBATIONS),
    *(factory(3) for factory in OMNISCIENT if factory not in (min_max, min_sum)),
]
every_attack = pytest.mark.parametrize("attack", ATTACKS, ids=lambda each: each.name)


@every_attack
def test_f_rows_of_the_honest_kind(attack, rows: np.ndarray) -> None:
    for dtype in (np.float32, np.float64):
        honest = rows.astype(dtype)
        before = honest.tobytes()
        wild = sent(attack, honest)
        assert wild.shape == (3, 40)
        assert wild.dtype == dtype
        assert np.isfinite(wild).all()
        assert honest.tobytes() == before
        assert wild.tobytes() == sent(attack, honest).tobytes()


@every_attack
def test_any_column_cut(attack, rows: np.ndarray) -> None:
    whole = sent(attack, rows, columns=40)
    for columns in (2, 7, 16):
        assert sent(attack, rows, columns) == pytest.approx(whole, rel=1e-9, abs=1e-9)
