"""Reputations in the pure step: shadow, copies, caps, mass suspicion, the operator, slander."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import fedguard_strategies as rules
from fedguard import (
    Action,
    Change,
    Cohort,
    Fault,
    Override,
    Policy,
    Reputation,
    ReputationPolicy,
    RoundReport,
    Standing,
    State,
    Update,
    aggregate,
    chain,
    step,
)
from fedguard.errors import InvalidParameter
from fedguard.server.replay import Inputs
from fedguard.types import Array
from fedguard_strategies.expressions import OPTIMISERS, RULES, SCORERS
from fedguard_strategies.recipes import standard_policy, standard_scorers

F, N, D = 3, 14, 300
POLICY = Policy(chain(rules.arc(F), rules.caf(F)), standard_scorers(F), ReputationPolicy(f=F))


def rows(number: int, n: int = N) -> Array:
    """Honest rows of one round: what all have in common, what each has of its own, noise."""
    common = np.random.default_rng(0).normal(size=D)
    own = 0.5 * np.random.default_rng(1).normal(size=(n, D))
    noise = np.random.default_rng([2, number]).normal(size=(n, D))
    return (common + own + noise).astype(np.float32)


def cohort(values: Array, faults: Iterable[Fault] = ()) -> Cohort:
    return Cohort.of([Update(f"c{i:02}", row) for i, row in enumerate(values)], faults)


def negated(values: Array, bad: tuple[int, ...]) -> Array:
    values = values.copy()
    values[list(bad)] *= -10
    return values


def run(
    count: int, bad: tuple[int, ...] = (), state: State | None = None, policy: Policy = POLICY
) -> tuple[list[RoundReport], State]:
    state, reports = state or State(), []
    for _ in range(count):
        values = negated(rows(state.round + 1), bad)
        _, report, state = step(state, cohort(values), policy)
        reports.append(report)
    return reports, state


def standings(state: State) -> dict[str, Standing]:
    return {client: known.standing for client, known in state.reputations.items()}


def test_attackers_go_in_round_three_and_are_scored_in_shadow() -> None:
    reports, state = run(6, bad=(2, 5))
    gone = {client for client, each in standings(state).items() if not each.counts}
    assert gone == {"c02", "c05"}
    assert [(each.client, each.after) for each in reports[2].changes] == [
        ("c02", Standing.QUARANTINE),
        ("c05", Standing.QUARANTINE),
    ]
    shadow = {each.client: each for each in reports[5].verdicts}["c02"]
    assert (shadow.admitted, shadow.reason, shadow.weight) == (False, "quarantine", None)
    assert shadow.scores["magnitude"] > 5
    assert 0.8 < sum(each.weight or 0 for each in reports[5].verdicts) <= 1  # some are clipped


def test_the_aggregate_is_that_of_those_who_count() -> None:
    _, state = run(6, bad=(2, 5))
    values = negated(rows(7), (2, 5))
    vector, report, _ = step(state, cohort(values), POLICY)
    kept = [row for i, row in enumerate(values) if i not in (2, 5)]
    assert vector is not None
    np.testing.assert_allclose(vector, aggregate(POLICY.defence, kept).vector, rtol=1e-5)
    assert report.held is None


def test_who_mends_its_ways_comes_back() -> None:
    _, state = run(5, bad=(4,))
    assert standings(state)["c04"] is Standing.QUARANTINE
    reports, state = run(60, state=state)
    told = [each.after for report in reports for each in report.changes if each.client == "c04"]
    assert told == [Standing.PROBATION, Standing.TRUSTED]


def test_honest_clients_are_trusted_after_their_probation() -> None:
    _, state = run(25)
    assert set(standings(state).values()) == {Standing.TRUSTED}
    assert {each.since for each in state.reputations.values()} <= set(range(12, 26))


def test_more_than_f_at_once_hold_the_round_until_the_operator_decides() -> None:
    policy = replace(POLICY, reputation=ReputationPolicy(f=1))
    reports, state = run(5, bad=(2, 5), policy=policy)
    assert [bool(report.held) for report in reports] == [False, False, True, True, True]
    assert "2 clients would be quarantined at once, more than f = 1" in str(reports[2].held)
    assert all(each.counts for each in standings(state).values())
    decided = {"c02": Override("c02", Action.BAN, "it was them")}
    _, report, state = step(
        replace(state, overrides=decided), cohort(negated(rows(6), (2, 5))), policy
    )
    assert report.held is None
    assert standings(state)["c02"] is Standing.BANNED
    assert standings(state)["c05"] is Standing.QUARANTINE
    (told,) = [each for each in report.changes if each.client == "c02"]
    assert told.why == "the operator: ban. it was them"


def test_the_operators_trust_counts_more_than_evidence() -> None:
    trusted = {"c02": Override("c02", Action.TRUST)}
    state = State(overrides=trusted)
    for number in range(1, 8):
        values = negated(rows(number), (2,))
        _, report, state = step(state, cohort(values), POLICY)
        assert "c02" in report.admitted
        state = replace(state, overrides=trusted)
    assert state.reputations["c02"].evidence["magnitude"] >= 1
    _, report, state = step(replace(state, overrides={}), cohort(negated(rows(8), (2,))), POLICY)
    assert standings(state)["c02"] is Standing.QUARANTINE


def ordered(action: Action, rounds: int, bad: tuple[int, ...] = ()) -> tuple[list[Change], State]:
    """Five rounds, then some under an order about c02, then one without it."""
    _, state = run(5, bad=bad)
    order = Override("c02", action)
    for _ in range(rounds):
        _, state = run(1, bad=bad, state=replace(state, overrides={"c02": order}))
        state = State.from_bytes(state.to_bytes())
        assert standings(state)["c02"] is order.standing
    (report,), state = run(1, bad=bad, state=replace(state, overrides={}))
    return [each for each in report.changes if each.client == "c02"], state


@pytest.mark.parametrize("action", [Action.BAN, Action.QUARANTINE, Action.TRUST])
def test_an_order_that_ended_leaves_what_the_evidence_says(action: Action) -> None:
    (told,), state = ordered(action, 2)
    given = Override("c02", action).standing
    assert (told.before, told.after) == (given, Standing.PROBATION)
    assert told.why == "the operator's order has ended; 8 rounds, nothing held against it"
    _, state = ordered(action, 25)  # so long that it was trusted meanwhile
    assert standings(state)["c02"] is Standing.TRUSTED


def test_an_order_does_not_hide_what_is_done_meanwhile() -> None:
    (told,), _ = ordered(Action.TRUST, 3, bad=(2,))
    assert (told.before, told.after) == (Standing.TRUSTED, Standing.QUARANTINE)
    assert "evidence of" in told.why


def test_reinstating_starts_over() -> None:
    _, state = run(5, bad=(2,))
    again = {"c02": Override("c02", Action.REINSTATE)}
    _, report, state = step(replace(state, overrides=again), cohort(rows(6)), POLICY)
    assert "c02" in report.admitted
    assert standings(state)["c02"] is Standing.PROBATION
    assert max(state.reputations["c02"].evidence.values()) < 0.5


def test_of_copies_one_counts_and_the_best_reputed_is_the_original() -> None:
    _, state = run(8)
    values = rows(9)
    values[[1, 4]] = values[7]
    known = dict(state.reputations)
    known["c07"] = known["c07"]._replace(good=100.0)
    _, report, _ = step(replace(state, reputations=known), cohort(values), POLICY)
    refused = {each.client: each.reason for each in report.refused}
    assert refused == {"c01": "copy", "c04": "copy"}


def test_whom_the_operator_trusts_is_the_original_whoever_copies_it() -> None:
    _, state = run(8, bad=(7,))
    values = rows(9)
    values[4] = values[7]
    trusted = {"c07": Override("c07", Action.TRUST, "a rare ward", "ann")}
    _, report, _ = step(replace(state, overrides=trusted), cohort(values), POLICY)
    assert {each.client: each.reason for each in report.refused} == {"c04": "copy"}


@pytest.mark.parametrize("bad", [(), (2,), (2, 5), (2, 5, 7), (2, 5, 7, 8, 9, 11)])
@pytest.mark.parametrize("scale", [-1e4, -10.0, 1e-3])
def test_honest_clients_that_are_much_alike_are_no_copies(
    bad: tuple[int, ...], scale: float
) -> None:
    """However far out the hostile are, or however near together."""
    common = np.random.default_rng(0).normal(size=D)
    noise = np.random.default_rng(3).normal(size=(N, D))
    values = (common + 0.05 * noise).astype(np.float32)
    values[list(bad)] = scale * common + abs(scale) * 0.05 * noise[list(bad)]
    _, report, _ = step(State(), cohort(values), POLICY)
    copies = {each.client for each in report.verdicts if each.reason == "copy"}
    assert copies <= {f"c{i:02}" for i in bad}


def test_colluders_who_differ_by_a_hundredth_count_once() -> None:
    values = rows(1)
    same = values[0] * (1 + 0.01 * np.random.default_rng(4).normal(size=(F, D)))
    values[1 : F + 1] = same
    _, report, _ = step(State(), cohort(values), POLICY)
    assert [each.client for each in report.verdicts if each.reason == "copy"] == [
        "c01",
        "c02",
        "c03",
    ]


def test_nobody_is_put_away_for_being_copied() -> None:
    """Three clients send what c07 sends; c07 trains honestly and stays."""
    state = State()
    for number in range(1, 41):
        values = rows(number)
        values[[1, 4, 9]] = values[7]
        _, report, state = step(state, cohort(values), POLICY)
    assert standings(state)["c07"].counts
    assert report.held is None


def test_identical_colluders_do_not_move_the_scale_they_are_judged_by() -> None:
    """A fifth and more send one vector against the others' direction, and are found."""
    state = State()
    for number in range(1, 8):
        values = rows(number)
        values[[0, 1, 2]] = -2 * values[3:].mean(axis=0)
        _, _, state = step(state, cohort(values), POLICY)
    gone = {client for client, each in standings(state).items() if not each.counts}
    assert gone == {"c00", "c01", "c02"}


