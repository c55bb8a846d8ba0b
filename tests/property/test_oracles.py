"""Every rule against its paper's definition, written down naively and slowly."""

from __future__ import annotations

from itertools import combinations

import flwr.server.strategy.aggregate as peer
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.cluster import HDBSCAN, MeanShift, estimate_bandwidth

import fedguard_strategies as rules
from fedguard import InMemory, aggregate, chain
from fedguard.defence import Defence, transform
from fedguard.errors import InvalidParameter, NothingTrusted, OverBudget
from fedguard.probes import Context
from fedguard_strategies.alignins import principal_sign_agreement
from fedguard_strategies.clusters import largest_shifted, majority_cluster
from fedguard_strategies.foolsgold import foolsgold_weights
from fedguard_strategies.histograms import count_by_size
from fedguard_strategies.models import model_cosine_distances
from fedguard_strategies.subsets import smallest_diameter, smallest_spread
from fedguard_strategies.weighted import capped_weights

seeds = st.integers(0, 10_000)


def drawn(seed: int, n: int, d: int) -> np.ndarray:
    """Rows around a common mean, a few of them far away."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, d)) + rng.normal(size=d)
    rows[: rng.integers(0, n // 3 + 1)] *= rng.choice([-3.0, 0.1, 8.0])
    return rng.permutation(rows)


def answer(defence: Defence, rows: np.ndarray, **vectors: np.ndarray) -> np.ndarray:
    context = Context.of_rows(len(rows))._replace(vectors=vectors)
    return aggregate(defence, rows, context=context).vector


def angle(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


def as_flower_has_it(rows: np.ndarray) -> list[tuple[list[np.ndarray], int]]:
    return [([row], 1) for row in rows]


@given(seeds, st.integers(0, 3), st.integers(0, 4), st.integers(2, 6))
@settings(max_examples=60, deadline=None)
def test_krum_and_multi_krum_by_the_paper_and_by_flower(
    seed: int, f: int, more: int, d: int
) -> None:
    rows = drawn(seed, 2 * f + 3 + more, d)
    n = len(rows)
    scores = [sum(sorted(((row - rows) ** 2).sum(axis=1))[1 : n - f - 1]) for row in rows]
    ranked = np.argsort(scores, kind="stable")
    assume(np.diff(np.sort(scores)).min() > 1e-9)
    np.testing.assert_array_equal(answer(rules.krum(f), rows), rows[ranked[0]])
    several = answer(rules.multi_krum(f), rows)
    np.testing.assert_allclose(several, rows[ranked[: n - f]].mean(axis=0), atol=1e-12)
    theirs = as_flower_has_it(rows)
    np.testing.assert_array_equal(answer(rules.krum(f), rows), peer.aggregate_krum(theirs, f, 0)[0])
    np.testing.assert_allclose(several, peer.aggregate_krum(theirs, f, n - f)[0], atol=1e-12)


@given(seeds, st.integers(1, 15), st.integers(0, 3), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_median_and_trimmed_mean_are_flowers(seed: int, n: int, f: int, d: int) -> None:
    assume(n > 2 * f)
    rows, theirs = drawn(seed, n, d), as_flower_has_it(drawn(seed, n, d))
    median, trimmed = rules.coordinate_median(), rules.trimmed_mean(f)
    np.testing.assert_allclose(answer(median, rows), peer.aggregate_median(theirs)[0], atol=1e-12)
    cut = (f + 0.25) / n  # they round down
    np.testing.assert_allclose(
        answer(trimmed, rows), peer.aggregate_trimmed_avg(theirs, cut)[0], atol=1e-12
    )


@given(seeds, st.integers(3, 15), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_no_point_is_nearer_to_all_rows_than_the_geometric_median(
    seed: int, n: int, d: int
) -> None:
    rows = drawn(seed, n, d)

    def total(point: np.ndarray) -> float:
        return float(np.linalg.norm(rows - point, axis=1).sum())

    found = answer(rules.geometric_median(), rows)
    best = min(total(point) for point in (*rows, minimize(total, found, method="Powell").x))
    assert total(found) <= best * (1 + 1e-4)


@given(seeds, st.integers(1, 4), st.integers(0, 5), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_caf(seed: int, f: int, more: int, d: int) -> None:
    """On the d x d covariance, as algorithm 2 has it; ours never sees it."""
    rows = drawn(seed, 2 * f + 1 + more, d)
    kept, least, best = np.ones(len(rows)), np.inf, rows.mean(axis=0)
    while kept.sum() > len(rows) - 2 * f:
        mean = kept @ rows / kept.sum()
        centred = rows - mean
        values, vectors = np.linalg.eigh((kept[:, None] * centred).T @ centred / kept.sum())
        if values[-1] < least:
            least, best = values[-1], mean
        spread = np.where(kept > 0, (centred @ vectors[:, -1]) ** 2, 0.0)
        assume(d == 1 or values[-1] > 1.001 * values[-2])  # else which direction is chance
        kept = kept * (1 - spread / spread.max())
    np.testing.assert_allclose(answer(rules.caf(f), rows), best, atol=1e-7)


@given(seeds, st.integers(1, 12), st.integers(1, 6), st.integers(1, 3), st.floats(0.1, 20.0))
@settings(max_examples=60, deadline=None)
def test_centred_clipping(seed: int, n: int, d: int, iterations: int, tau: float) -> None:
    defence = rules.centred_clipping(tau, iterations)
    state, centre = None, np.zeros(d)
    for number in range(3):
        rows = drawn(seed + number, n, d)
        for _ in range(iterations):
            lengths = np.linalg.norm(rows - centre, axis=1, keepdims=True)
            shorter = np.minimum(1, tau / np.maximum(lengths, 1e-300))
            centre = centre + ((rows - centre) * shorter).mean(axis=0)
        result = aggregate(defence, rows, state)
        state = result.state
        np.testing.assert_allclose(result.vector, centre, atol=1e-9)


@given(seeds, st.integers(0, 3), st.integers(0, 4), st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_bulyan(seed: int, f: int, more: int, d: int) -> None:
    rows = drawn(seed, 4 * f + 3 + more, d)
    n, left, chosen = len(rows), list(range(4 * f + 3 + more)), []
    for _ in range(n - 2 * f):
        apart = {i: sorted(((rows[i] - rows[j]) ** 2).sum() for j in left if j != i) for i in left}
        count = max(len(left) - f - 2, 1)
        scores = {i: (round(sum(apart[i][:count]), 9), sum(apart[i])) for i in left}
        best = min(left, key=lambda i: scores[i])
        chosen.append(best)
        left.remove(best)
    expected = []
    for column in rows[chosen].T:
        near = sorted(column, key=lambda value: (round(abs(value - np.median(column)), 9), value))
        expected.append(np.mean(near[: n - 4 * f]))
    assert answer(rules.bulyan(f), rows) == pytest.approx(expected)


@given(seeds, st.integers(3, 11), st.integers(0, 5), st.integers(1, 6))
@settings(max_examples=150, deadline=None)
def test_mda_finds_the_least_diameter(seed: int, n: int, f: int, d: int) -> None:
    f = min(f, (n - 1) // 2)
    rows = drawn(seed, n, d)
    if seed % 3 == 0:
        rows[: n // 2] = rows[0]  # ties
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    least = min(apart[np.ix_(s, s)].max() for s in combinations(range(n), n - f))
    found = smallest_diameter(rows @ rows.T, f)
    assert len(set(found.tolist())) == n - f
    assert apart[np.ix_(found, found)].max() == pytest.approx(least, abs=1e-6)
    assert answer(rules.mda(f), rows) == pytest.approx(rows[found].mean(axis=0))


def test_mda_looks_where_enumeration_cannot() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 40))
    rows[rng.choice(60, 20, replace=False)] += rng.normal(size=(20, 40)) * 3
    found = smallest_diameter(rows @ rows.T, 20)  # of 4e15 subsets
    far = np.linalg.norm(rows, axis=1) > 12
    assert not far[found].any()
    with pytest.raises(InvalidParameter, match="f must be 25 at most"):
        rules.mda(26)


@given(seeds, st.integers(3, 10), st.integers(0, 4), st.integers(1, 6))
@settings(max_examples=150, deadline=None)
def test_smea_finds_the_least_top_eigenvalue(seed: int, n: int, f: int, d: int) -> None:
    f = min(f, (n - 1) // 2)
    rows = drawn(seed, n, d)

    def top(subset: tuple[int, ...]) -> float:
        return float(np.linalg.norm(rows[list(subset)] - rows[list(subset)].mean(axis=0), 2))

    least = min(top(subset) for subset in combinations(range(n), n - f))
    found = smallest_spread(rows @ rows.T, f)
    assert top(tuple(found)) == pytest.approx(least, abs=1e-6)
    assert answer(rules.smea(f), rows) == pytest.approx(rows[found].mean(axis=0))


def test_smea_is_refused_above_its_budget() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 3))
    assert answer(rules.smea(2), rows).shape == (3,)
    with pytest.raises(OverBudget, match=r"C\(50, 5\) subsets"):
        answer(rules.smea(5), rows)


@given(seeds, st.integers(3, 12), st.integers(0, 3), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_monna_and_cge(seed: int, n: int, f: int, d: int) -> None:
    f = min(f, (n - 1) // 2)
    rows = drawn(seed, n, d)
    near = np.argsort(np.linalg.norm(rows - rows[2], axis=1))[: n - f]
    assert answer(rules.monna(f, pivot="2"), rows) == pytest.approx(rows[near].mean(axis=0))
    centre = answer(rules.geometric_median(), rows)
    near = np.argsort(np.linalg.norm(rows - centre, axis=1))[: n - f]
    for absent in (None, "nobody"):
        assert answer(rules.monna(f, absent), rows) == pytest.approx(rows[near].mean(axis=0))
    short = np.argsort(np.linalg.norm(rows, axis=1))[: n - f]
    assert answer(rules.cge(f), rows) == pytest.approx(rows[short].mean(axis=0))


@given(seeds, st.integers(5, 12), st.integers(0, 2), st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_dnc(seed: int, n: int, f: int, d: int) -> None:
    rows = drawn(seed, n, d)
    moved = rows - rows.mean(axis=0)
    direction = np.linalg.svd(moved)[2][0]
    kept = np.argsort((moved @ direction) ** 2, kind="stable")[: n - int(1.5 * f)]
    assert answer(rules.dnc(f, c=1.5), rows) == pytest.approx(rows[kept].mean(axis=0))


@given(seeds, st.integers(1, 12), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_fltrust(seed: int, n: int, d: int) -> None:
    rows, root = drawn(seed, n, d), np.random.default_rng(seed).normal(size=d)
    trust = np.array([max(angle(row, root), 0.0) for row in rows])
    if trust.any():
        long = np.linalg.norm(root) / np.linalg.norm(rows, axis=1)
        expected = (trust * long) @ rows / trust.sum()
        assert answer(rules.fltrust(), rows, root=root) == pytest.approx(expected)
    else:
        with pytest.raises(NothingTrusted):
            answer(rules.fltrust(), rows, root=root)


@given(seeds, st.integers(3, 25))
@settings(max_examples=60, deadline=None)
def test_the_majority_is_that_of_hdbscan(seed: int, n: int) -> None:
    rows = drawn(seed, n, 6)
    apart = np.linalg.norm(rows[:, None] - rows[None], axis=2)
    theirs = HDBSCAN(
        min_cluster_size=n // 2 + 1,
        min_samples=1,
        metric="precomputed",
        allow_single_cluster=True,
        copy=True,
    ).fit(apart)
    assert majority_cluster(apart).tolist() == np.flatnonzero(theirs.labels_ == 0).tolist()


@given(seeds, st.integers(3, 12), st.integers(2, 6), st.floats(1e-3, 1e6))
@settings(max_examples=60, deadline=None)
def test_angles_of_models(seed: int, n: int, d: int, longer: float) -> None:
    rows, model = drawn(seed, n, d), np.random.default_rng(seed).normal(size=d) * longer
    whole = np.vstack([rows, model])
    models = np.vstack([rows + model, model]).astype(np.longdouble)
    models /= np.sqrt((models**2).sum(axis=1, keepdims=True))
    # of unit vectors, 1 - cosine is half of their squared distance
    expected = ((models[:, None] - models[None]) ** 2).sum(axis=2).astype(float) / 2
    found = model_cosine_distances(whole @ whole.T)
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-9 / longer**2)


@given(seeds, st.integers(3, 12), st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_flame(seed: int, n: int, d: int) -> None:
    rows, model = drawn(seed, n, d), np.random.default_rng(seed).normal(size=d) * 3.0
    models = rows + model
    apart = np.array([[1.0 - angle(one, other) for other in models] for one in models])
    kept = majority_cluster(apart)
    middle = float(np.median(np.linalg.norm(rows, axis=1)))
    clipped = [row * min(1.0, middle / np.linalg.norm(row)) for row in rows[kept]]
    quiet = answer(rules.flame(noise=0.0), rows, model=model)
    assert quiet == pytest.approx(np.mean(clipped, axis=0))
    added = answer(rules.flame(noise=0.5), rows, model=model) - quiet
    again = answer(rules.flame(noise=1.0), rows, model=model) - quiet
    assert added.any()
    assert again == pytest.approx(2 * added)


def test_noise_is_normal_and_new_every_round() -> None:
    defence = chain(rules.mean(), rules.weak_dp(0.25))
    first = aggregate(defence, np.zeros((3, 100_000), np.float32))
    second = aggregate(defence, np.zeros((3, 100_000), np.float32), first.state)
    for drawn_now in (first.vector, second.vector):
        assert drawn_now.mean() == pytest.approx(0.0, abs=0.004)
        assert drawn_now.std() == pytest.approx(0.25, rel=0.01)
        assert np.mean(np.abs(drawn_now) < 0.25) == pytest.approx(0.6827, abs=0.006)
    assert abs(np.corrcoef(first.vector, second.vector)[0, 1]) < 0.02


def test_foolsgold_by_the_paper() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(6, 2000))
    rows[4:] = rows[4] + 0.01 * rng.normal(size=(2, 2000))  # two sybils
    similarity = np.array([[angle(one, other) for other in rows] for one in rows])
    np.fill_diagonal(similarity, 0.0)
    closest = [max(similarity[i][j] for j in range(6) if j != i) for i in range(6)]
    pardoned = similarity.copy()
    for i in range(6):
        for j in range(6):
            if i != j and closest[i] < closest[j]:
                pardoned[i, j] *= closest[i] / closest[j]
    weights = np.clip([1.0 - max(pardoned[i, :]) for i in range(6)], 0, 1)
    weights = np.minimum(weights / weights.max(), 0.99)
    weights = np.clip(np.log(weights / (1 - weights)) + 0.5, 0, 1)
    assert foolsgold_weights(similarity + np.eye(6)) == pytest.approx(weights)
    assert weights[4:] == pytest.approx(0.0)
    found = aggregate(rules.foolsgold(), rows)
    assert found.weights == pytest.approx(weights / weights.sum(), abs=1e-6)


def test_foolsgold_remembers_clients_not_rows() -> None:
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(4, 500))
    names = ("a", "b", "c", "d")
    context = Context(names, (None,) * 4)
    first = aggregate(rules.foolsgold(), rows, context=context)
    other = rng.normal(size=(3, 500))
    three = Context(names[1:], (None,) * 3)
    later = aggregate(rules.foolsgold(), other, first.state, context=three)
    assert set(later.state[0]) == set(names)
    assert (later.state[0]["a"].sketch == first.state[0]["a"].sketch).all()
    alone = aggregate(rules.foolsgold(), rows[1:] + other)
    fresh = {"0": "b", "1": "c", "2": "d"}
    for row, name in fresh.items():
        assert later.state[0][name].sketch == pytest.approx(alone.state[0][row].sketch)
    forgetful = rules.foolsgold(forget_after=1)
    state = aggregate(forgetful, rows, context=context).state
    for _ in range(2):
        state = aggregate(forgetful, other, state, context=three).state
    assert set(state[0]) == set(names[1:])


@given(seeds, st.integers(4, 25), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_the_largest_cluster_is_that_of_mean_shift(seed: int, n: int, d: int) -> None:
    points = drawn(seed, n, d)
    theirs = MeanShift(bandwidth=estimate_bandwidth(points, quantile=0.5)).fit(points).labels_
    sizes = np.bincount(theirs)
    found = largest_shifted(points)
    assert len(found) == sizes.max()
    if (sizes == sizes.max()).sum() == 1:
        assert found.tolist() == np.flatnonzero(theirs == sizes.argmax()).tolist()


@given(seeds, st.integers(4, 15))
@settings(max_examples=40, deadline=None)
def test_signguard(seed: int, n: int) -> None:
    rows = drawn(seed, n, 40)
    rows[:, :7][rows[:, :7] < 0.3] = 0.0
    lengths = np.linalg.norm(rows, axis=1)
    middle = np.median(lengths)
    signs = np.stack([(rows > 0).mean(1), (rows == 0).mean(1), (rows < 0).mean(1)], axis=1)
    kept = [i for i in largest_shifted(signs) if 0.1 * middle <= lengths[i] <= 3.0 * middle]
    if kept:
        clipped = [rows[i] * min(1.0, middle / lengths[i]) for i in kept]
        assert answer(rules.signguard(), rows) == pytest.approx(np.mean(clipped, axis=0))


@given(seeds, st.integers(1, 9), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_rlr(seed: int, n: int, threshold: int) -> None:
    n = max(n, threshold)
    rows = drawn(seed, n, 12)
    expected = [
        column.mean() if abs(np.sign(column).sum()) >= threshold else -column.mean()
        for column in rows.T
    ]
    assert answer(rules.rlr(threshold), rows) == pytest.approx(expected)


@given(seeds, st.integers(6, 15), st.sampled_from([0.3, 0.5, 1.0]))
@settings(max_examples=40, deadline=None)
def test_multi_metrics(seed: int, n: int, p: float) -> None:
    rows, model = drawn(seed, n, 8), np.random.default_rng(seed).normal(size=8) * 3.0
    metrics = np.array(
        [[np.abs(row).sum(), np.linalg.norm(row), angle(row + model, model)] for row in rows]
    )
    apart = np.array([[sum(abs(x - y) for y in column) for x in column] for column in metrics.T]).T
    inverse = np.linalg.inv(np.cov(apart, rowvar=False))
    scores = [float(np.sqrt(each @ inverse @ each)) for each in apart]
    kept = np.argsort(scores, kind="stable")[: int(np.ceil(p * n))]
    assume(np.diff(np.sort(scores)).min() > 1e-6)
    found = answer(rules.multi_metrics(p), rows, model=model)
    assert found == pytest.approx(rows[kept].mean(axis=0))


@given(seeds, st.integers(3, 15), st.sampled_from([0.1, 0.3, 1.0]))
@settings(max_examples=40, deadline=None)
def test_principal_signs(seed: int, n: int, share: float) -> None:
    rows = drawn(seed, n, 4000)
    principal = np.sign(np.sign(rows).sum(axis=0))
    expected = []
    for row in rows:
        largest = np.argsort(-np.abs(row))[: int(share * 4000)]
        expected.append(np.mean(np.sign(row[largest]) == principal[largest]))
    found = principal_sign_agreement(count_by_size(rows, np.sign(rows) == principal), share)
    assert found == pytest.approx(expected, abs=0.08)  # the class in which the share ends is split


def test_alignins_drops_who_points_elsewhere() -> None:
    rng = np.random.default_rng(3)
    model, shared = rng.normal(size=3000), rng.normal(size=3000)
    rows = shared + rng.normal(size=(10, 3000)) * 0.5
    rows[0] = -shared + rng.normal(size=3000) * 0.5  # signs
    rows[1] += 3.0 * model  # direction
    context = Context.of_rows(10)._replace(vectors={"model": model})
    weights = aggregate(rules.alignins(radius=5.0), rows, context=context).weights
    assert weights is not None
    lengths = np.linalg.norm(rows, axis=1)
    clipped = np.minimum(1.0, np.median(lengths[2:]) / lengths[2:]) / 8
    assert weights == pytest.approx(np.concatenate([[0.0, 0.0], clipped]))


def test_alignins_bounds_colluders_that_copy_a_central_row() -> None:
    rng = np.random.default_rng(0)
    model, shared = rng.normal(size=200), rng.normal(size=200)
    for central in range(7):
        rows = shared + rng.normal(size=(10, 200))
        rows[7:] = 1e30 * rows[central]
        for radius in (0.5, 1.0, 3.0):
            try:
                vector = answer(rules.alignins(radius), rows, model=model)
            except NothingTrusted:
                continue
            assert np.linalg.norm(vector) < 2 * np.linalg.norm(rows[:7], axis=1).max()


def test_fltrust_does_not_scale_up_what_float32_cannot_measure() -> None:
    root = np.zeros(10**5, np.float32)
    root[0] = 1.0
    bad = np.full(10**5, 2.6e-23, np.float32)  # squares are zero, the product with the root is not
    bad[0] = 4e-23
    good = root + 0.01
    vector = answer(rules.fltrust(), np.stack([bad, good]), root=root)
    assert np.linalg.norm(vector) == pytest.approx(1.0, rel=1e-3)


@given(seeds, st.integers(1, 4), st.integers(2, 5))
@settings(max_examples=30, deadline=None)
def test_client_momentum(seed: int, d: int, rounds: int) -> None:
    rng, beta = np.random.default_rng(seed), 0.7
    stage = rules.client_momentum(beta)
    state, past = None, {}
    for _ in range(rounds):
        names = sorted(rng.choice(list("abcde"), 3, replace=False).tolist())
        rows = rng.normal(size=(3, d))
        for name, row in zip(names, rows, strict=True):
            past.setdefault(name, []).append(row)
        context = Context(tuple(names), (None,) * 3)
        left, state, _ = transform(stage, InMemory(rows), state, context=context)
        for name, row in zip(names, left, strict=True):
            ages = np.arange(len(past[name]))[::-1]
            shares = beta**ages / (beta**ages).sum()
            assert row == pytest.approx(shares @ np.array(past[name]))


def test_momentum_is_forgotten() -> None:
    stage, row = rules.client_momentum(0.5, forget_after=2), np.ones((1, 2))
    state = None
    for name in "abbba":
        context = Context((name,), (None,))
        state = transform(stage, InMemory(row), state, context=context)[1]
    assert {name: each.rounds for name, each in state[0].items()} == {"a": 1, "b": 3}


@given(st.lists(st.none() | st.integers(-5, 10**18), min_size=1, max_size=12), st.floats(1.0, 5.0))
@settings(max_examples=150, deadline=None)
def test_capped_weights(claims: list[int | None], cap: float) -> None:
    weights = capped_weights(claims, cap)
    assert weights.sum() == pytest.approx(1.0)
    assert weights.min() >= 0
    assert weights.max() <= cap / len(claims) * (1 + 1e-9)
    known = [min(max(each, 0), 2**53) for each in claims if each is not None]
    usual = np.median(known) if known else 1.0
    shares = np.array(
        [usual if each is None else min(max(each, 0), 2**53) for each in claims], float
    )
    free = np.flatnonzero((weights < cap / len(claims) * (1 - 1e-9)) & (shares > 0))
    ratios = weights[free] / shares[free]
    assert ratios == pytest.approx(np.full(len(free), ratios[:1].sum()))


@given(seeds, st.integers(5, 20), st.integers(0, 2), st.sampled_from([1.0, 1.5, 2.0]))
@settings(max_examples=60, deadline=None)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weighted_order_statistics(dtype: type, seed: int, n: int, f: int, cap: float) -> None:
    rng = np.random.default_rng(seed)
    n = max(n, int(2 * f * cap) + 1)
    rows = drawn(seed, n, 70).astype(dtype)
    rows[:, :20] = np.round(rows[:, :20])  # ties
    claims = tuple(rng.integers(1, 1000, n).tolist())
    context = Context(tuple(map(str, range(n))), claims)
    weights = capped_weights(claims, cap)
    dropped = f * cap / n
    trimmed, median = [], []
    for column in rows.T.astype(float):
        order = np.argsort(column, kind="stable")
        up_to = np.cumsum(weights[order])
        inside = np.clip(up_to, dropped, 1 - dropped) - np.clip(
            up_to - weights[order], dropped, 1 - dropped
        )
        trimmed.append(inside @ column[order] / inside.sum())
        split = np.abs(up_to - 0.5).min() < 1e-6
        median.append(np.nan if split else column[order][np.searchsorted(up_to, 0.5)])
    found = aggregate(rules.weighted_trimmed_mean(f, cap), rows, context=context).vector
    assert found == pytest.approx(np.array(trimmed), rel=1e-4, abs=1e-5)
    found = aggregate(rules.weighted_median(cap), rows, context=context).vector
    clear = np.isfinite(median)
    assert found[clear] == pytest.approx(np.array(median)[clear])


def test_equal_claims_are_the_unweighted_rules() -> None:
    for n in (7, 8):
        rows = drawn(n, n, 50)
        same = Context(tuple(map(str, range(n))), (17,) * n)
        for weighted, plain in (
            (rules.weighted_mean(), rules.mean()),
            (rules.weighted_median(), rules.coordinate_median()),
            (rules.weighted_trimmed_mean(2, cap=1.0), rules.trimmed_mean(2)),
        ):
            found = aggregate(weighted, rows, context=same).vector
            assert found == pytest.approx(aggregate(plain, rows).vector, abs=1e-7)
