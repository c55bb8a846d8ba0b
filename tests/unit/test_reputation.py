"""Evidence over rounds, standings and their hysteresis, the operator's word, mass suspicion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import erfc

from fedguard import Action, Override, Reputation, ReputationPolicy, Standing
from fedguard.errors import InvalidParameter
from fedguard.reputation import Evidence
from fedguard.reputation.evidence import benjamini_hochberg, combined, gathered
from fedguard.scoring import MOST_SURPRISE, surprise
from fedguard_strategies.scorers import extent

POLICY = ReputationPolicy(f=4)
LOUD = Evidence({"magnitude": 4.0, "extent": 4.0}, suspected=True)
QUIET = Evidence({"magnitude": 0.3, "extent": 0.4})


def after(rounds: list[Evidence], known: Reputation | None = None) -> Reputation:
    known = known or Reputation()
    for now, evidence in enumerate(rounds, 1):
        known = POLICY.after(known, evidence, now)
    return known


def test_a_new_key_is_on_probation_until_it_has_been_clean_for_long_enough() -> None:
    assert Reputation().standing is Standing.PROBATION
    assert after([QUIET] * (POLICY.probation - 1)).standing is Standing.PROBATION
    assert after([QUIET] * POLICY.probation).standing is Standing.TRUSTED


def test_a_loud_client_goes_in_its_third_round_and_not_before() -> None:
    assert after([LOUD] * 2).standing.counts
    assert after([LOUD] * 3).standing is Standing.QUARANTINE
    assert after([QUIET] * 50 + [LOUD] * 2).standing.counts
    assert after([QUIET] * 50 + [LOUD] * 3).standing is Standing.QUARANTINE


def test_one_family_alone_never_puts_a_client_away() -> None:
    for family in ("magnitude", "direction", "sybil", "temporal", "extent"):
        assert after([Evidence({family: 4.0, "x": 0.0})] * 100).standing is Standing.PROBATION


def test_most_evidence_of_a_law_is_proof_and_an_alarm_of_it_is_not() -> None:
    turned = Evidence({"response": 4.0, "x": 0.0})
    for_an_alarm = 3
    assert after([turned] * for_an_alarm).standing is Standing.PROBATION
    assert after([turned] * (2 * for_an_alarm)).standing is Standing.QUARANTINE


def test_an_alarm_of_a_law_beside_others_is_no_second_one() -> None:
    """Who has odd data is far out at all times; one alarm of a law comes to it once in a while."""
    odd = after([Evidence({"magnitude": 4.0, "neighbourhood": 4.0, "response": 0.0})] * 20)
    turned = Evidence({"magnitude": 4.0, "neighbourhood": 4.0, "response": 4.0})
    assert after([turned] * 4, odd).evidence["response"] > 1
    assert after([turned] * 4, odd).standing is Standing.PROBATION
    assert after([turned] * 6, odd).standing is Standing.QUARANTINE


def test_who_alone_holds_a_class_is_not_far_enough_out_and_a_loud_client_is() -> None:
    """As far as such clients were after 100 rounds, and as an update that is ten times as long."""
    for away, standing in ((4.6, Standing.PROBATION), (10.2, Standing.QUARANTINE)):
        (strange,) = surprise(np.array([away]), extent().tail)
        told = Evidence({"magnitude": 4.0, "neighbourhood": 4.0, "extent": float(strange)})
        assert after([told] * (300 if standing.counts else 5)).standing is standing


def test_nobody_is_trusted_while_a_law_is_odd() -> None:
    """Evidence of it comes later; of other families an odd round is no more than that."""
    odd = {"response": 1.0}
    assert after([Evidence(odd)] * 100).standing is Standing.PROBATION
    assert after([Evidence({"magnitude": 1.0})] * POLICY.probation).standing is Standing.TRUSTED
    again = after([Evidence(odd)] * 100 + [QUIET] * POLICY.probation)
    assert again.standing is Standing.TRUSTED


def test_families_that_go_together_are_one() -> None:
    lone = Evidence({"magnitude": 4.0, "direction": 4.0, "neighbourhood": 4.0, "extent": 1.0})
    assert after([lone] * 100).standing is Standing.PROBATION
    farther = Evidence({**lone.surprises, "extent": 3.0})
    assert after([farther] * 20).standing is Standing.QUARANTINE


def test_it_takes_two_alarms_and_less_than_an_alarm_is_none() -> None:
    almost = Evidence({"sybil": 4.0, "magnitude": POLICY.allowance})
    assert after([almost] * 100).standing is Standing.PROBATION
    assert after([Evidence({"sybil": 4.0, "magnitude": 3.0})] * 20).standing is Standing.QUARANTINE


def test_faults_prove_by_themselves() -> None:
    assert after([Evidence({"protocol": 4.0}, suspected=True)] * 3).standing is Standing.QUARANTINE


def test_quarantine_ends_and_each_one_is_longer_than_the_last() -> None:
    known, lengths = Reputation(), []
    for _ in range(POLICY.ban_after):
        known = after([LOUD] * 5, known)
        assert known.standing is Standing.QUARANTINE
        rounds = 0
        while known.standing is Standing.QUARANTINE:
            known, rounds = after([QUIET], known), rounds + 1
        assert known.standing is Standing.PROBATION
        lengths.append(rounds)
    assert lengths == sorted(set(lengths))
    assert after([LOUD] * 5, known).standing is Standing.BANNED
    assert after([LOUD] * 5 + [QUIET] * 1000, known).standing is Standing.BANNED


def test_whoever_goes_on_attacking_stays_where_it_is() -> None:
    known = after([LOUD] * 500)
    assert (known.standing, known.quarantines) == (Standing.QUARANTINE, 1)


def test_a_trusted_client_is_watched_before_it_is_doubted() -> None:
    some = Evidence({"magnitude": 3.0}, suspected=False)
    seen = [after([QUIET] * POLICY.probation + [some] * k).standing for k in range(8)]
    assert list(dict.fromkeys(seen)) == [Standing.TRUSTED, Standing.WATCH, Standing.PROBATION]


def test_bad_rounds_are_forgotten_more_slowly_than_good_ones() -> None:
    fair = after([QUIET, LOUD] * 50)
    assert fair.value < 0.5
    assert Reputation().value == 0.5
    assert after([QUIET] * 50).value > 0.9


@given(st.lists(st.floats(0, MOST_SURPRISE), max_size=40), st.floats(0, 2))
def test_evidence_stays_between_nothing_and_two_alarms(rounds: list[float], level: float) -> None:
    for each in rounds:
        level = gathered(level, each, POLICY.allowance, POLICY.alarm)
        assert 0 <= level <= 2


@given(st.lists(st.sampled_from([LOUD, QUIET, Evidence({"protocol": 4.0})]), max_size=60))
def test_standings_follow_from_participations_alone(rounds: list[Evidence]) -> None:
    known = after(rounds)
    assert known.participations == len(rounds)
    if len(rounds) < POLICY.participations:
        assert known.standing.counts
    assert known == after(rounds)


def test_a_rarer_quarantine_takes_more() -> None:
    rates = [0.05, 0.1, 0.5, 1.0]
    allowances = [ReputationPolicy(f=1, false_quarantines=rate).allowance for rate in rates]
    assert allowances == sorted(allowances, reverse=True)
    assert all(0 < each < MOST_SURPRISE - 1 for each in allowances)


@pytest.mark.parametrize(
    "wrong",
    [
        {"f": -1},
        {"false_quarantines": 0.0},
        {"false_quarantines": 1.1},
        {"false_quarantines": 1e-3},
        {"probation_weight": 0.0},
        {"forget_bad": 1.5},
    ],
)
def test_policies_that_make_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidParameter, match=next(iter(wrong))):
        replace(POLICY, **wrong)


def test_surprise_is_the_share_of_honest_rounds_as_strange() -> None:
    tail = (2.0, 4.0, 9.0)
    assert surprise(np.array([2.0, 4.0, 9.0]), tail).tolist() == [1.0, 2.0, 3.0]
    drawn = np.sort(np.random.default_rng(0).normal(size=100)) * 5
    assert (np.diff(surprise(drawn, tail)) >= 0).all()
    with pytest.raises(InvalidParameter, match="rising"):
        surprise(drawn, (2.0, 2.0, 3.0))


@pytest.mark.parametrize("shared", [0.0, 0.5, 1.0])
def test_combined_p_values_hold_their_level_however_families_depend(shared: float) -> None:
    rng = np.random.default_rng(0)
    own, common = rng.normal(size=(5, 200_000)), rng.normal(size=200_000)
    z = np.sqrt(1 - shared) * own + np.sqrt(shared) * common
    p = np.array([0.5 * erfc(each / np.sqrt(2)) for each in z])
    found = combined(list(-np.log10(p)))
    for level in (0.001, 0.01):
        assert level / 2 < np.mean(found <= level) < 1.3 * level
    assert combined([]).shape == (0,)


def test_the_share_of_honest_suspects_is_held() -> None:
    rng, false, named = np.random.default_rng(0), 0, 0
    for _ in range(400):
        p = rng.random(50)
        p[:10] = rng.random(10) * 1e-4
        chosen = benjamini_hochberg(p, 0.1)
        false, named = false + chosen[10:].sum(), named + chosen.sum()
    assert false / named < 0.1
    assert not benjamini_hochberg(np.ones(5), 0.05).any()
    assert benjamini_hochberg(np.zeros(0), 0.05).shape == (0,)


def test_an_override_ends_when_it_should() -> None:
    word = Override("c", Action.QUARANTINE, until_round=5, until_time=100.0)
    assert word.holds(5, 99.0)
    assert not word.holds(6, 99.0)
    assert not word.holds(5, 100.0)
    assert Override("c", Action.BAN).holds(10**6, 1e12)
    once = Override("c", Action.REINSTATE).begun(7)
    assert once.holds(8, 0.0)
    assert not once.holds(9, 0.0)
