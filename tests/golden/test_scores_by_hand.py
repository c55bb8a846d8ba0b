"""Scores of small cohorts, worked out by hand."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from fedguard.blocks import InMemory
from fedguard.probes import Context, Statistics, gram, probe, squares
from fedguard.scoring import Scorer
from fedguard.sketches import sketch
from fedguard.types import Array
from fedguard_strategies import geometry
from fedguard_strategies.scorers import (
    behaviour,
    direction,
    extent,
    histories,
    magnitude,
    neighbourhood,
    response,
    sybil,
    temporal,
)

SKETCHED = sketch(1024, 0)
HISTORIES = sys.modules["fedguard_strategies.scorers.histories"]  # the name is the function's


def seen(rows: Array) -> Statistics:
    """The statistics of rows of fewer than 1024 columns, whose sketches are themselves."""
    wide = np.zeros((len(rows), 1024))
    wide[:, : rows.shape[1]] = rows
    values = {gram: rows @ rows.T, squares: (rows**2).sum(axis=1), SKETCHED: wide}
    return Statistics(len(rows), values, Context.of_rows(len(rows)))


def scores(
    scorer: Scorer,
    *rounds: Array,
    among: list[int] | None = None,
    models: Sequence[Array] | None = None,
) -> Array:
    """Scores in the last of some rounds, each with its model if there are any."""
    memory, past = scorer.memory, scorer.memory.init() if scorer.memory else None
    for rows, model in zip(rounds, models or [None] * len(rounds), strict=True):
        statistics = seen(np.asarray(rows, float))
        if model is not None:
            own = statistics.context._replace(vectors={"model": model})
            statistics = replace(statistics, context=own)
        counts = np.ones(len(rows), bool)
        if among is not None:
            counts[:] = False
            counts[among] = True
        recalled = memory.recall(past, statistics, counts) if memory else None
        found = scorer.score(statistics, counts, recalled)
        past = memory.learn(past, statistics, recalled) if memory else None
    return found


def test_magnitude_is_the_robust_z_of_log_lengths() -> None:
    rows = np.exp([[-1.0], [0.0], [1.0], [2.0], [8.0]])
    wanted = np.abs(np.array([-2.0, -1.0, 0.0, 1.0, 7.0])) / 1.4826
    np.testing.assert_allclose(scores(magnitude(), rows), wanted)


def test_extent_is_a_ratio_of_distances_to_the_median() -> None:
    """Four corners of a square and a row three diagonals out: the median is the middle, about."""
    rows = np.array([[1.0, 0], [-1, 0], [0, 1], [0, -1], [0, 12]])
    found = scores(extent(), rows, among=[0, 1, 2, 3])
    np.testing.assert_allclose(found, [1, 1, 1, 1, 12], rtol=1e-3)


def test_a_neighbourhood_is_of_others() -> None:
    """On a line at 0, 1, 2, 3, 10, each with its three nearest others (f = 1)."""
    rows = np.array([[0.0], [1], [2], [3], [10]])
    means = np.array([6.0, 4.0, 4.0, 6.0, 24.0]) / 3
    wanted = (means - 2.0) / (1.4826 * 2 / 3)
    np.testing.assert_allclose(scores(neighbourhood(f=1), rows), wanted)


@pytest.mark.parametrize(
    "scorer",
    [neighbourhood(f=3), sybil(), temporal(), direction(), response()],
    ids=lambda each: each.family,
)
def test_parts_of_the_rows_score_as_all_at_once(
    monkeypatch: pytest.MonkeyPatch, scorer: Scorer
) -> None:
    rng, among = np.random.default_rng(0), [*range(12), 14, 16]
    rounds = [rng.normal(size=(17, 5)) for _ in range(3)]
    models = [rng.normal(size=5) for _ in rounds]
    wanted = scores(scorer, *rounds, among=among, models=models)
    assert np.unique(wanted).size > 10
    monkeypatch.setattr(geometry, "CACHED", 17 * 5)
    np.testing.assert_array_equal(scores(scorer, *rounds, among=among, models=models), wanted)


@pytest.mark.parametrize("n", [HISTORIES.FEW_ROWS + 1, 700])
def test_products_of_many_histories_are_shared_out(monkeypatch: pytest.MonkeyPatch, n: int) -> None:
    rng = np.random.default_rng(0)
    rows, among = rng.normal(size=(n, 30)), np.ones(n, bool)
    found = []
    for cores in (1, 2, 5):
        monkeypatch.setattr(HISTORIES, "available_cores", lambda cores=cores: cores)
        memory = histories()
        found.append(memory.recall(memory.init(), seen(rows), among))
    units = rows / np.linalg.norm(rows, axis=1)[:, None]
    np.testing.assert_allclose(found[0].gram, units @ units.T, atol=1e-6)
    for other in found[1:]:
        np.testing.assert_array_equal(other.gram, found[0].gram)


def test_few_neighbours_tell_nothing() -> None:
    """Two of four others (f = 2): of 0, 1 and 9 the first two are each other's, and no spread."""
    rows = np.array([[0.0], [1], [2], [3], [10]])
    assert not scores(neighbourhood(f=2), rows).any()
    assert not scores(neighbourhood(f=1), np.array([[0.0], [1], [9]])).any()


