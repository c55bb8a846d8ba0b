"""The flower runner: real ServerApp and ClientApps on Flower's simulation runtime, with Ray."""

from __future__ import annotations

import logging
import os
import time
from functools import partial
from logging import INFO

from flwr.app import ArrayRecord, Context, Message, MessageType, RecordDict
from flwr.common.logger import log
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

from fedguard.errors import FedguardError
from fedguard.flower import GuardedGrid
from fedguard_clients.app import Task, client_app
from fedguard_simulations.adversary import AdversarialGrid
from fedguard_simulations.federation import federation_of, task_of
from fedguard_simulations.runners import Job
from fedguard_simulations.runs import Run
from fedguard_simulations.scenario import Scenario

__all__ = ["call_the_roll", "run_on_flower", "serve", "task_of_node"]

PATIENCE = 600.0  # seconds for all nodes to come up and answer

QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def run_on_flower(job: Job) -> ArrayRecord:
    """Run a job on Ray, one CPU a client, as many at once as there are CPUs."""
    clients = job.federation.participants(job.run)
    finished: list[ArrayRecord] = []
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        finished.append(serve(grid, job))

    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    cpus = os.cpu_count() or 1
    run_simulation(
        app,
        client_app(partial(task_of_node, job.federation.scenario, job.run)),
        num_supernodes=len(clients),
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {
                "num_cpus": cpus,
                "num_gpus": 0,
                "logging_level": logging.ERROR,
                "log_to_driver": False,
            },
        },
    )
    if not finished:
        raise FedguardError("Flower's simulation ended before the run did; see its log above")
    return finished[0]


def serve(grid: Grid, job: Job) -> ArrayRecord:
    """The ServerApp's part of a job, on any grid whose nodes know their partition."""
    federation, run = job.federation, job.run
    clients = federation.participants(run)
    nodes = {node: clients[i] for node, i in call_the_roll(grid, len(clients)).items()}
    names = {node: federation.name(client) for node, client in nodes.items()}
    strategy = job.strategy_of(lambda node: names.get(node.node_id, f"node-{node.node_id}"))
    attack = federation.omniscient(run)
    if attack:
        liars, name = federation.malicious, federation.name
        grid = AdversarialGrid(grid, attack, nodes, liars, name, strategy)
    initial, rounds = federation.initial(), federation.scenario.rounds
    result = strategy.start(grid, initial, num_rounds=rounds, evaluate_fn=job.evaluate)
    return result.arrays or initial


def task_of_node(scenario: Scenario, run: Run, context: Context) -> Task:
    """What a node has to do, by the partition in its node config."""
    clients = federation_of(scenario).participants(run)
    return task_of(scenario, run, clients[int(context.node_config["partition-id"])])


def call_the_roll(grid: Grid, count: int) -> dict[int, int]:
    """Wait for `count` nodes and ask each which partition it is: node id to partition.

    Raises `FedguardError` when, after `PATIENCE` seconds, a partition has no node or two.
    """
    deadline = time.monotonic() + PATIENCE
    told = -1
    while len(nodes := list(grid.get_node_ids())) < count and time.monotonic() < deadline:
        if len(nodes) != told:
            log(INFO, "waiting for %s nodes, %s here", count, told := len(nodes))
        time.sleep(0.1)
    questions = [Message(RecordDict(), node, MessageType.QUERY) for node in nodes]
    remaining = max(deadline - time.monotonic(), 1.0)
    guarded = GuardedGrid(grid, ArrayRecord())
    answers = {
        reply.metadata.src_node_id: reply.content.metric_records["node"]["partition-id"]
        for reply in guarded.send_and_receive(questions, timeout=remaining)
        if reply.has_content() and "node" in reply.content.metric_records
    }
    partitions = {node: int(str(partition)) for node, partition in answers.items()}
    if sorted(partitions.values()) != list(range(count)):
        raise FedguardError(
            f"this scenario needs {count} nodes with partition-id 0 to {count - 1} in their node "
            f"config; those that answered have {sorted(partitions.values())}"
        )
    return partitions