@pytest.mark.parametrize(("rounds", "weight"), [(2, 0), (5, 1 / 8), (11, 0.5), (20, 0.5)])
def test_probation_counts_half_and_a_new_key_less(rounds: int, weight: float) -> None:
    """It grows with the square of the rounds: of twelve it has taken part in one more than told.

    At first it is so little that it is nothing.
    """
    _, state = run(25)
    known = dict(state.reputations) | {"c03": Reputation(participations=rounds)}
    linear = replace(POLICY, defence=rules.mean())
    _, report, _ = step(replace(state, reputations=known), cohort(rows(26)), linear)
    weights = {each.client: each.weight for each in report.verdicts}
    counting = N if weight else N - 1
    assert weights["c03"] == pytest.approx(weight / counting)
    assert weights["c04"] == pytest.approx(1 / counting)


def test_new_keys_are_not_the_tightest_rows_there_are() -> None:
    """Shortened to next to nothing, a few of them would pull the aggregate of the others along."""
    _, state = run(25)
    known = dict(state.reputations) | {f"c0{i}": Reputation() for i in range(F)}
    values = rows(26)
    vector, report, _ = step(replace(state, reputations=known), cohort(values), POLICY)
    assert vector is not None
    np.testing.assert_allclose(vector, aggregate(POLICY.defence, values[F:]).vector, rtol=1e-5)
    assert {each.weight for each in report.verdicts[:F]} == {0.0}
    assert len(report.admitted) == N