def test_who_does_not_count_has_as_many_neighbours() -> None:
    rows = np.array([[0.0], [1], [2], [3], [1.5]])
    found = scores(neighbourhood(f=2), rows, among=[0, 1, 2, 3])
    means = np.array([1.5, 1.0, 1.0, 1.5, 0.5])
    np.testing.assert_allclose(found, (means - 1.25) / (1.4826 * 0.25))


def test_who_does_not_count_is_of_the_f() -> None:
    """On the line above; with two put away one of three is left, and not too few neighbours."""
    rows = np.array([[0.0], [1], [2], [3], [10], [50], [60]])
    found = scores(neighbourhood(f=3), rows, among=[0, 1, 2, 3, 4])
    np.testing.assert_allclose(found[:5], scores(neighbourhood(f=1), rows[:5]))
    assert found[4] > 5


def test_direction_is_against_the_others() -> None:
    rows = np.array([[1.0, 0.1], [1, -0.1], [1, 0.2], [1, -0.2], [-1, 0]])
    found = scores(direction(), rows)
    assert found.argmax() == 4
    assert found[4] > 20
    assert np.abs(found[:4]).max() < 3
    longer = rows * np.array([[1.0], [50], [1], [7], [1e-3]])
    np.testing.assert_allclose(scores(direction(), longer), found, rtol=1e-3, atol=1e-5)


def test_direction_remembers() -> None:
    """After nine rounds backwards one round forwards does not make up for it."""
    ahead = np.array([[1.0, 0.1], [1, -0.1], [1, 0.2], [1, -0.2], [1, 0]])
    back = ahead.copy()
    back[4] *= -1
    assert scores(direction(), *[back] * 9, ahead)[4] > 20
    assert scores(direction(), *[ahead] * 9, ahead)[4] < 3


def test_sybil_looks_at_what_is_not_common() -> None:
    """All share a direction; two share their residual as well."""
    rng = np.random.default_rng(0)
    rows = 5.0 + rng.normal(size=(9, 400))
    alone = scores(sybil(), rows)
    rows[3] = rows[6] + 0.05 * rng.normal(size=400)
    found = scores(sybil(), rows)
    assert np.abs(alone).max() < 4
    assert set(np.argsort(found)[-2:]) == {3, 6}
    assert found[[3, 6]].min() > 20


def test_temporal_finds_who_changed() -> None:
    rng = np.random.default_rng(0)
    own, common = rng.normal(size=(9, 400)), 3 * rng.normal(size=400)
    rounds = [common + own + 0.5 * rng.normal(size=(9, 400)) for _ in range(5)]
    assert scores(temporal(), rounds[0]).tolist() == [0] * 9
    rounds[-1][2] = common + rng.normal(size=400)
    found = scores(temporal(), *rounds)
    assert found.argmax() == 2
    assert found[2] > 8
    assert np.abs(np.delete(found, 2)).max() < 4


