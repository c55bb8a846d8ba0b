"""Attacks through data and constrained training, against their published definitions."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from fedguard.errors import InvalidParameter
from fedguard_clients import (
    ATTACKS,
    Behaviour,
    Examples,
    backdoor,
    blended,
    constrain_and_scale,
    delta_free_rider,
    distributed_backdoor,
    dynamic_label_flip,
    edge_cases,
    free_rider,
    neurotoxin,
    projected_gradient_descent,
    targeted_label_flip,
)

IMAGES = Examples(
    np.random.default_rng(3).random((200, 8, 8), np.float32) * np.float32(0.5),
    np.arange(200) % 10,
    10,
)
STAMPED = [
    backdoor,
    blended,
    distributed_backdoor,
    constrain_and_scale,
    projected_gradient_descent,
    neurotoxin,
]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def poisoned(behaviour: Behaviour, examples: Examples = IMAGES) -> Examples:
    kept = examples.x.copy(), examples.y.copy()
    out = behaviour.poison(examples, rng())
    assert np.array_equal(examples.x, kept[0])
    assert np.array_equal(examples.y, kept[1])
    assert out.x.dtype == np.float32
    assert out.y.dtype == np.int64
    assert len(out.x) == len(out.y) == len(examples.y)
    return out


@pytest.mark.parametrize("factory", ATTACKS, ids=lambda each: each.__name__)
def test_every_behaviour_tells_what_it_knows_and_may_change(factory) -> None:
    lines = [line.split(":")[0] for line in (inspect.getdoc(factory) or "").splitlines()]
    assert {"Knows", "Budget", "Source"} <= set(lines)


def test_a_targeted_flip_touches_one_class() -> None:
    flip = targeted_label_flip(source=4, target=9)
    out = poisoned(flip)
    assert out.x is IMAGES.x
    assert (out.y[IMAGES.y == 4] == 9).all()
    others = IMAGES.y != 4
    assert np.array_equal(out.y[others], IMAGES.y[others])
    assert flip.trigger
    assert np.array_equal(flip.trigger.inputs(IMAGES), IMAGES.x[IMAGES.y == 4])
    assert flip.trigger.target == 9


def test_a_dynamic_flip_asks_the_model_each_round() -> None:
    flip = dynamic_label_flip()
    assert flip.relabel
    three = Examples(IMAGES.x[:3], IMAGES.y[:3], 3)
    first = flip.relabel(three, np.array([[0, 1, 2], [5, -1, 2], [1, 0.5, 0]], np.float32))
    assert first.y.tolist() == [0, 1, 2]
    assert first.y.dtype == np.int64
    again = flip.relabel(three, -np.eye(3, dtype=np.float32))
    assert again.y.tolist() == [0, 1, 2]
    assert three.y.tolist() == [0, 1, 2]
    assert flip.relabel(three, -np.eye(3, dtype=np.float32)[::-1]).y.tolist() == [2, 1, 0]


def test_a_blended_trigger_is_a_mixture_with_one_pattern() -> None:
    attack = blended(target=3, fraction=0.5, alpha=0.2, pattern=7)
    out = poisoned(attack)
    changed = (out.x != IMAGES.x).any(axis=(1, 2))
    assert 70 < changed.sum() < 130
    assert (out.y[changed] == 3).all()
    assert np.array_equal(out.y[~changed], IMAGES.y[~changed])
    keys = (out.x[changed] - 0.8 * IMAGES.x[changed]) / 0.2
    assert keys == pytest.approx(np.broadcast_to(keys[0], keys.shape), abs=1e-5)
    assert keys.min() == pytest.approx(0.05, abs=0.05)
    assert keys.max() == pytest.approx(0.95, abs=0.05)
    assert np.abs(out.x - IMAGES.x).max() <= 0.2
    assert attack.trigger
    assert len(attack.trigger.inputs(IMAGES)) == 180  # all but the target's own


def where_white(behaviour: Behaviour) -> set[tuple[int, int]]:
    """The pixels of the mark that the behaviour puts on its images."""
    out = poisoned(behaviour)
    return set(map(tuple, np.argwhere((out.x == 1).any(axis=0)).tolist()))


@pytest.mark.parametrize("attackers", [1, 2, 3, 4, 6])
def test_a_distributed_trigger_is_shared_out(attackers: int) -> None:
    attack = distributed_backdoor(size=3, gap=1)
    assert attack.share
    whole = where_white(attack)
    assert whole == {(row, column) for row in (0, 2) for column in (0, 1, 2, 4, 5, 6)}
    parts = [where_white(attack.share(index, attackers)) for index in range(attackers)]
    assert set().union(*parts) == whole
    assert sum(map(len, parts[:4])) == len(whole)
    assert {len(part) for part in parts} <= {1: {12}, 2: {6}, 3: {3, 6}}.get(attackers, {3})
    assert attack.share(0, attackers).trigger is attack.trigger
    assert attack.trigger
    stamped = attack.trigger.inputs(IMAGES)
    assert set(map(tuple, np.argwhere((stamped == 1).all(axis=0)).tolist())) == whole


def test_edge_cases_are_the_farthest_of_their_class() -> None:
    x = np.zeros((12, 2), np.float32)  # no images needed
    x[:6, 0] = [0.4, 0.5, 0.5, 0.5, 0.6, 1.0]
    y = np.array([2] * 6 + [1] * 6)
    attack = edge_cases(source=2, target=1, rare=0.3, fraction=0.5)
    assert attack.trigger
    edge = attack.trigger.inputs(Examples(x, y, 3))
    assert edge[:, 0].tolist() == pytest.approx([0.4, 1.0])  # the mean is 0.583
    out = poisoned(attack, Examples(x, y, 3))
    changed = (out.x != x).any(axis=1)
    assert changed.any()
    assert set(out.x[changed, 0].tolist()) <= set(edge[:, 0].tolist())
    assert (out.y[np.isin(out.x[:, 0], edge[:, 0])] == 1).all()
    kept = (out.x == x).all(axis=1) & ~np.isin(x[:, 0], edge[:, 0])
    assert np.array_equal(out.y[kept], y[kept])


def test_without_the_class_there_are_no_edge_cases() -> None:
    attack = edge_cases(source=2, target=1)
    alone = Examples(IMAGES.x, np.zeros(200, np.int64), 10)
    assert poisoned(attack, alone) is alone
    assert attack.trigger
    assert len(attack.trigger.inputs(alone)) == 0


def test_constrain_and_scale_descends_both_losses() -> None:
    before, gradient = np.array([1.0, -2.0, 0.5]), np.array([0.3, 0.1, -4.0])
    rate, alpha = 0.1, 0.7
    constrain = constrain_and_scale(alpha=alpha).constrain
    assert constrain
    by_hand = before - rate * (alpha * gradient + (1 - alpha) * 2 * before)
    assert constrain(before, before - rate * gradient, rate) == pytest.approx(by_hand)
    plain = constrain_and_scale(alpha=1).constrain
    assert plain
    assert plain(before, before - rate * gradient, rate) == pytest.approx(before - rate * gradient)


def test_pgd_stays_in_the_ball_even_boosted() -> None:
    attack = projected_gradient_descent(norm=2, boost=4)
    assert attack.constrain
    assert attack.craft
    inside, outside = np.array([0.3, 0.4], np.float32), np.array([3.0, 4.0], np.float32)
    assert attack.constrain(inside, inside, 0.1).tolist() == inside.tolist()
    projected = attack.constrain(inside, outside, 0.1)
    assert projected.tolist() == pytest.approx([0.3, 0.4])
    assert projected.dtype == np.float32
    assert np.linalg.norm(attack.craft(projected, 1, rng())) == pytest.approx(2)
    assert attack.constrain(inside, np.zeros(2, np.float32), 0.1).tolist() == [0, 0]


def test_neurotoxin_leaves_the_busiest_coordinates_alone() -> None:
    attack = neurotoxin(ratio=0.4)
    assert attack.recall
    assert attack.recall(None).constrain is None
    moved = np.array([0.1, -9.0, 0.2, 5.0, 0.0])
    constrain = attack.recall(moved).constrain
    assert constrain
    after = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert constrain(after, after, 0.1).tolist() == [1, 0, 3, 0, 5]


def test_a_free_rider_without_noise_sends_nothing() -> None:
    craft = free_rider(noise=0).craft
    assert craft
    delta = np.ones(5, np.float32)
    assert not craft(delta, 1, np.random.default_rng(0)).any()


def test_a_delta_free_rider_sends_the_last_change_with_noise() -> None:
    attack = delta_free_rider(noise=1e-3)
    assert not attack.trains
    assert attack.recall
    nothing, moved = np.zeros(1000, np.float32), np.linspace(-1, 1, 1000, dtype=np.float32)
    plain, noise = free_rider(noise=1e-3).craft, attack.recall(None).craft
    later = attack.recall(moved).craft
    assert plain
    assert noise
    assert later
    assert noise(nothing, 1, rng()).tolist() == plain(nothing, 1, rng()).tolist()
    sent = later(nothing, 1, rng())
    assert sent - moved == pytest.approx(plain(nothing, 1, rng()), abs=1e-6)
    assert sent.dtype == np.float32


@pytest.mark.parametrize("factory", STAMPED, ids=lambda each: each.__name__)
def test_stamps_need_images(factory) -> None:
    rows = Examples(np.zeros((5, 64), np.float32), np.zeros(5, np.int64), 10)
    with pytest.raises(InvalidParameter, match=r"\(n, h, w\); these have shape \(5, 64\)"):
        factory().poison(rows, rng())


@pytest.mark.parametrize(
    "make",
    [
        lambda: targeted_label_flip(source=1, target=1),
        lambda: targeted_label_flip(source=-1),
        lambda: targeted_label_flip(source=10).poison(IMAGES, rng()),
        lambda: blended(alpha=0),
        lambda: blended(pattern=-1),
        lambda: blended(target=10).poison(IMAGES, rng()),
        lambda: backdoor(boost=0),
        lambda: distributed_backdoor(size=0),
        lambda: distributed_backdoor(gap=-1),
        lambda: distributed_backdoor(size=4).poison(IMAGES, rng()),
        lambda: edge_cases(source=3, target=3),
        lambda: edge_cases(rare=0),
        lambda: edge_cases(fraction=2),
        lambda: edge_cases(target=10).poison(IMAGES, rng()),
        lambda: constrain_and_scale(alpha=0),
        lambda: projected_gradient_descent(norm=0),
        lambda: neurotoxin(ratio=1),
        lambda: delta_free_rider(noise=-1e-9),
    ],
)
def test_bad_parameters(make) -> None:
    with pytest.raises(InvalidParameter):
        make()
