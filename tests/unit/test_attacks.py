"""Omniscient attacks against the published formulas, and behaviours against their words."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from counting import count_passes

from fedguard import InMemory, chain, passes
from fedguard.defence import initial_state, transform
from fedguard.errors import InvalidParameter
from fedguard.probes import Context
from fedguard_clients import (
    ATTACKS,
    Examples,
    backdoor,
    free_rider,
    gaussian_noise,
    honest,
    label_flip,
    on_off,
    scaled_negation,
    sign_flip,
    slow_ramp,
    whitewash,
)
from fedguard_simulations.attacks import (
    OMNISCIENT,
    a_little_is_enough,
    inner_product_manipulation,
    jittered,
    mimic,
    min_max,
    slander,
    sybil,
)
from fedguard_simulations.attacks.a_little_is_enough import largest_z
from fedguard_strategies import norm_clipping


@pytest.fixture
def rows() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(12, 40)) + 0.3


def crafted(attack, rows: np.ndarray) -> np.ndarray:
    return transform(attack, InMemory(rows, block_columns=7))[0]


def test_alie_is_mean_minus_z_standard_deviations(rows: np.ndarray) -> None:
    by_hand = rows.mean(axis=0) - 1.5 * rows.std(axis=0)
    assert crafted(a_little_is_enough(3, z=1.5), rows) == pytest.approx(np.stack([by_hand] * 3))


def test_alie_z_of_the_papers_example() -> None:
    # n=50, f=24: s = 26 - 24 = 2 supporters, so the z of 24/26 of the normal distribution
    assert largest_z(50, 24) == pytest.approx(1.4261, abs=1e-4)
    default = crafted(a_little_is_enough(24), np.random.default_rng(0).normal(size=(26, 3)))
    rows = np.random.default_rng(0).normal(size=(26, 3))
    np.testing.assert_allclose(
        default, [rows.mean(axis=0) - largest_z(50, 24) * rows.std(axis=0)] * 24
    )


def test_ipm_is_minus_epsilon_mean(rows: np.ndarray) -> None:
    assert crafted(inner_product_manipulation(2, epsilon=0.7), rows) == pytest.approx(
        np.stack([-0.7 * rows.mean(axis=0)] * 2)
    )


def test_min_max_is_the_largest_gamma_by_bisection(rows: np.ndarray) -> None:
    limit = max(np.linalg.norm(one - other) for one in rows for other in rows)
    low, high = 0.0, 100.0
    for _ in range(80):
        middle = (low + high) / 2
        wild = rows.mean(axis=0) - middle * rows.std(axis=0)
        near = np.linalg.norm(rows - wild, axis=1).max() <= limit
        low, high = (middle, high) if near else (low, middle)
    by_hand = rows.mean(axis=0) - low * rows.std(axis=0)
    assert crafted(min_max(2), rows) == pytest.approx(np.stack([by_hand] * 2))
    assert low > 0.5


def test_a_statistic_that_does_not_follow_linear_stages_costs_a_pass(
    rows: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = count_passes(monkeypatch)
    both = chain(norm_clipping(100.0), min_max(2))
    assert crafted(both, rows) == pytest.approx(crafted(min_max(2), rows))
    assert passes(both) == 3
    assert len(seen) == 3 + 2


def test_min_max_without_spread_is_the_mean() -> None:
    assert crafted(min_max(1), np.ones((4, 3))).tolist() == [[1, 1, 1]]


def test_mimic_copies_one_honest_row_and_stays_with_it(rows: np.ndarray) -> None:
    rows[:, 0] = 60.0 * (-1.0) ** np.arange(len(rows))  # the widest direction
    rows[7, 0], rows[4, :2] = -90, (0, 95)  # farthest along it, and the longest row
    copies, state, _ = transform(mimic(3), InMemory(rows))
    assert np.linalg.norm(rows, axis=1).argmax() == 4
    assert copies.tolist() == [rows[7].tolist()] * 3
    rows[2] *= 50
    again, state, _ = transform(mimic(3), InMemory(rows), state)
    assert again.tolist() == [rows[7].tolist()] * 3
    names = tuple(str(i) for i in range(len(rows)) if i != 7)
    context = Context.of_rows(len(names))._replace(clients=names)
    others, state, _ = transform(
        mimic(3), InMemory(np.delete(rows, 7, axis=0)), state, None, context
    )
    assert others.tolist() == [rows[2].tolist()] * 3  # it took no part: that round's farthest
    names = (*names[::-1], "7")
    context = Context.of_rows(len(names))._replace(clients=names)
    back, _, _ = transform(mimic(3), InMemory(rows[[*map(int, names)]]), state, None, context)
    assert back.tolist() == [rows[7].tolist()] * 3


def test_jitter_makes_no_two_alike_and_keeps_the_aim() -> None:
    honest = np.random.default_rng(0).normal(size=(12, 5000))
    attack = chain(inner_product_manipulation(4, epsilon=2), jittered(scale=0.1))
    rows, state, _ = transform(attack, InMemory(honest))
    aim = -2 * honest.mean(axis=0)
    assert (rows / aim).mean() == pytest.approx(1, abs=0.01)
    assert (rows / aim).std() == pytest.approx(0.1, rel=0.05)
    assert np.corrcoef(rows - aim)[np.triu_indices(4, 1)] == pytest.approx(0, abs=0.06)
    again, _, _ = transform(attack, InMemory(honest), state)
    assert not np.isclose(again, rows).any(axis=1).all()
    assert transform(attack, InMemory(honest))[0].tobytes() == rows.tobytes()


@pytest.mark.parametrize("factory", OMNISCIENT)
def test_attackers_are_counted(factory) -> None:
    with pytest.raises(InvalidParameter):
        factory(0)


@pytest.mark.parametrize("factory", [*ATTACKS, *OMNISCIENT], ids=lambda each: each.__name__)
def test_every_attack_names_its_source(factory) -> None:
    assert "Source: " in (inspect.getdoc(factory) or "")
    assert factory.__name__ in (factory(2) if factory in OMNISCIENT else factory()).name


TEN = Examples(np.zeros((3, 8, 8), np.float32), np.zeros(3, np.int64), 10)
DELTA = np.array([1.0, -2.0, 2.0], np.float32)


@pytest.mark.parametrize(
    ("behaviour", "sent"),
    [
        (sign_flip(), [-1, 2, -2]),
        (scaled_negation(3), [-3, 6, -6]),
        (backdoor(boost=4), [4, -8, 8]),
    ],
)
def test_crafted_updates(behaviour, sent: list[float]) -> None:
    out = behaviour.craft(DELTA, 1, np.random.default_rng(0))
    assert out.tolist() == sent
    assert out.dtype == np.float32


def test_noise_has_the_length_asked_for_and_a_seed() -> None:
    craft = gaussian_noise(scale=5).craft
    assert craft
    noise = craft(np.ones(1000, np.float32), 1, np.random.default_rng(1))
    assert np.linalg.norm(noise) == pytest.approx(5 * 1000**0.5, rel=1e-4)
    again = craft(np.ones(1000, np.float32), 1, np.random.default_rng(1))
    assert noise.tobytes() == again.tobytes()
    lazy = free_rider(noise=0.01)
    assert not lazy.trains
    assert lazy.craft
    assert (
        0 < np.abs(lazy.craft(np.zeros(100, np.float32), 1, np.random.default_rng(0))).max() < 0.1
    )


def test_label_flip_and_backdoor_poison_copies() -> None:
    x, y = np.zeros((200, 8, 8), np.float32), np.arange(200) % 10
    examples, rng = Examples(x, y, 10), np.random.default_rng(0)
    flipped = label_flip().poison(examples, rng)
    assert flipped.y.tolist() == (9 - y).tolist()
    marked = backdoor(target=3, fraction=0.5, size=2).poison(examples, rng)
    stamped = marked.x[:, -2:, -2:].min(axis=(1, 2)) == 1
    assert 70 < stamped.sum() < 130
    assert (marked.y[stamped] == 3).all()
    assert (marked.y[~stamped] == y[~stamped]).all()
    assert marked.x[:, :6].max() == 0
    assert x.max() == 0
    assert (y == np.arange(200) % 10).all()
    assert honest().poison(examples, rng) is examples


@pytest.mark.parametrize(
    "make",
    [
        lambda: scaled_negation(0),
        lambda: gaussian_noise(-1),
        lambda: free_rider(-1e-3),
        lambda: backdoor(fraction=0),
        lambda: backdoor(size=0),
        lambda: backdoor(target=-1),
        lambda: backdoor(target=10).poison(TEN, np.random.default_rng(0)),
        lambda: backdoor(size=5).poison(TEN, np.random.default_rng(0)),
    ],
)
def test_bad_parameters(make) -> None:
    with pytest.raises(InvalidParameter):
        make()


def factors(behaviour, rounds: range) -> list[float]:
    """What an update of one becomes in each round."""
    one = np.ones(3, np.float32)
    return [float(behaviour.craft(one, r, np.random.default_rng(0))[0]) for r in rounds]


def test_on_off_behaves_then_attacks_and_again() -> None:
    assert factors(on_off(scale=10, on=2, off=3), range(1, 11)) == [1, 1, 1, -10, -10] * 2


def test_a_slow_ramp_turns_little_by_little() -> None:
    sent = factors(slow_ramp(scale=9, rounds=10), range(1, 14))
    assert sent == pytest.approx([1 - min(r, 10) for r in range(1, 14)])


def test_whitewashing_is_scaled_negation_under_new_names() -> None:
    assert whitewash().renames
    assert not scaled_negation().renames
    assert factors(whitewash(scale=3), range(1, 3)) == [-3, -3]


def sent_by(stage, honest, rounds: int = 1):
    """What an attack sends in the last of some rounds of the same honest rows."""
    state = initial_state(stage)
    for _ in range(rounds):
        rows, state, _ = transform(stage, InMemory(honest), state)
    return rows


def test_sybils_share_an_aim_and_no_two_are_copies() -> None:
    honest = np.random.default_rng(0).normal(1.0, 0.5, size=(12, 4000))
    rows = sent_by(sybil(f=5, epsilon=2, noise=1), honest)
    aim = -2 * honest.mean(axis=0)
    np.testing.assert_allclose(rows.mean(axis=0), aim, atol=5 * 0.5 / 5**0.5)
    own = rows - aim
    np.testing.assert_allclose(own.std(axis=1), 0.5, rtol=0.1)
    alike = np.corrcoef(own) - np.eye(5)
    assert np.abs(alike).max() < 0.1
    assert not np.array_equal(rows, sent_by(sybil(f=5, epsilon=2, noise=1), honest, 2))
    assert np.array_equal(rows, sent_by(sybil(f=5, epsilon=2, noise=1), honest))


def test_slanderers_copy_the_victim_and_pull_away_from_it() -> None:
    honest = np.random.default_rng(0).normal(size=(12, 500))
    honest[7] *= 6
    rows = sent_by(slander(f=4, noise=0), honest)
    mean = honest.mean(axis=0)
    np.testing.assert_allclose(rows[:2], np.stack([honest[7]] * 2))
    np.testing.assert_allclose(rows[2:], np.stack([2 * mean - honest[7]] * 2))


@pytest.mark.parametrize(
    "make",
    [
        lambda: on_off(on=0),
        lambda: slow_ramp(rounds=0),
        lambda: whitewash(scale=0),
        lambda: sybil(f=3, epsilon=0),
        lambda: slander(f=3, noise=-1),
    ],
)
def test_bad_parameters_of_attacks_on_memory(make) -> None:
    with pytest.raises(InvalidParameter):
        make()