def test_behaviour_averages_what_the_root_says() -> None:
    """Products with the root are 1, 2, 3, 4 and -10, in every round of five."""
    rows = np.array([[1.0, 9], [2, -9], [3, 0], [4, 1], [-10, 0]])
    root = np.array([1.0, 0.0], np.float32)
    clients = tuple("abcde")
    (along,) = behaviour().probes
    memory, past = behaviour().memory, None
    assert memory
    past = memory.init()
    for number in range(1, 6):
        seen = probe(InMemory(rows), [along], vectors={"root": root})
        np.testing.assert_allclose(seen.values[along], [1, 2, 3, 4, -10])
        rounds = replace(seen, context=Context(clients, (None,) * 5))
        recalled = memory.recall(past, rounds, np.ones(5, bool))
        found = behaviour().score(rounds, np.ones(5, bool), recalled)
        wanted = np.minimum((2 - np.array([1, 2, 3, 4, -10])) / 1.4826, 8.0)
        np.testing.assert_allclose(found, wanted * (1 - 0.8**number))
        past = memory.learn(past, rounds, recalled)


@pytest.mark.parametrize("size", [64, 1024])
def test_histories_forget_the_absent_and_keep_the_rest(size: int) -> None:
    memory = histories(size, 0)
    (sketched,) = memory.probes
    past = memory.init()
    for number in range(250):
        clients = ("a", "b") if number else ("b", "gone")
        rows = Statistics(2, {sketched: np.ones((2, size))}, Context(clients, (None, None)))
        recalled = memory.recall(past, rows, np.ones(2, bool))
        past = memory.learn(past, rows, recalled)
        if number == 150:
            assert past.clients == ("a", "b", "gone")
    assert past.clients == ("a", "b")
    assert past.round == 250
    np.testing.assert_allclose(past.values, 1 / np.sqrt(size), rtol=1e-3)


def test_response_finds_who_does_not_turn_back() -> None:
    """Each descends a bowl of its own: as the model goes on, its update turns back, cosine -1.

    The last sends the opposite. The cohort agrees, so deviations are counted in the sketch's noise
    and one round counts as `FARTHEST`; the average over rounds is in its own deviations.
    """
    rng = np.random.default_rng(0)
    centres, model = 20 * rng.normal(size=400) + rng.normal(size=(7, 400)), np.zeros(400)
    (sketched,) = response().probes
    memory, found = response().memory, np.zeros(7)
    assert memory
    past = memory.init()
    for number in range(8):
        rows = 0.1 * (centres - model)
        rows[6] *= -1
        own = Context.of_rows(7)._replace(vectors={"model": model})
        seen = replace(probe(InMemory(rows), [sketched]), context=own)
        recalled = memory.recall(past, seen, np.ones(7, bool))
        found = response().score(seen, np.ones(7, bool), recalled)
        if number == 0:
            assert found.tolist() == [0] * 7
        past = memory.learn(past, seen, recalled)
        model = model + rows.mean(axis=0)
    expected = 4.0 * (1 - 0.95**7) / np.sqrt(sum((0.05 * 0.95**k) ** 2 for k in range(7)))
    np.testing.assert_allclose(found[:6], -expected)
    np.testing.assert_allclose(found[6], expected)
    assert len(past.models) == 1  # one model a round that somebody was last seen in


def test_response_says_nothing_where_next_to_nothing_was_made_of_the_updates() -> None:
    """Taking its own part off such a way would leave every honest update turned round."""
    rng = np.random.default_rng(2)
    (sketched,) = response().probes
    memory, centres, model = response().memory, rng.normal(size=(9, 400)), np.zeros(400)
    assert memory
    past = memory.init()
    for _ in range(8):
        rows = centres + 0.5 * rng.normal(size=centres.shape)
        own = Context.of_rows(9)._replace(vectors={"model": model})
        seen = replace(probe(InMemory(rows), [sketched]), context=own)
        recalled = memory.recall(past, seen, np.ones(9, bool))
        assert response().score(seen, np.ones(9, bool), recalled).tolist() == [0] * 9
        past = memory.learn(past, seen, recalled)
        model = model + 0.01 * rows.mean(axis=0)


def test_response_needs_a_model_that_moves() -> None:
    memory = response().memory
    assert memory
    (sketched,) = response().probes
    rows = {sketched: np.random.default_rng(1).normal(size=(5, 1024))}
    with_model = Context.of_rows(5)._replace(vectors={"model": np.ones(9)})
    for context in (Context.of_rows(5), with_model):
        past = memory.init()
        for _ in range(3):
            seen = Statistics(5, rows, context)
            recalled = memory.recall(past, seen, np.ones(5, bool))
            assert response().score(seen, np.ones(5, bool), recalled).tolist() == [0] * 5
            past = memory.learn(past, seen, recalled)
