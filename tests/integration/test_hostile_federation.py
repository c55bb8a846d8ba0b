"""Real processes, TLS and node keys: three honest nodes among hostile ones, one case a round.

All cases take seven minutes (`make hostile`, or FEDGUARD_CASES=all); some are left out otherwise,
whose kind `tests/unit/test_flower.py` tries on a grid in this process.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flower_parts import HOSTILE_APP as APP
from flower_parts import FakeGrid, hostile_app
from flwr.app import ArrayRecord, Message
from safetensors.numpy import load_file

import fedguard_strategies as rules
from fedguard import MemoryStore, Policy, ReputationPolicy
from fedguard.deploy.federation import Federation, Node, federation
from fedguard.flower import GuardedStrategy
from fedguard.state.models import manifest_of
from fedguard.state.opening import open_to_read
from fedguard.state.queries import history_of, rounds_of
from fedguard_strategies.recipes import standard_scorers

HONEST, HOSTILE = ("honest-0", "honest-1", "honest-2"), ("hostile-0", "hostile-1")
LAST = ("silent", "dies")
"""What keeps a node busy into the next round."""
SOME = {
    "nan",
    "16 TB by header",
    "chunk out of range",
    "one chunk 200,000 times",
    "a thousand times the model",
    "a hundred arrays",
    "a million numbers",
    "in another's name",
    "raises",
}
MOST_MEMORY = 700
"""Megabytes that the ServerApp may take at most; one hostile reply alone unfolds to 800."""


def name_of(lab: Federation, node: str) -> str:
    return hashlib.sha256(lab.public_key(node)).hexdigest()[:16]


def alone(app: ModuleType, names: list[str], rounds: int) -> list[ArrayRecord]:
    """The models that the honest alone come to, in this process."""
    order = sorted(range(len(names)), key=names.__getitem__)
    grid = FakeGrid(
        [
            lambda message, part=part: Message(
                app.reply_of(app.trained(message.content.array_records["arrays"], part)),
                reply_to=message,
            )
            for part in order
        ]
    )
    policy = Policy(rules.trimmed_mean(1), standard_scorers(1), ReputationPolicy(f=2))
    models: list[ArrayRecord] = []
    GuardedStrategy(policy, min_nodes=3, store=MemoryStore()).start(
        grid,
        app.start(),
        num_rounds=rounds,
        timeout=1.0,
        evaluate_fn=lambda _, arrays: models.append(arrays),
    )
    return models[1:]


@pytest.mark.slow
def test_hostile_nodes_cost_the_honest_nothing(tmp_path: Path) -> None:
    app = hostile_app()
    cases = [case for case in app.CASES if case not in LAST]
    whole = os.environ.get("FEDGUARD_CASES") == "all"
    if not whole:
        cases = [case for case in cases if case in SOME]
    first, second = cases[::2], cases[1::2]
    second += cases[: len(first) - len(second)]
    for own, last in zip((first, second), LAST, strict=True):
        own.append(last)
    rounds = len(first)
    nodes = [
        *(Node(name, {"part": part}) for part, name in enumerate(HONEST)),
        Node(HOSTILE[0], {"cases": "|".join(first)}),
        Node(HOSTILE[1], {"cases": "|".join(second)}),
    ]
    store = tmp_path / "store"
    with federation(tmp_path, nodes) as lab:
        names = {node.name: name_of(lab, node.name) for node in nodes}
        config: dict[str, Any] = {"rounds": rounds, "store": str(store), "timeout": 120.0}
        run = lab.start(APP, config, tmp_path / "run.log")
        run.process.wait(560 if whole else 340)
        assert (store / "told.json").exists(), run.tail(60)
    told = json.loads((store / "told.json").read_text())
    assert told["peak_kb"] / 1024 < MOST_MEMORY
    with open_to_read(str(store)) as opened:
        kept = {row.number: row for row in rounds_of(opened, rounds)}
        wanted = alone(app, [names[name] for name in HONEST], rounds)
        for number, arrays in enumerate(wanted, 1):
            assert kept[number].held is None
            assert kept[number].admitted == len(HONEST)
            manifest = manifest_of(opened.blobs, kept[number].model)
            model = load_file(opened.blobs.path(manifest["model"]))
            for name, array in arrays.items():
                assert model[name].tobytes() == array.numpy().tobytes(), (number, name)
        for node, own in zip(HOSTILE, (first, second), strict=True):
            reasons = {row.round: row.reason for row in history_of(opened, names[node])[1]}
            found = [(case, reasons[number]) for number, case in enumerate(own, 1)]
            assert found == [(case, app.CASES[case][1]) for case in own]
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, check=False)
    assert not left.stdout, left.stdout
