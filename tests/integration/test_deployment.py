"""The ready app on a real SuperLink and real SuperNodes, started and stopped here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fedguard.deploy.federation import Node, federation
from fedguard_simulations.flower_app import planned
from fedguard_simulations.simulate import simulate

APP = Path(__file__).parents[2] / "flower_app"
SETTINGS = {
    "rounds": 2,
    "clients": 3,
    "malicious": 1,
    "dataset": "digits",
    "defence": "trimmed_mean(f=1)",
    "attack": "scaled_negation(scale=10)",
}


@pytest.mark.slow
def test_a_deployment_trains_the_model_of_the_simulation(tmp_path: Path) -> None:
    count = SETTINGS["clients"]
    nodes = [Node(f"n{i}", {"partition-id": i, "num-partitions": count}) for i in range(count)]
    with federation(tmp_path, nodes) as lab:
        run = lab.start(APP, SETTINGS, tmp_path / "run.log")
        assert run.process.wait(300) == 0, run.tail(60)
        told = run.log.read_text()
    measured = [float(each) for each in re.findall(r"round \d+: accuracy ([\d.]+)", told)]
    scenario, run_planned = planned(SETTINGS)
    simulated = simulate(scenario, labels=[run_planned.label]).runs[run_planned.label]
    assert measured == [round(each, 4) for each in simulated.accuracy], told
    named = re.findall(r"round [12]: .*suspected: (.+)", told)
    assert named == [", ".join(report.suspects) for report in simulated.reports]


def test_the_app_answers_unknown_runs() -> None:
    with pytest.raises(ValueError, match="did you mean 'defended'"):
        planned({"run": "defendet"})
    scenario, run = planned({"scenario": "backdoor", "run": "attacked", "rounds": 0, "attack": ""})
    assert (scenario.id, scenario.rounds, run.label) == ("backdoor-v2", 40, "attacked")