@pytest.mark.parametrize(("apart", "counting"), [(1, N), (2, N - 2), (F, N - F), (F + 1, N)])
def test_several_that_are_all_too_far_from_the_rest_do_not_count(apart: int, counting: int) -> None:
    """One may be honest with data like nobody's, and more than f are no minority."""
    _, state = run(25)
    far = Reputation(Standing.TRUSTED, participations=25, evidence={"neighbourhood": 2.5})
    known = dict(state.reputations) | {f"c{i:02}": far for i in range(apart)}
    linear = replace(POLICY, defence=rules.mean())
    _, report, _ = step(replace(state, reputations=known), cohort(rows(26)), linear)
    counted = [each for each in report.verdicts if each.weight]
    assert len(counted) == counting
    assert len(report.admitted) == N


def test_while_all_are_new_nobody_is_shortened() -> None:
    linear = replace(POLICY, defence=rules.mean())
    _, report, _ = step(State(), cohort(rows(1)), linear)
    assert {each.weight for each in report.verdicts} == {1 / N}


@pytest.mark.parametrize("reason", ["spoofed-source", "keys", "shape", "dtype", "non-finite"])
def test_hard_faults_put_a_client_away_and_network_faults_do_not(reason: str) -> None:
    state = State()
    faults = [Fault("liar", reason), Fault("slow", "no-reply"), Fault("crash", "client-error")]
    for number in range(1, 5):
        _, _, state = step(state, cohort(rows(number), faults), POLICY)
    assert standings(state)["liar"] is Standing.QUARANTINE
    assert state.reputations.get("slow", Reputation()).participations == 0
    assert state.reputations.get("crash", Reputation()).standing.counts


