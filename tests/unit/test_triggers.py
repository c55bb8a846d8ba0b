"""The search for triggers finds the one that is there, and its step serves it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord
from small_backdoor import CLASSES, SIDE, backdoored, build, examples

from fedguard import Cohort, Policy, Reputation, ReputationPolicy, State, Update
from fedguard.errors import ConfigError, InvalidParameter, MissingVector
from fedguard.flower import Layout
from fedguard.reputation import Evidence
from fedguard.server import rehearse, step
from fedguard.types import Standing
from fedguard_clients.triggers import trigger_search
from fedguard_simulations.federation import federation_of
from fedguard_simulations.models import mlp
from fedguard_simulations.runs import RUNS
from fedguard_simulations.scenario import Scenario
from fedguard_simulations.simulate import policy_of, simulate
from fedguard_strategies import mean
from fedguard_strategies.recipes import standard_policy, standard_scorers
from fedguard_strategies.scorers import behaviour, trigger


def test_it_finds_the_pixel_that_opens_the_model() -> None:
    search = trigger_search(build, examples(), steps=100)
    search(backdoored(), 1)
    assert search.target == 0
    assert search.success[0] == 1.0
    marks = search.masks[0] * search.patterns[0]
    assert int(marks.argmax()) == SIDE * SIDE - 1


def test_its_step_makes_the_trigger_work_better() -> None:
    arrays = ArrayRecord(mlp(8).initial((SIDE, SIDE), CLASSES, 3).state_dict())
    search = trigger_search(build, examples())
    after = search(arrays, 1)
    clean = examples(200, seed=1)
    stamped = torch.from_numpy(clean.x[clean.y != search.target])
    mask, pattern = search.masks[search.target], search.patterns[search.target]
    stamped = (1 - mask) * stamped + mask * pattern
    shares = []
    for each in (arrays, after):
        model = build()
        model.load_state_dict(each.to_torch_state_dict())
        with torch.no_grad():
            shares.append(float(model(stamped).softmax(1)[:, search.target].mean()))
    assert shares[1] > shares[0]
    assert Layout.of(after).fits(Layout.of(arrays))


def test_the_same_rounds_give_the_same_bits() -> None:
    found = []
    for _ in range(2):
        search = trigger_search(build, examples(), steps=5)
        found += [[search(backdoored(), each)["1.weight"].data for each in (1, 2)]]
    assert found[0] == found[1]


def test_it_goes_on_from_where_it_was() -> None:
    search = trigger_search(build, examples(), steps=5)
    search(backdoored(), 1)
    first = float(search.success[0])
    for each in range(2, 12):
        search(backdoored(), each)
    assert float(search.success[0]) >= first
    assert float(search.masks[0].sum()) < SIDE * SIDE * 0.5


def test_mistakes_are_answered() -> None:
    own = examples()
    for change in ({"steps": 0}, {"batch": 0}, {"cost": 0.0}):
        with pytest.raises(InvalidParameter):
            trigger_search(build, own, **change)
    alone = own._replace(y=np.zeros_like(own.y))
    with pytest.raises(InvalidParameter, match="two classes or more"):
        trigger_search(build, alone)
    with pytest.raises(MissingVector, match="trigger"):
        rehearse(mean(), 5, ("model", "root"), [trigger()])


def test_who_serves_the_trigger_is_scored() -> None:
    rng = np.random.default_rng(0)
    way = rng.normal(size=40)
    rows = rng.normal(size=(8, 40))
    rows[3] += 2 * way
    cohort = Cohort.of([Update(f"c{i}", row) for i, row in enumerate(rows)])
    state = State()
    for _ in range(6):
        cohort = replace(cohort, vectors={"trigger": way, "root": -way})
        _, report, state = step(state, cohort, Policy(mean(), (trigger(), behaviour())))
    scores = {verdict.client: verdict.scores for verdict in report.verdicts}
    assert max(scores, key=lambda client: scores[client]["trigger"]) == "c3"
    assert scores["c3"]["trigger"] == pytest.approx(scores["c3"]["behaviour"])


def test_what_the_same_canaries_tell_is_one_alarm() -> None:
    policy, known = ReputationPolicy(f=1), Reputation()
    for number in range(1, 30):
        evidence = Evidence({"behaviour": 4.0, "trigger": 4.0}, True)
        known = policy.after(known, evidence, number)
    assert known.standing is Standing.PROBATION
    known = policy.after(known, Evidence({"extent": 4.0}, True), 30)
    for number in range(31, 60):
        evidence = Evidence({"trigger": 4.0, "extent": 4.0}, True)
        known = policy.after(known, evidence, number)
    assert known.standing is Standing.QUARANTINE


def test_triggers_are_scored_when_asked_for() -> None:
    families = [[each.family for each in standard_scorers(1, triggers=on)] for on in (False, True)]
    assert families[1] == [*families[0], "trigger"]
    policy = standard_policy(1, canaries=True, triggers=True)
    assert [each.name for each in policy.scorers[-2:]] == ["behaviour()", "trigger()"]
    plain = {
        "id": "t-v1",
        "summary": "a test",
        "attack": "backdoor(size=2)",
        "defence": "mean()",
        "dataset": "digits",
        "rounds": 3,
        "triggers": True,
    }
    with pytest.raises(ConfigError, match="need root_examples"):
        Scenario.from_dict(plain)
    scenario = Scenario.from_dict(plain | {"root_examples": 100})
    federation = federation_of(scenario)
    assert set(federation.vectors()) == {"root", "trigger"}
    assert policy_of(federation, RUNS["defended"]).scorers[-1].family == "trigger"
    whole = scenario.evolve(defence="auto(f=4, canaries=True, triggers=True)")
    assert policy_of(federation_of(whole), RUNS["defended"]).scorers[-1].family == "trigger"
    unheard = federation_of(scenario.evolve(defence="auto(f=4)"))
    with pytest.raises(ConfigError, match="none scores by triggers"):
        policy_of(unheard, RUNS["defended"])
    run = simulate(scenario, labels=["defended"]).runs["defended"]
    assert all("trigger" in each.scores for each in run.reports[-1].verdicts)
