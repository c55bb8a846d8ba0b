"""The pure step: admission, scores, holding, and the order of commit and publication."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest
from counting import count_passes

import fedguard_strategies as rules
from fedguard import (
    Cohort,
    Fault,
    Linear,
    MemoryStore,
    Policy,
    ReputationPolicy,
    Stage,
    State,
    Update,
    aggregate,
    chain,
    commit_round,
    robust_z,
    step,
)
from fedguard.errors import DuplicateUpdate, InvalidParameter, MissingVector, StaleCommit
from fedguard.server import rehearse
from fedguard.state import RoundRecord
from fedguard_strategies.recipes import standard_scorers
from fedguard_strategies.scorers import behaviour

POLICY = Policy(chain(rules.arc(1), rules.caf(1)), standard_scorers(1))


def cohort(n: int = 8, d: int = 40, wild: dict[int, float] | None = None) -> Cohort:
    rng = np.random.default_rng(0)
    rows = (rng.normal(size=(n, d)) * 0.3 + rng.normal(size=d)).astype(np.float32)
    for row, value in (wild or {}).items():
        rows[row] *= value
    return Cohort.of(Update(f"c{i}", row, 10 * i) for i, row in enumerate(rows))


def test_arrival_order_does_not_matter() -> None:
    there = cohort()
    back = Cohort.of(reversed(there.updates))
    one, other = step(State(), there, POLICY), step(State(), back, POLICY)
    assert one[0].tobytes() == other[0].tobytes()
    assert one[1] == other[1]


def test_the_same_round_again_is_the_same_report() -> None:
    assert step(State(3), cohort(), POLICY)[1] == step(State(3), cohort(), POLICY)[1]
    assert step(State(3), cohort(), POLICY)[1].round == 4


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e80, 1e200])
def test_non_finite_rows_are_refused_and_the_others_go_on(bad: float) -> None:
    rows = [update.delta.astype(np.float64) for update in cohort().updates]
    wild = [row.copy() for row in rows]
    wild[2][5] = bad
    vector, report, _ = step(
        State(), Cohort.of(Update(f"c{i}", row) for i, row in enumerate(wild)), POLICY
    )
    without = aggregate(POLICY.defence, rows[:2] + rows[3:]).vector
    assert vector.tobytes() == without.tobytes()
    assert [verdict.client for verdict in report.refused] == ["c2"]
    assert report.refused[0].reason == "non-finite"
    assert report.held is None


def test_scores_name_the_boosted_client() -> None:
    _, report, _ = step(State(), cohort(wild={3: -10.0}), POLICY)
    assert report.suspects == ("c3",)
    scores = report.verdicts[3].scores
    families = {"magnitude", "direction", "neighbourhood", "extent", "sybil", "temporal"}
    assert set(scores) == families | {"response"}
    assert min(scores[family] for family in ("magnitude", "neighbourhood")) > 5
    assert step(State(), cohort(), POLICY)[1].suspects == ()


def test_scores_cost_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:

    maps = count_passes(monkeypatch)
    step(State(), cohort(), POLICY)
    assert len(maps) == 2


def test_weights_are_reported_where_they_exist() -> None:
    _, report, _ = step(State(), cohort(), POLICY)
    assert sum(verdict.weight for verdict in report.verdicts) == pytest.approx(1, abs=0.05)
    _, report, _ = step(State(), cohort(), Policy(rules.trimmed_mean(1)))
    assert {verdict.weight for verdict in report.verdicts} == {None}


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        (Cohort(), "no admissible update"),
        (cohort(2), "krum.f=1. needs at least 5 updates .n >= 2f . 3."),
        (cohort(6, wild={0: np.nan, 1: np.nan}), "got 4"),
    ],
)
def test_a_round_that_cannot_be_aggregated_is_held(sent: Cohort, why: str) -> None:
    vector, report, after = step(State(2), sent, Policy(rules.krum(1), standard_scorers(1)))
    assert vector is None
    assert pytest.approx(0) == report.norm
    assert report.held is not None
    import re

    assert re.search(why, report.held)
    assert after.round == 3


def test_an_aggregate_that_overflows_is_held() -> None:
    double = Stage("double()", 1, "n >= 1", lambda s, _: (Linear(np.full((1, s.n), 2.0)), _))
    rows = [Update(name, np.full(3, 3e38, np.float32)) for name in "ab"]
    with np.errstate(over="ignore"):
        vector, report, _ = step(State(), Cohort.of(rows), Policy(double))
    assert vector is None
    assert report.held == "the aggregate is not finite"


def test_faults_stand_in_the_report() -> None:
    sent = Cohort.of(cohort().updates, [Fault("late", "no-reply", "no reply in time")])
    _, report, _ = step(State(), sent, POLICY)
    assert [(each.client, each.reason) for each in report.refused] == [("late", "no-reply")]
    assert len(report.verdicts) == 9


def test_one_update_a_client() -> None:
    one = cohort().updates[0]
    with pytest.raises(DuplicateUpdate, match="'c0'"):
        Cohort.of([one, one])


def test_a_round_is_in_the_store_when_it_is_returned() -> None:
    store = MemoryStore()
    _, report = commit_round(store, cohort(), POLICY)
    assert store.reports == (report,)
    assert commit_round(store, cohort(), POLICY)[1].round == 2


@pytest.mark.parametrize("enabled", [True, False])
def test_garbage_is_collected_after_a_round_as_before_it(enabled: bool) -> None:
    before, store, meanwhile = gc.isenabled(), MemoryStore(), list[bool]()

    def seal(*_: object) -> RoundRecord:
        meanwhile.append(gc.isenabled())
        return RoundRecord()

    try:
        (gc.enable if enabled else gc.disable)()
        commit_round(store, cohort(), POLICY, seal)
        assert (meanwhile, gc.isenabled()) == ([False], enabled)
        with pytest.raises(StaleCommit):
            commit_round(store, cohort(), POLICY, begun=7)
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_accomplices_of_a_very_loud_client_are_still_seen() -> None:
    for loudest in (1e8, 1e12, 1e30):
        sent = cohort(12, wild={0: loudest, 1: -8.0, 2: -8.0})
        assert step(State(), sent, POLICY)[1].suspects[:3] == ("c0", "c1", "c2")


def test_one_scorer_a_family() -> None:
    with pytest.raises(InvalidParameter, match="one scorer a family"):
        Policy(rules.mean(), (*standard_scorers(1), *standard_scorers(2)))


def test_commit_is_idempotent_and_refuses_a_second_server() -> None:
    store = MemoryStore()
    _, report, after = step(store.load(), cohort(), POLICY)
    store.commit(after, report, expected_round=0)
    store.commit(after, report, expected_round=0)
    assert store.reports == (report,)
    _, other, later = step(State(), cohort(6), POLICY)
    with pytest.raises(StaleCommit, match="another server"):
        store.commit(later, other, expected_round=0)
    assert store.load() == after


def test_robust_z_of_little_and_of_nothing() -> None:
    assert robust_z(np.zeros(0)).shape == (0,)
    assert robust_z(np.zeros(4)).tolist() == [0, 0, 0, 0]
    assert robust_z(np.array([5.0])).tolist() == [0]
    assert robust_z(np.array([1.0, 1.0, 1.0, 2.0]))[3] > 1e5


def test_another_model_starts_anew_but_for_reputations() -> None:
    policy = Policy(rules.centred_clipping(tau=1.0), standard_scorers(1), ReputationPolicy(f=1))
    _, _, before = step(State(), cohort(d=40), policy)
    vector, report, after = step(before, cohort(d=50), policy)
    fresh, _, _ = step(State(), cohort(d=50), policy)
    assert vector is not None
    assert vector.tobytes() == fresh.tobytes()
    assert after.reputations["c0"].participations == 2
    assert report.held is None
    assert State.from_bytes(after.to_bytes()).parameters == 50


def test_a_scorer_needs_its_vector_before_anyone_trains() -> None:
    with pytest.raises(MissingVector, match="root"):
        rehearse(rules.mean(), 5, ("model",), [behaviour()])
    rehearse(rules.mean(), 5, ("model", "root"), [behaviour()])


def test_who_makes_the_model_worse_is_scored_by_the_root() -> None:
    policy = Policy(rules.caf(1), (behaviour(),))
    sent = cohort(wild={2: -1.0})
    root = np.mean([update.delta for update in sent.updates], axis=0)
    state = State()
    for _ in range(6):
        _, report, state = step(state, replace(sent, vectors={"root": root}), policy)
    scores = {verdict.client: verdict.scores["behaviour"] for verdict in report.verdicts}
    assert max(scores, key=scores.__getitem__) == "c2"
    assert scores["c2"] > 3
    with pytest.raises(MissingVector):
        step(State(), sent, policy)


def test_a_root_that_is_not_finite_costs_nobody_the_round() -> None:
    policy = Policy(rules.caf(1), (behaviour(),))
    wild = replace(cohort(), vectors={"root": np.full(40, np.nan)})
    vector, report, _ = step(State(), wild, policy)
    assert vector is not None
    assert len(report.admitted) == 8
    assert all(verdict.scores["behaviour"] == 0 for verdict in report.verdicts)
