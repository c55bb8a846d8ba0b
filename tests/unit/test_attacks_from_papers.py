"""Omniscient attacks against the papers' formulas, worked out plainly on small n and d."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from fedguard import InMemory
from fedguard.cli.listing import describe
from fedguard.defence import transform
from fedguard.errors import InvalidParameter
from fedguard_simulations.attacks import OMNISCIENT, min_max, min_sum

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
