"""The ready app on a real SuperLink and real SuperNodes, started and stopped here."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedguard_simulations.flower_app import planned
from fedguard_simulations.simulate import simulate

APP = Path(__file__).parents[2] / "flower_app"
BIN = Path(sys.executable).parent
SETTINGS = {
    "rounds": 2,
    "clients": 3,
    "malicious": 1,
    "dataset": "digits",
    "defence": "trimmed_mean(f=1)",
    "attack": "scaled_negation(scale=10)",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    log = (folder / f"{command[0]}-{time.monotonic_ns()}.log").open("wb")
    program = shutil.which(command[0], path=str(BIN))
    assert program, f"{command[0]} is not beside {sys.executable}"
    with log:
        return subprocess.Popen(
            [program, *command[1:]],
            cwd=folder,
            env=environment(folder),
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {
        "FLWR_HOME": str(folder),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }


@pytest.fixture
def superlink(tmp_path: Path) -> Iterator[str]:
    """A SuperLink with three SuperNodes; its address. All of them are gone afterwards."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    (tmp_path / "config.toml").write_text(
        f'[superlink]\ndefault = "lab"\n[superlink.lab]\naddress = "{address}"\ninsecure = true\n'
    )
    where = ("--host", "127.0.0.1", "--port")
    running = [
        start(
            tmp_path,
            "flower-superlink",
            "--insecure",
            *where,
            str(port),
            "--database",
            str(tmp_path / "state.db"),
            "--disable-runtime-dependency-installation",
        )
    ]
    wait_for(port)
    for partition in range(SETTINGS["clients"]):
        config = f"partition-id={partition} num-partitions={SETTINGS['clients']}"
        node = ("flower-supernode", "--insecure", "--superlink", address)
        running.append(start(tmp_path, *node, *where, str(free_port()), "--node-config", config))
    try:
        yield address
    finally:
        for process in reversed(running):
            os.killpg(process.pid, signal.SIGTERM)
        for process in running:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def wait_for(port: int) -> None:
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail("the SuperLink did not come up in 30 s")


@pytest.mark.slow
def test_a_deployment_trains_the_model_of_the_simulation(superlink: str, tmp_path: Path) -> None:
    config = " ".join(
        f'{key}="{value}"' if isinstance(value, str) else f"{key}={value}"
        for key, value in SETTINGS.items()
    )
    done = subprocess.run(
        [str(BIN / "flwr"), "run", str(APP), "lab", "--stream", "-c", config],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    measured = [float(each) for each in re.findall(r"round \d+: accuracy ([\d.]+)", done.stdout)]
    scenario, run = planned(SETTINGS)
    simulated = simulate(scenario, labels=[run.label]).runs[run.label]
    assert measured == [round(each, 4) for each in simulated.accuracy], done.stdout
    named = re.findall(r"round [12]: .*suspected: (.+)", done.stdout)
    assert named == [", ".join(report.suspects) for report in simulated.reports]


def test_the_app_answers_unknown_runs() -> None:
    with pytest.raises(ValueError, match="did you mean 'defended'"):
        planned({"run": "defendet"})
    scenario, run = planned({"scenario": "backdoor", "run": "attacked", "rounds": 0, "attack": ""})
    assert (scenario.id, scenario.rounds, run.label) == ("backdoor-v2", 40, "attacked")
