"""Both runners, the same scenario, the same seed: the same model after every round."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord

from fedguard_simulations import simulate as engine
from fedguard_simulations.evaluation import Evaluator
from fedguard_simulations.outcome import RunOutcome
from fedguard_simulations.scenario import Scenario

SCENARIO = Scenario(
    id="agree-v1",
    summary="both runners",
    attack="a_little_is_enough(f=2, z=1.5)",
    defence="chain(arc(f=2), nnm(f=2), centred_clipping(tau=1.0))",
    dataset="digits",
    clients=7,
    malicious=2,
    rounds=4,
    steps=4,
)


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore:.*subprocess.* is still running:ResourceWarning",  # Ray leaves its own behind
    "ignore::pytest.PytestUnraisableExceptionWarning",
)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"attack": "backdoor(boost=3, size=2)"},
        {"attack": "delta_free_rider()"},
        {"model": "cnn(channels=4)"},
    ],
    ids=["omniscient", "backdoor", "memory", "convolutions"],
)
def test_flower_and_vectorised_agree(changes: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, list[np.ndarray]] = {"flower": [], "vectorised": []}
    runs: dict[str, RunOutcome] = {}
    for runner, models in seen.items():

        class Watched(Evaluator):
            def __call__(self, server_round: int, arrays: ArrayRecord, models: Any = models) -> Any:
                models.append(np.concatenate([a.numpy().ravel() for a in arrays.values()]))
                return super().__call__(server_round, arrays)

        monkeypatch.setattr(engine, "Evaluator", Watched)
        outcome = engine.simulate(SCENARIO.evolve(**changes), runner, ["defended"])
        runs[runner] = outcome.runs["defended"]
    assert len(seen["flower"]) == SCENARIO.rounds + 1
    for one, other in zip(seen["flower"], seen["vectorised"], strict=True):
        assert one == pytest.approx(other, abs=2e-6)
    moved = np.abs(seen["flower"][-1] - seen["flower"][0]).max()
    assert moved > 0.01  # it trained
    for one_report, other_report in zip(
        runs["flower"].reports, runs["vectorised"].reports, strict=True
    ):
        for one_verdict, other_verdict in zip(
            one_report.verdicts, other_report.verdicts, strict=True
        ):
            assert one_verdict.client == other_verdict.client
            assert one_verdict.num_examples == other_verdict.num_examples
            assert one_verdict.scores == pytest.approx(other_verdict.scores, rel=1e-2, abs=1e-2)