def test_a_round_of_faults_alone_is_held_and_remembered() -> None:
    _, report, state = step(State(), Cohort.of([], [Fault("liar", "keys")]), POLICY)
    assert report.held == "no admissible update"
    assert state.reputations["liar"].evidence["protocol"] > 0
    assert report.verdicts[0].standing is Standing.PROBATION


def test_partial_participation_keeps_every_clients_own_past() -> None:
    state, rng = State(), np.random.default_rng(3)
    for number in range(1, 40):
        chosen = sorted(rng.choice(N, 9, replace=False))
        values = negated(rows(number), (2,))
        updates = [Update(f"c{i:02}", values[i]) for i in chosen]
        _, _, state = step(state, Cohort.of(updates), POLICY)
    away = [client for client, each in standings(state).items() if not each.counts]
    assert away == ["c02"]
    assert 9 < state.reputations["c02"].participations < 39


def test_the_same_rounds_give_the_same_bytes() -> None:
    one, other = run(6, bad=(2, 5)), run(6, bad=(2, 5))
    assert [report.to_bytes() for report in one[0]] == [report.to_bytes() for report in other[0]]
    assert one[1].to_bytes() == other[1].to_bytes()
    assert State.from_bytes(one[1].to_bytes()).to_bytes() == one[1].to_bytes()


def test_a_stored_state_goes_on_as_if_it_never_left() -> None:
    _, state = run(4, bad=(2,))
    go_on = partial(run, 3, bad=(2,))
    one, other = go_on(state=state), go_on(state=State.from_bytes(state.to_bytes()))
    assert one[1].to_bytes() == other[1].to_bytes()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_clients_are_scored_without_a_fuss(n: int) -> None:
    policy = replace(POLICY, defence=rules.mean())
    state = State()
    for number in range(1, 6):
        vector, report, state = step(state, cohort(rows(number, n)), policy)
        assert vector is not None
        assert all(np.isfinite(list(each.scores.values())).all() for each in report.verdicts)
    assert all(each.counts for each in standings(state).values())


def test_zero_updates_are_copies_of_nobody() -> None:
    values = rows(1)
    values[:5] = 0
    _, report, _ = step(State(), cohort(values), POLICY)
    assert len(report.admitted) == N


def test_a_small_federation_goes_on_without_those_in_quarantine() -> None:
    """Four honest of six: against two hostile five are needed, and the two are put away."""
    state, defences, held = State(), list[str](), list[str | None]()
    policy = standard_policy(2)
    for number in range(1, 28):
        values = negated(rows(number, 6), (4, 5))
        _, report, state = step(state, cohort(values), policy)
        defences.append(report.defence)
        held.append(report.held)
    away = [client for client, each in state.reputations.items() if not each.standing.counts]
    assert away == ["c04", "c05"]
    assert not any(held)
    assert defences[0] == "chain(arc(f=2), caf(f=2))"
    assert defences[-1] == "chain(arc(f=0), caf(f=0))"  # nobody hostile is left
    fixed = replace(policy, smaller=())
    _, report, _ = step(state, cohort(rows(28, 6)), fixed)
    assert "needs at least 5" in str(report.held)
    few = Cohort.of(cohort(rows(28, 6)).updates[3:])  # one honest client, and those two
    _, report, _ = step(state, few, replace(policy, quorum=0.0))
    assert report.defence == "chain(arc(f=0), caf(f=0))"
    alone = Cohort.of(cohort(rows(28, 6)).updates[:2])  # nobody put away is there: f stays 2
    _, report, _ = step(state, alone, policy)
    assert "needs at least 5" in str(report.held)


