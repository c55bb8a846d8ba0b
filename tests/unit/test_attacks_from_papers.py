"""Omniscient attacks against the papers' formulas, worked out plainly on small n and d."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from fedguard import InMemory
from fedguard.cli.listing import describe
from fedguard.defence import transform
from fedguard.errors import InvalidParameter, MissingVector, TooFewUpdates
from fedguard.probes import Context
from fedguard_simulations.attacks import (
    OMNISCIENT,
    WHITE_BOXES,
    decorrelated,
    fang_krum,
    fang_trimmed_mean,
    hybrid_sparse,
    min_max,
    min_sum,
    relocated_orthogonal_perturbation,
)
from fedguard_simulations.attacks.a_little_is_enough import largest_z

PERTURBATIONS = {
    "inverse_std": lambda rows: -rows.std(axis=0),
    "inverse_sign": lambda rows: -np.sign(rows.mean(axis=0)),
    "inverse_unit_vector": lambda rows: -rows.mean(axis=0) / np.linalg.norm(rows.mean(axis=0)),
}


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(12, 40)) * 0.5 + 0.3


def around(model: np.ndarray, n: int = 12) -> Context:
    """A round that starts from a global model."""
    return Context.of_rows(n)._replace(vectors={"model": model})


def sent(attack, rows: np.ndarray, columns: int = 7) -> np.ndarray:
    """What an attack makes of the honest rows in its first round."""
    model = np.random.default_rng(9).normal(size=rows.shape[1]).astype(rows.dtype)
    context = around(model, len(rows))
    return transform(attack, InMemory(rows, block_columns=columns), context=context)[0]


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


def rop_of(rows: np.ndarray, centre: np.ndarray | None, z, angle, reference, location):
    """The published formula, its z times the honest spread."""
    mean = rows.mean(axis=0)
    towards = mean if centre is None else reference * centre + (1 - reference) * mean
    ones = np.ones_like(mean)
    aside = ones - (ones @ towards) / (towards @ towards) * towards
    aside, along = aside / np.linalg.norm(aside), towards / np.linalg.norm(towards)
    push = np.sin(np.radians(angle)) * aside + np.cos(np.radians(angle)) * along
    spread = np.mean([np.linalg.norm(row - mean) ** 2 for row in rows]) ** 0.5
    start = location * (0 if centre is None else centre) + (1 - location) * mean
    return start + z * spread * push / np.linalg.norm(push)


@pytest.mark.parametrize(
    ("z", "angle", "reference", "location"),
    [(1.0, 90.0, 0.9, 1.0), (0.3, 180.0, 0.9, 0.0), (2.0, 60.0, 0.0, 0.5), (1.0, 90.0, 1.0, 0.0)],
)
def test_rop_pushes_away_from_the_last_aggregate(z, angle, reference, location, rows) -> None:
    attack = relocated_orthogonal_perturbation(2, z, angle, reference, location)
    rng, served = np.random.default_rng(3), np.zeros(40)  # the server writes over its model
    state, centre = None, None
    for round_number in range(3):
        centre = rng.normal(size=40)
        served += centre
        wild, state, _ = transform(attack, InMemory(rows, 7), state, context=around(served))
        seen = centre if round_number else None
        by_hand = rop_of(rows, seen, z, angle, reference, location)
        assert wild == pytest.approx(np.stack([by_hand] * 2))
    if angle == 90 and reference == 1:
        mean = rows.mean(axis=0)
        assert (wild[0] - mean) @ centre == pytest.approx(0, abs=1e-9)


def test_rop_needs_the_global_model() -> None:
    with pytest.raises(MissingVector, match="model"):
        transform(relocated_orthogonal_perturbation(2), InMemory(np.eye(4)))


def test_rop_where_there_is_no_plane() -> None:
    ones = np.ones((3, 5))
    assert np.isfinite(sent(relocated_orthogonal_perturbation(2), ones)).all()
    assert np.isfinite(sent(relocated_orthogonal_perturbation(2), 0 * ones)).all()


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ({"z": 0}, "z must be positive, got 0"),
        ({"angle": 0}, r"angle must lie in \(0, 180\], got 0"),
        ({"reference": 2}, r"reference must lie in \[0, 1\], got 2"),
        ({"location": -1}, r"location must lie in \[0, 1\], got -1"),
    ],
)
def test_bad_parameters_of_rop(bad: dict[str, float], told: str) -> None:
    with pytest.raises(InvalidParameter, match=told):
        relocated_orthogonal_perturbation(2, **bad)


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 1.0])
def test_hybrid_sparse_hits_the_most_sensitive_weights(share: float) -> None:
    rng = np.random.default_rng(1)
    rows, model = rng.normal(size=(8, 3000)), rng.normal(size=3000)
    context = around(model, 8)
    attack = hybrid_sparse(2, share=share, scale=4.0, z=0.5)
    wild, _, _ = transform(attack, InMemory(rows, 70), context=context)
    mean, std = rows.mean(axis=0), rows.std(axis=0)
    hit = np.isclose(wild[0], mean - 4.0 * std)
    assert wild[0][~hit] == pytest.approx((mean - 0.5 * std)[~hit])
    assert wild[1].tolist() == wild[0].tolist()
    ranked = np.argsort(-np.abs(model * mean))
    assert 3000 * share <= hit.sum() <= 3000 * share * 1.1 + 10
    assert set(np.flatnonzero(hit)) == set(ranked[: hit.sum()])


def test_hybrid_sparse_never_takes_dead_weights_for_sensitive() -> None:
    rows = np.random.default_rng(1).normal(size=(8, 100))
    model = np.zeros(100)
    model[:3] = 1.0
    attack = hybrid_sparse(1, share=0.5, scale=4.0)
    wild, _, _ = transform(attack, InMemory(rows), context=around(model, 8))
    away = (rows.mean(axis=0) - wild[0]) / rows.std(axis=0)
    assert away[:3] == pytest.approx(np.full(3, 4.0))
    assert away[3:] == pytest.approx(np.full(97, largest_z(9, 1)))


@pytest.mark.parametrize("bad", [{"share": 0}, {"share": 1.1}, {"scale": 0}])
def test_bad_parameters_of_hybrid_sparse(bad: dict[str, float]) -> None:
    with pytest.raises(InvalidParameter, match="must"):
        hybrid_sparse(2, **bad)


def test_decorrelated_noises_are_orthogonal_and_of_the_honest_spread() -> None:
    honest = np.random.default_rng(0).normal(1.0, np.linspace(0.1, 2, 4000), size=(12, 4000))
    wild = sent(decorrelated(6, pull=1.5), honest, columns=1000)
    own = wild + 1.5 * honest.mean(axis=0)
    products = own @ own.T
    lengths = np.sqrt(np.diagonal(products))
    assert np.abs(products / np.outer(lengths, lengths) - np.eye(6)).max() < 1e-9
    spread = np.sqrt(((honest - honest.mean(axis=0)) ** 2).sum(axis=1).mean())
    assert lengths == pytest.approx(np.full(6, spread), rel=0.05)
    by_coordinate = np.abs(own).mean(axis=0) / honest.std(axis=0)
    assert by_coordinate[:2000].mean() == pytest.approx(by_coordinate[2000:].mean(), rel=0.05)


def test_decorrelated_colluders_are_as_alike_as_the_honest() -> None:
    honest = np.random.default_rng(0).normal(0.5, 1.0, size=(16, 20000))
    wild = sent(decorrelated(8), honest, columns=4000)

    def alike(rows: np.ndarray) -> np.ndarray:
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return (unit @ unit.T)[np.triu_indices(len(rows), 1)]

    assert alike(honest).mean() > 0.15
    assert alike(wild).mean() == pytest.approx(alike(honest).mean(), abs=0.05)
    assert np.ptp(alike(wild)) < np.ptp(alike(honest))
    assert wild.mean() == pytest.approx(-honest.mean(), abs=0.01)


def test_decorrelated_draws_anew_every_round(rows: np.ndarray) -> None:
    first, state, _ = transform(decorrelated(3), InMemory(rows))
    second, _, _ = transform(decorrelated(3), InMemory(rows), state)
    assert not np.allclose(first, second)
    assert not np.allclose(first, sent(decorrelated(3, seed=1), rows))
    assert np.isfinite(sent(decorrelated(5), rows[:, :3], columns=3)).all()


@pytest.mark.parametrize("factory", WHITE_BOXES, ids=lambda each: each.__name__)
def test_every_white_box_says_what_it_knows_and_may_change(factory) -> None:
    told = describe(factory)
    assert "server" in told["knows"]
    assert told["budget"].startswith("f updates a round")
    assert "Source: " in inspect.getdoc(factory)


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


COORDINATE_WISE = ("a_little_is_enough", "fang_trimmed_mean", "sybil", "hybrid_sparse")


@pytest.mark.parametrize(
    "attack",
    [each for each in ATTACKS if each.name.startswith(COORDINATE_WISE)],
    ids=lambda each: each.name,
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_plans_on_no_sums_has_the_same_bits_for_any_cut(attack, dtype, rows) -> None:
    honest = rows.astype(dtype)
    whole = sent(attack, honest, columns=40).tobytes()
    for columns in (2, 8, 16):
        assert sent(attack, honest, columns).tobytes() == whole


@every_attack
def test_any_column_cut(attack, rows: np.ndarray) -> None:
    whole = sent(attack, rows, columns=40)
    for columns in (2, 7, 16):
        assert sent(attack, rows, columns) == pytest.approx(whole, rel=1e-9, abs=1e-9)
