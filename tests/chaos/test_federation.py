"""Kill -9 of ServerApp, SuperLink, SuperNodes and database while a real federation trains.

`make chaos` kills 50 times over 30 rounds; otherwise it is a few.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from databases import Database, database
from flower_parts import HOSTILE_APP, hostile_app
from flwr.app import Array, ArrayRecord
from safetensors.numpy import load_file

import fedguard_strategies as rules
from fedguard import Cohort, Fault, MemoryStore, Policy, ReputationPolicy, Update, commit_round
from fedguard.canonical import from_json
from fedguard.deploy.federation import Federation, Node, federation
from fedguard.deploy.processes import Program
from fedguard.errors import StoreUnavailable, UnknownName
from fedguard.flower import Layout
from fedguard.identity import name_of_key
from fedguard.state.models import manifest_of
from fedguard.state.opening import open_store, open_to_read
from fedguard.state.queries import rounds_of, told_of
from fedguard.state.verifying import verify
from fedguard_strategies.recipes import standard_scorers

pytestmark = [pytest.mark.chaos, pytest.mark.slow]
KILLS, ROUNDS = (
    int(os.environ.get(f"FEDGUARD_{name}", few)) for name, few in (("CHAOS", "4"), ("ROUNDS", "4"))
)
NODES = [Node(f"honest-{part}", {"part": part}) for part in range(3)]
SPREAD = (1.0, 6.0)
"""Seconds between a kill and the next."""
RESTART = 5.0
"""Seconds before a node is started again: the SuperLink may hold that it is still there."""


class Trial:
    """A federation whose parts are killed, and started again as their supervisor would."""

    def __init__(self, lab: Federation, server: Database, folder: Path, rng: random.Random) -> None:
        self.lab, self.server, self.store, self.rng = lab, server, folder / "store", rng
        self.config = {
            "rounds": ROUNDS,
            "store": str(self.store),
            "url": server.url,
            "nodes": 3,
            "timeout": 60.0,
            "patience": 8.0,
        }
        self.log = folder / "run.log"
        self.since = dict.fromkeys((node.name for node in NODES), time.monotonic())
        self.run = self.begun()

    def begun(self) -> Program:
        return self.lab.start(HOSTILE_APP, self.config, self.log)

    def done(self) -> int:
        try:
            with open_to_read(self.server.url, files=self.store) as store:
                return store.done
        except (StoreUnavailable, UnknownName):
            return 0

    def supervise(self) -> None:
        """As units do: what failed is started again after a while."""
        now = time.monotonic()
        for node in NODES:
            if not self.lab.nodes[node.name].running and now - self.since[node.name] > RESTART:
                self.start_node(node)
        if not self.run.running:
            self.again()

    def start_node(self, node: Node) -> None:
        self.lab.start_node(node)
        self.since[node.name] = time.monotonic()

    def again(self) -> None:
        self.run.kill()
        self.run = self.begun()

    def kill_server(self) -> None:
        self.lab.kill_server()
        self.again()

    def kill_superlink(self) -> None:
        self.lab.superlink.kill()
        self.lab.start_superlink()
        self.again()

    def kill_node(self) -> None:
        node = self.rng.choice(NODES)
        self.lab.nodes[node.name].kill()
        self.start_node(node)

    def kill_database(self) -> None:
        self.server.kill()
        time.sleep(1.0)
        self.server.start()


def test_a_killed_federation_loses_no_round_and_invents_none(tmp_path: Path) -> None:
    rng = random.Random(KILLS)
    with database() as server, federation(tmp_path, NODES) as lab:
        trial = Trial(lab, server, tmp_path, rng)
        ways: list[Callable[[], None]] = [
            trial.kill_server,
            trial.kill_superlink,
            trial.kill_node,
            trial.kill_database,
        ]
        deck = [ways[i % 4] for i in range(KILLS)]
        rng.shuffle(deck)
        deadline = time.monotonic() + 120 + 60 * KILLS + 30 * ROUNDS
        while (done := trial.done()) < ROUNDS:
            assert time.monotonic() < deadline, (done, trial.run.tail(40))
            if len(deck) * ROUNDS > KILLS * max(ROUNDS - 2 - done, 0):  # spread over the rounds
                time.sleep(rng.uniform(*SPREAD))
                kill = deck.pop()
                print(
                    f"{done} rounds are done, {len(deck)} kills left: {kill.__name__}", flush=True
                )
                kill()
            trial.supervise()
            time.sleep(0.2)
        names = {name_of_key(lab.public_key(node.name)): part for part, node in enumerate(NODES)}
        assert not deck, "the rounds ended before the kills"
        checked(server.url, trial.store, names)


def checked(url: str, files: Path, names: dict[str, int]) -> None:
    """Every round follows to the bit from the ones before and from who took part in it."""
    app, again = hostile_app(), MemoryStore()
    policy = Policy(rules.trimmed_mean(1), standard_scorers(1), ReputationPolicy(f=2))
    arrays: ArrayRecord = app.start()
    layout = Layout.of(arrays)
    with open_store(url, files=files) as store:
        assert verify(store, store.signer.verifier) == []
        rows = {row.number: row for row in rounds_of(store, 10_000)}
        assert sorted(rows) == list(range(1, ROUNDS + 1))
        took_part = 0
        for number in range(1, ROUNDS + 1):
            told = from_json(told_of(store, number)[0]["report"])
            base = layout.flat(arrays)
            updates = [
                Update(
                    each["client"],
                    layout.flat(app.trained(arrays, names[each["client"]])) - base,
                    each["num_examples"],
                )
                for each in told["verdicts"]
                if each["admitted"]
            ]
            faults = [
                Fault(each["client"], each["reason"], each["detail"])
                for each in told["verdicts"]
                if not each["admitted"]
            ]
            vectors = {"model": base}
            vector, report = commit_round(again, Cohort.of(updates, faults, vectors), policy)
            assert from_json(report.to_bytes()) == told, number
            took_part += len(updates)
            if vector is None:
                assert rows[number].model is None
                continue
            arrays = layout.moved(arrays, vector)
            manifest = manifest_of(store.blobs, rows[number].model)
            kept = load_file(store.blobs.path(manifest["model"]))
            assert same(kept, arrays), number
        assert again.load().to_bytes() == store.load().to_bytes()
    assert took_part >= 2 * ROUNDS


def same(kept: dict[str, Any], arrays: ArrayRecord) -> bool:
    own: dict[str, Array] = dict(arrays)
    return all(np.array_equal(kept[name], own[name].numpy()) for name in own)