def test_smaller_defences_are_the_same_one() -> None:
    with pytest.raises(InvalidParameter, match="other stages"):
        Policy(rules.krum(2), smaller=(rules.mean(),))
    inputs = Inputs(
        State(), cohort(rows(1)), "krum(f=2)", (), None, 0.05, 0.5, None, ("krum(f=1)",)
    )
    made = inputs.policy(RULES, SCORERS, OPTIMISERS)
    assert [each.name for each in (made.defence, *made.smaller)] == ["krum(f=2)", "krum(f=1)"]


def test_one_huge_update_blinds_no_score() -> None:
    """Its sketch would overflow, and a NaN in one history makes all products with it NaN."""
    values = rows(1)
    values[-1, 0] = 3e38
    _, report, state = step(State(), cohort(values), POLICY)
    assert len(report.admitted) == N
    reports, _ = run(5, bad=(2,), state=state)
    for family in ("direction", "sybil", "temporal"):
        assert any(each.scores.get(family) for each in reports[-1].verdicts)
    assert {each.client: each for each in reports[-1].verdicts}["c02"].scores["direction"] > 5


def test_whom_the_operator_trusts_counts_though_several_lie_apart() -> None:
    far = Reputation(Standing.TRUSTED, participations=25, evidence={"neighbourhood": 2.5})
    trusted = {f"c0{i}": Override(f"c0{i}", Action.TRUST, "a rare ward", "ann") for i in range(2)}
    state = State(reputations=dict.fromkeys(trusted, far))
    policy = replace(POLICY, defence=rules.mean(), reputation=ReputationPolicy(F, probation=0))
    counting = {}
    for ordered in (False, True):
        now = replace(state, overrides=trusted if ordered else {})
        _, report, _ = step(now, cohort(rows(1)), policy)
        counting[ordered] = sum((each.weight or 0) > 0 for each in report.verdicts)
    assert counting == {False: N - 2, True: N}


def test_of_several_that_seem_to_be_one_one_counts() -> None:
    alike = Reputation(Standing.PROBATION, participations=20, evidence={"sybil": 1.5})
    for count, left in ((2, N), (F + 1, N - F), (F + 2, N)):
        known = {f"c{i:02}": alike for i in range(count)} | {
            f"c{i:02}": Reputation(Standing.TRUSTED, participations=20) for i in range(count, N)
        }
        policy = replace(POLICY, defence=rules.mean())
        _, report, _ = step(State(reputations=known), cohort(rows(1)), policy)
        assert sum((each.weight or 0) > 0 for each in report.verdicts) == left


@pytest.mark.parametrize("action", [Action.BAN, Action.QUARANTINE])
def test_an_order_counts_where_no_policy_keeps_reputations(action: Action) -> None:
    order = {"c00": Override("c00", action, "stolen", "ann")}
    policy = Policy(rules.mean())
    vector, report, state = step(State(overrides=order), cohort(rows(1)), policy)
    assert report.admitted == tuple(f"c{i:02}" for i in range(1, N))
    assert [(each.client, each.after.counts) for each in report.changes] == [("c00", False)]
    np.testing.assert_allclose(vector, rows(1)[1:].mean(axis=0), rtol=1e-5)
    _, report, _ = step(replace(state, overrides={}), cohort(rows(2)), policy)
    assert len(report.admitted) == N


def test_a_servers_vector_that_is_not_finite_holds_the_round() -> None:
    values = cohort(rows(1))
    values = replace(values, vectors={"root": np.full(D, np.nan, np.float32)})
    vector, report, _ = step(State(), values, Policy(rules.fltrust()))
    assert vector is None
    assert "not finite" in str(report.held)


def test_who_comes_back_counts_little_at_first() -> None:
    rules_of = ReputationPolicy(f=F)
    back = Reputation(Standing.PROBATION, participations=40, quarantines=1)
    weights = [rules_of.weight(back._replace(clean=clean)) for clean in (0, 6, 12, 30)]
    assert weights == [0.5 / 144, 0.125, 0.5, 0.5]
