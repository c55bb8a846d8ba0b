"""The engine against plain numpy, and what it answers to bad input."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fedguard_strategies as rules
from fedguard import Blockwise, Debug, InMemory, Linear, Stage, aggregate, chain
from fedguard.defence import stages_of, survey, transform
from fedguard.errors import (
    InvalidParameter,
    NotARule,
    ShapeMismatch,
    StageFailed,
    TooFewUpdates,
)
from fedguard.probes import Probe, gram, probe


def naive_arc(x: np.ndarray, f: int) -> np.ndarray:
    norms = np.linalg.norm(x, axis=1)
    limit = np.sort(norms)[::-1][int(2 * f * (len(x) - f) / len(x))]
    return x * np.minimum(1, limit / norms)[:, None]


def naive_nnm(x: np.ndarray, f: int) -> np.ndarray:
    distances = np.linalg.norm(x[:, None] - x[None], axis=2)
    return np.stack([x[np.argsort(row)[: len(x) - f]].mean(axis=0) for row in distances])


def naive_trimmed_mean(x: np.ndarray, f: int) -> np.ndarray:
    return np.sort(x, axis=0)[f : len(x) - f].mean(axis=0)


@given(st.integers(0, 10_000), st.integers(5, 12), st.integers(1, 2), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_a_chain_is_its_stages_one_after_another(seed: int, n: int, f: int, d: int) -> None:
    x = np.random.default_rng(seed).normal(size=(n, d))
    defence = chain(rules.arc(f), rules.nnm(f), rules.trimmed_mean(f))
    by_hand = naive_trimmed_mean(naive_nnm(naive_arc(x, f), f), f)
    assert aggregate(defence, x).vector == pytest.approx(by_hand, abs=1e-9)


@given(st.integers(0, 10_000), st.integers(3, 9), st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_distances_after_linear_stages_need_no_further_look(seed: int, n: int, d: int) -> None:
    x = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    seen = []

    def spy(one: np.ndarray, other: np.ndarray, columns: slice) -> np.ndarray:
        seen.append(one.shape)
        return one.astype(np.float64) @ other.astype(np.float64).T

    own = Probe("gram", spy, row_axes=2)
    stage = Stage("spied()", 1, "n >= 1", lambda s, _: (Linear(np.eye(s.n)), _), probes=(own,))
    aggregate(chain(stage, rules.clip_by_median_norm(), stage, rules.mean()), x)
    assert len(seen) == 1


def test_the_reference_row_survives_stages_before_it() -> None:
    rows = np.array([[4.0, 0.0], [0.0, 4.0], [4.0, 4.0]])
    plain, mixed = rules.centred_clipping(1.0), chain(rules.nnm(0), rules.centred_clipping(1.0))
    state = aggregate(plain, rows).state
    centre = state[0]
    by_hand = aggregate(plain, np.repeat(rows.mean(axis=0)[None], 3, axis=0), state).vector
    assert aggregate(mixed, rows, (None, centre)).vector == pytest.approx(by_hand)
    assert aggregate(mixed, rows, (None, centre)).state[1].tolist() == pytest.approx(
        by_hand.tolist()
    )


def test_weights_are_each_rows_share() -> None:
    rows = np.array([[1.0], [2.0], [4.0], [100.0], [3.0]])
    result = aggregate(chain(rules.clip_by_median_norm(), rules.multi_krum(1, m=2)), rows)
    assert result.weights is not None
    assert result.weights @ rows == pytest.approx(result.vector)
    assert aggregate(rules.trimmed_mean(1), rows).weights is None


def test_precomputed_statistics_give_the_same_bits() -> None:
    rows = np.random.default_rng(3).normal(size=(9, 50)).astype(np.float32)
    defence = chain(rules.arc(2), rules.centred_clipping(2.0))
    known = survey(defence, InMemory(rows), (None, None), [gram])
    with_known = aggregate(defence, InMemory(rows), statistics=known).vector
    assert with_known.tobytes() == aggregate(defence, rows).vector.tobytes()


def test_a_defence_must_end_in_a_rule() -> None:
    with pytest.raises(NotARule, match=r"leaves 3 rows.*mean\(\)"):
        aggregate(rules.clip_by_median_norm(), np.eye(3))
    with pytest.raises(InvalidParameter):
        chain()


def test_bound_is_checked_where_the_stage_stands() -> None:
    # bucketing leaves 4 of 8 rows: krum(1) needs 5
    with pytest.raises(
        TooFewUpdates, match=r"krum.f=1. needs at least 5 updates .n >= 2f . 3. and"
    ):
        aggregate(chain(rules.bucketing(2), rules.krum(1)), np.eye(8))


@pytest.mark.parametrize("f", [-1, 1.5, True, None])
def test_f_is_a_count(f: object) -> None:
    for factory in (rules.krum, rules.arc, rules.nnm, rules.trimmed_mean, rules.caf):
        with pytest.raises(InvalidParameter, match=r"f must be an int >= 0"):
            factory(f)  # type: ignore[arg-type]


def test_bad_shapes_and_dtypes() -> None:
    with pytest.raises(ShapeMismatch, match=r"shape"):
        aggregate(rules.mean(), [np.zeros(3), np.zeros(4)])
    with pytest.raises(ShapeMismatch, match=r"float"):
        aggregate(rules.mean(), [np.zeros(3, int)])
    with pytest.raises(ShapeMismatch, match=r"float"):
        aggregate(rules.mean(), [np.zeros(3, complex)])
    with pytest.raises(ShapeMismatch):
        aggregate(rules.mean(), [np.zeros((3, 1))])
    with pytest.raises(TooFewUpdates):
        aggregate(rules.mean(), [])
    assert aggregate(rules.krum(0), np.zeros((3, 0))).vector.shape == (0,)


def test_odd_but_fine_inputs() -> None:
    rows = np.random.default_rng(0).normal(size=(7, 20)).astype(np.float32)
    whole = aggregate(rules.krum(1), rows).vector
    strided = np.asfortranarray(np.repeat(rows, 2, axis=1))[:, ::2]
    frozen = rows.copy()
    frozen.setflags(write=False)
    assert aggregate(rules.krum(1), strided).vector.tobytes() == whole.tobytes()
    assert aggregate(rules.krum(1), frozen).vector.tobytes() == whole.tobytes()
    mixed = [rows[0].astype(np.float64), *rows[1:]]
    assert aggregate(rules.krum(1), mixed).vector.dtype == np.float64


def test_a_failing_kernel_is_named_with_its_columns() -> None:
    def kernel(rows: np.ndarray, columns: slice) -> np.ndarray:
        raise ZeroDivisionError("oops")

    stage = Stage("broken()", 1, "n >= 1", lambda s, _: (Blockwise(kernel), _), blockwise=True)
    with pytest.raises(StageFailed, match=r"broken.. failed on columns 0:4") as caught:
        aggregate(stage, np.ones((2, 4)))
    assert caught.value.stage == "broken()"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_debug_finds_impure_kernels() -> None:
    def spoil(rows: np.ndarray, columns: slice) -> np.ndarray:
        rows += 1
        return rows[:1]

    rng = np.random.default_rng(0)
    for kernel, why in ((spoil, "changed its input"), (None, "differently twice")):
        act = Blockwise(kernel or (lambda rows, _: rows[:1] + rng.normal()))
        stage = Stage("impure()", 1, "n >= 1", lambda s, _, act=act: (act, _), blockwise=True)
        with pytest.raises(StageFailed, match=why):
            aggregate(stage, Debug(InMemory(np.ones((2, 4)))))


def test_debug_explains_a_failing_probe() -> None:
    def on_block(block: np.ndarray, columns: slice) -> np.ndarray:
        raise ValueError("no")

    wild = np.ones((3, 4))
    wild[2, 1] = np.nan
    with pytest.raises(StageFailed, match=r"rows .2. of its input are not finite"):
        probe(Debug(InMemory(wild)), [Probe("bad", on_block)])


def test_transform_returns_the_rows() -> None:
    rows, state, weights = transform(rules.nnm(0), InMemory(np.eye(2)))
    assert rows.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert state == (None,)
    assert weights is not None
    assert weights.tolist() == [[0.5, 0.5], [0.5, 0.5]]
    assert stages_of(chain(rules.nnm(0), chain(rules.mean())))[1].name == "mean()"
