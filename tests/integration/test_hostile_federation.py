"""Real processes, TLS and node keys: three honest nodes among hostile ones, one case a round.

All cases take seven minutes (`make hostile`, or FEDGUARD_CASES=all); some are left out otherwise,
whose kind `tests/unit/test_flower.py` tries on a grid in this process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flower_parts import HOSTILE_APP as APP
from flower_parts import FakeGrid, app_module, hostile_app
from flwr.app import ArrayRecord, Message
from safetensors.numpy import load_file

import fedguard_strategies as rules
from fedguard import MemoryStore, Policy, ReputationPolicy
from fedguard.deploy.federation import Federation, Node, federation, prepare, register
from fedguard.deploy.processes import Program
from fedguard.flower import GuardedStrategy
from fedguard.identity import name_of_key
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
    return name_of_key(lab.public_key(node))


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
    hostile = dict(zip(HOSTILE, (first, second), strict=True))
    told = {case: (reason,) for case, (_, reason) in app.CASES.items()}
    checked(app, store, names, hostile, told)
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, check=False)
    assert not left.stdout, left.stdout


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("FEDGUARD_CASES") != "all", reason="make hostile tries it")
def test_a_node_that_speaks_to_the_fleet_api_itself(tmp_path: Path) -> None:
    """Uploads that end in the middle or never, replies and connections by the hundred."""
    app, store = hostile_app(), tmp_path / "store"
    raw = app_module("raw_node")
    cases = list(raw.CASES)
    nodes = [Node(name, {"part": part}) for part, name in enumerate(HONEST)]
    prepare(tmp_path, [*HONEST, HOSTILE[0]], 0)
    with federation(tmp_path, nodes) as lab:
        names = {name: name_of(lab, name) for name in (*HONEST, HOSTILE[0])}
        register(tmp_path, HOSTILE[0], lab.env)
        authority = tmp_path / "certificates" / "ca.crt"
        where = (f"127.0.0.1:{lab.port}", str(authority), str(tmp_path / "keys" / HOSTILE[0]))
        command = [sys.executable, str(APP / "raw_node.py"), *where, "|".join(cases)]
        lab.others.append(Program("raw", command, tmp_path / "raw.log", lab.env, tmp_path))
        config = {"rounds": len(cases), "store": str(store), "nodes": 4, "patience": 20.0}
        run = lab.start(APP, config, tmp_path / "run.log")
        run.process.wait(240)
        assert (store / "told.json").exists(), run.tail(60) + lab.others[0].tail()
    told = {case: reasons for case, (_, _, reasons) in raw.CASES.items()}
    checked(app, store, names, {HOSTILE[0]: cases}, told)


def checked(
    app: Any,
    store: Path,
    names: dict[str, str],
    hostile: dict[str, list[str]],
    wanted: dict[str, tuple[str, ...]],
) -> None:
    """The honest aggregate is the same to the bit in every round, each fault its sender's."""
    rounds = len(next(iter(hostile.values())))
    told = json.loads((store / "told.json").read_text())
    assert told["peak_kb"] / 1024 < MOST_MEMORY
    with open_to_read(str(store)) as opened:
        kept = {row.number: row for row in rounds_of(opened, rounds)}
        for number, arrays in enumerate(alone(app, [names[name] for name in HONEST], rounds), 1):
            assert kept[number].held is None
            assert kept[number].admitted == len(HONEST)
            manifest = manifest_of(opened.blobs, kept[number].model)
            model = load_file(opened.blobs.path(manifest["model"]))
            for name, array in arrays.items():
                assert model[name].tobytes() == array.numpy().tobytes(), (number, name)
        for node, own in hostile.items():
            reasons = {row.round: row.reason for row in history_of(opened, names[node])[1]}
            found = {case: reasons[number] for number, case in enumerate(own, 1)}
            assert not [case for case in own if found[case] not in wanted[case]], found
