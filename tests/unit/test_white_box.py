"""Attackers who hold a copy of the server."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import fedguard_strategies as rules
from fedguard import Cohort, Policy, Reputation, ReputationPolicy, Standing, State, Update
from fedguard.errors import InvalidParameter
from fedguard.server import step
from fedguard_simulations.attacks import (
    WHITE_BOXES,
    a_little_is_enough_searched,
    inner_product_searched,
    white_box,
)
from fedguard_simulations.attacks.white_box import FINER, GRID, Sight
from fedguard_strategies.recipes import auto, standard_scorers

N, F, D = 10, 2, 60


def sight(policy: Policy, rounds: int = 0) -> Sight:
    """What attackers see after some rounds in which they were honest."""
    rng = np.random.default_rng(0)
    names = tuple(f"c{i}" for i in range(N))
    common, state = rng.normal(size=D), State()
    for _ in range(rounds):
        rows = common + 0.5 * rng.normal(size=(N, D))
        cohort = Cohort.of(map(Update, names, rows), vectors={"model": np.zeros(D)})
        _, _, state = step(state, cohort, policy)
    rows = common + 0.5 * rng.normal(size=(N, D))
    own = names[-F:], {"model": np.zeros(D)}, common, state, policy
    return Sight(rows[:-F], rows[-F:], names[:-F], *own)


MEAN = Policy(rules.mean())
TRIMMED = Policy(rules.trimmed_mean(F))


@pytest.mark.parametrize("factory", WHITE_BOXES, ids=lambda each: each.__name__)
@pytest.mark.parametrize("policy", [MEAN, TRIMMED, auto(F)], ids=["mean", "trimmed mean", "auto"])
def test_they_throw_the_server_back_and_change_nothing(factory, policy: Policy) -> None:
    seen = sight(policy, rounds=2)
    honest, trained = seen.honest.copy(), seen.trained.copy()
    rows = factory(F).craft(seen, 3)
    assert rows.shape == (F, D)
    assert seen.tried(rows)[0] > seen.tried(seen.trained)[0]
    assert seen.honest.tobytes() == honest.tobytes()
    assert seen.trained.tobytes() == trained.tobytes()
    assert factory(F).craft(seen, 3).tobytes() == rows.tobytes()


@pytest.mark.parametrize(
    ("attack", "ray"),
    [
        (a_little_is_enough_searched(F), lambda mean, std, length: mean - length * std),
        (inner_product_searched(F), lambda mean, std, length: -length * mean),
    ],
)
def test_the_search_finds_the_worst_of_the_papers_family(attack, ray) -> None:
    seen = sight(TRIMMED)
    mean, std = seen.honest.mean(axis=0), seen.honest.std(axis=0)
    rows = attack.craft(seen, 1)
    best, least = None, -np.inf
    for length in [*GRID, *np.outer(GRID, FINER).ravel()]:
        back, _ = seen.tried(np.repeat(ray(mean, std, length)[None], F, axis=0))
        best, least = (length, back) if back > least else (best, least)
    np.testing.assert_allclose(rows, np.repeat(ray(mean, std, best)[None], F, axis=0))


def test_patience_keeps_the_evidence_low() -> None:
    policy = replace(auto(F), reputation=ReputationPolicy(F))
    seen = sight(policy, rounds=4)
    patient, not_patient = (
        white_box(F, patience=patience).craft(seen, 5) for patience in (0.05, 0)
    )
    assert seen.tried(patient)[1] < 0.05
    assert seen.tried(not_patient)[0] > seen.tried(patient)[0]
    strikes = white_box(F, patience=0.05, strike=5)
    assert strikes.craft(seen, 5).tobytes() == not_patient.tobytes()
    assert strikes.craft(seen, 4).tobytes() == patient.tobytes()


def test_mistakes_are_answered() -> None:
    for wrong in ({"f": 0}, {"f": 1, "patience": -1.0}, {"f": 1, "strike": -1}):
        with pytest.raises(InvalidParameter):
            white_box(**wrong)  # type: ignore[arg-type]
    assert standard_scorers(F)


@pytest.mark.parametrize(
    "attack",
    [*(each(F) for each in WHITE_BOXES), white_box(F, patience=0)],
    ids=lambda each: each.name,
)
def test_who_is_put_away_trains_honestly_and_the_others_go_on(attack) -> None:
    seen = sight(MEAN, rounds=2)
    known = {seen.own_names[0]: Reputation(Standing.QUARANTINE)}
    seen = seen._replace(state=replace(seen.state, reputations=known))
    rows = attack.craft(seen, 7)
    assert rows[0].tobytes() == seen.trained[0].tobytes()
    assert rows[1].tobytes() != seen.trained[1].tobytes()
    assert seen.tried(rows)[0] > seen.tried(seen.trained)[0]
