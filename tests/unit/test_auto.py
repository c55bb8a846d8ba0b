"""The default defence: what it is against, and why it says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedguard import Action, Cohort, Override, Reputation, State, Update
from fedguard.errors import InvalidParameter
from fedguard.server import step
from fedguard.types import Standing
from fedguard_strategies.expressions import parse_policy
from fedguard_strategies.recipes import auto, standard_policy

N = 12


def cohort(seed: int, wild: tuple[int, ...] = ()) -> Cohort:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=40) + rng.normal(size=(N, 40))
    for row in wild:
        rows[row] *= -20
    return Cohort.of(Update(f"c{i:02d}", row) for i, row in enumerate(rows))


def state_of(standings: dict[str, Standing]) -> State:
    trusted = {f"c{i:02d}": Reputation(Standing.TRUSTED, participations=9) for i in range(N)}
    given = {name: trusted[name]._replace(standing=each) for name, each in standings.items()}
    return State(reputations=trusted | given)


@pytest.mark.parametrize(
    ("standings", "wild", "against"),
    [
        ({}, (), 2),
        ({"c01": Standing.WATCH}, (), 2),
        ({f"c{i:02d}": Standing.PROBATION for i in range(3)}, (), 3),
        ({f"c{i:02d}": Standing.WATCH for i in range(9)}, (), 4),
        ({}, (1, 2, 3, 4), 4),
        ({"c00": Standing.QUARANTINE, "c01": Standing.BANNED}, (), 1),
        ({f"c{i:02d}": Standing.QUARANTINE for i in range(4)}, (), 0),
    ],
)
def test_it_is_as_strong_as_there_is_doubt(
    standings: dict[str, Standing], wild: tuple[int, ...], against: int
) -> None:
    _, report, _ = step(state_of(standings), cohort(2, wild), auto(4))
    assert report.defence == f"chain(arc(f={against}), caf(f={against}))"


def test_who_was_put_away_before_stays_in_doubt() -> None:
    """Else several come back, train honestly until trusted, and strike at half of f together."""
    state = state_of({})
    back = {f"c{i:02d}": state.reputations[f"c{i:02d}"]._replace(quarantines=1) for i in range(4)}
    known = replace(state, reputations={**state.reputations, **back})
    _, report, _ = step(known, cohort(2), auto(4))
    assert report.defence == "chain(arc(f=4), caf(f=4))"
    believed = {client: Override(client, Action.TRUST) for client in back}
    _, report, _ = step(replace(known, overrides=believed), cohort(2), auto(4))
    assert report.defence == "chain(arc(f=2), caf(f=2))"


def test_copies_are_among_the_hostile() -> None:
    """Else a mimic could hold every round: of nine, four copies leave too few for the whole f."""
    own = cohort(2).updates[:9]
    copied = [Update(each.client, own[0].delta) for each in own[5:]]
    _, report, _ = step(state_of({}), Cohort.of([*own[:5], *copied]), auto(4))
    assert report.held is None
    assert len(report.admitted) == 5
    assert report.defence in {f"chain(arc(f={g}), caf(f={g}))" for g in (0, 1, 2)}


def test_new_clients_are_doubted() -> None:
    _, report, _ = step(State(), cohort(0), auto(4))
    assert report.defence == "chain(arc(f=4), caf(f=4))"


def test_fewer_than_f_allows_are_held_however_little_is_doubted() -> None:
    few = Cohort.of(cohort(0).updates[:8])
    _, report, _ = step(state_of({}), few, auto(4))
    assert "needs at least 9" in str(report.held)


def test_it_says_why() -> None:
    policy = auto(f=4, n=20)
    assert "against 2 while nobody is in doubt, and against up to 4" in policy.reason
    sampled = auto(f=100, n=1000, sampled=50)
    assert sampled.defence.name == "chain(arc(f=12), caf(f=12))"
    assert "50 of 1000 clients are asked a round" in sampled.reason
    assert "cannot be told apart" in auto(f=1, n=3).reason
    same = standard_policy(4)
    assert [each.name for each in (same.defence, *same.smaller)] == [
        each.name for each in (policy.defence, *policy.smaller)
    ]
    assert same.adaptive
    assert parse_policy("auto(f=4, n=20)", 4).reason == policy.reason


@pytest.mark.parametrize(
    "given", [{"f": 2, "n": 4}, {"f": 10, "n": 20}, {"f": 9, "n": 20, "sampled": 4}]
)
def test_no_defence_holds_against_half(given: dict[str, int]) -> None:
    with pytest.raises(InvalidParameter, match="no defence holds against half"):
        auto(**given)
