"""A federation as its operator runs it: init, up, a kill, resume, health, doctor."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import yaml
from safetensors.numpy import load_file

from fedguard.control.probing import grpc_answer
from fedguard.deploy.certificates import write_certificates
from fedguard.deploy.federation import environment, register
from fedguard.deploy.folder import HEALTH_PORT
from fedguard.deploy.following import opened
from fedguard.deploy.processes import Program, free_port
from fedguard.deploy.settings import read_settings
from fedguard.state.models import manifest_of
from fedguard.state.opening import open_to_read
from fedguard.state.queries import rounds_of

ROUNDS = 3


def fedguard(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fedguard", *map(str, words)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300
    )


def made(tmp_path: Path) -> Path:
    """A new federation on ports that are free."""
    done = fedguard(
        "init", "lab", "--nodes", "3", "--rounds", ROUNDS, "--port", free_port(), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    path = tmp_path / "lab" / "fedguard.toml"
    text = path.read_text()
    text = text.replace("fraction_evaluate = 1.0", "fraction_evaluate = 0.0")
    text = text.replace("http_port = 9100", f"http_port = {free_port()}")
    path.write_text(text.replace("grpc_port = 9101", f"grpc_port = {free_port()}"))
    return path.parent


def rounds_in(folder: Path) -> int:
    store = opened(read_settings(folder / "fedguard.toml"))
    if store is None:
        return 0
    with store:
        return store.done


def left_of(folder: Path) -> bytes:
    """Processes that still name the folder some seconds later."""
    for _ in range(50):
        left = subprocess.run(["pgrep", "-fa", str(folder)], capture_output=True, check=False)
        if not left.stdout:
            break
        time.sleep(0.1)
    return left.stdout


def accuracy(arrays: dict[str, object]) -> float:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    guessed = (x / 16.0 @ arrays["weight"].T + arrays["bias"]).argmax(axis=1)  # type: ignore[attr-defined]
    return float((guessed == y).mean())


@pytest.mark.slow
def test_a_trial_is_killed_and_goes_on(tmp_path: Path) -> None:
    folder = made(tmp_path)
    settings = read_settings(folder / "fedguard.toml")
    assert "begin with fedguard up" in fedguard("resume", folder, cwd=tmp_path).stderr
    command = [sys.executable, "-m", "fedguard", "up", str(folder)]
    with (tmp_path / "up.log").open("w") as log:
        up = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        deadline = time.monotonic() + 150
        while not rounds_in(folder):
            assert up.poll() is None, (tmp_path / "up.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        answer = httpx.get(f"http://127.0.0.1:{settings.serve.http_port}/readyz")
        assert (answer.status_code, answer.json()["ready"]) == (200, True)
        address = f"127.0.0.1:{settings.serve.grpc_port}"
        assert grpc_answer(address, "fedguard", 5.0) == (True, "SERVING")
    finally:
        up.send_signal(signal.SIGINT)
        assert up.wait(60) != 0
    assert not left_of(folder)
    done = fedguard("resume", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"of {ROUNDS} rounds are done: going on" in done.stdout
    assert f"all {ROUNDS} rounds are done" in done.stdout
    with open_to_read(settings.where, settings.federation) as store:
        rows = rounds_of(store, 10)
        assert [row.number for row in rows] == [3, 2, 1]
        assert all(row.held is None and row.admitted == 3 for row in rows)
        model = load_file(store.blobs.path(manifest_of(store.blobs, rows[0].model)["model"]))
    assert accuracy(model) > 0.9
    told = fedguard("clients", cwd=folder)  # the store is that of fedguard.toml
    assert told.stdout.count("probation") == 3, told.stdout + told.stderr
    assert fedguard("doctor", cwd=folder).returncode == 0


def test_what_init_writes_is_whole(tmp_path: Path) -> None:
    folder = made(tmp_path)
    assert fedguard("init", "lab", cwd=tmp_path).returncode == 2
    secret = [*(folder / "keys").glob("site-?"), folder / "certificates" / "server.key"]
    secret += [folder / "keys" / name for name in ("superexec.secret", "store.secret")]
    assert len(secret) == 6
    assert {path.stat().st_mode & 0o777 for path in secret} == {0o600}
    manifests = list(
        yaml.safe_load_all((folder / "deploy" / "kubernetes" / "federation.yaml").read_text())
    )
    assert {"Service", "StatefulSet", "NetworkPolicy"} <= {each["kind"] for each in manifests}
    (pod,) = [
        each["spec"]["template"]["spec"] for each in manifests if each["kind"] == "StatefulSet"
    ]
    assert pod["securityContext"]["runAsNonRoot"]
    for container in pod["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["resources"]["limits"]["memory"]
    volumes = {each["name"] for each in pod["volumes"]}
    for container in pod["containers"]:
        assert {each["name"] for each in container["volumeMounts"]} <= volumes
    (serve,) = [each for each in pod["containers"] if each["name"] == "serve"]
    told_of = {"/federation/store", "/federation/files", "/federation/certificates"}
    assert told_of <= {each["mountPath"] for each in serve["volumeMounts"]}
    probes = {name for each in pod["containers"] for name in each if name.endswith("Probe")}
    assert {"livenessProbe", "readinessProbe", "startupProbe"} <= probes
    services = yaml.safe_load((folder / "deploy" / "docker" / "compose.yaml").read_text())[
        "services"
    ]
    assert all(each["read_only"] and each["user"] == "10001:10001" for each in services.values())
    mounted = {each.split(":")[1] for each in services["serve"]["volumes"]}
    certificate = "/federation/certificates/server.pem"
    assert {"/federation/store", "/federation/files", certificate} <= mounted
    assert {"healthcheck"} <= set(services["serve"]) & set(services["superlink"])


def test_a_server_alone_and_what_cannot_work(tmp_path: Path) -> None:
    host = ("--host", "federation.example.org")
    done = fedguard("init", "lab", "--nodes", "0", "--f", "2", *host, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    settings = read_settings(tmp_path / "lab" / "fedguard.toml")
    assert (settings.superlink.host, settings.address) == ("0.0.0.0", "127.0.0.1")
    assert settings.rounds.min_nodes == 6
    unit = (tmp_path / "lab" / "deploy" / "systemd" / "fedguard-superlink.service").read_text()
    assert "--host 0.0.0.0" in unit
    few = fedguard("init", "few", "--f", "2", "--nodes", "4", cwd=tmp_path)
    assert "needs 5 nodes" in few.stderr
    assert fedguard("init", "my lab", cwd=tmp_path).returncode == 2
    assert not (tmp_path / "my lab" / "fedguard.toml").exists()


def test_a_store_that_is_away_is_told_without_its_password(tmp_path: Path) -> None:
    folder = made(tmp_path)
    secret = folder / "secrets"
    secret.mkdir()
    url = f"postgresql+psycopg://ann:topsecret@127.0.0.1:{free_port()}/lab"
    (secret / "fedguard_store").write_text(url)
    command = [sys.executable, "-m", "fedguard", "resume", str(folder)]
    env = os.environ | {"FEDGUARD_SECRETS": str(secret)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 2
    assert "cannot be used" in done.stderr
    assert "topsecret" not in done.stderr + done.stdout


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    folder = made(tmp_path) / "deploy" / "systemd"
    try:
        command = ["systemd-analyze", "verify", *map(str, sorted(folder.glob("*.service")))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("systemd-analyze is not here")
    complaints = [line for line in done.stderr.splitlines() if "fedguard" in line]
    assert not complaints, complaints


def commands_of(folder: Path, unit: str) -> list[str]:
    text = (folder / "deploy" / "systemd" / f"fedguard-{unit}.service").read_text()
    (line,) = re.findall(r"^ExecStart=((?:.*\\\n)*.*)$", text, flags=re.MULTILINE)
    return shlex.split(line.replace("\\\n", " "))


@pytest.mark.slow
def test_the_units_commands_run_a_federation(tmp_path: Path) -> None:
    """What systemd would start: SuperLink and ServerApp apart, sites with keys of their own."""
    folder = made(tmp_path)
    settings = read_settings(folder / "fedguard.toml")
    around = environment(folder, {"FEDGUARD_CONFIG": str(folder / "fedguard.toml")})
    programs = []

    def start(unit: str, command: list[str]) -> Program:
        log = folder / "logs" / f"{unit}.log"
        programs.append(Program(unit, command, log, around, folder))
        return programs[-1]

    try:
        start("superlink", commands_of(folder, "superlink")).wait_for(settings.superlink.port)
        start("superexec", commands_of(folder, "superexec"))
        start("serve", commands_of(folder, "serve")).wait_for(settings.serve.http_port)
        for i in range(3):
            register(folder, f"site-{i}", around)
            command = " ".join(commands_of(folder, "supernode@"))
            command = command.replace("/etc/fedguard/ca.crt", str(folder / "certificates/ca.crt"))
            command = command.replace("/etc/fedguard/%i", str(folder / "keys" / f"site-{i}"))
            config = f"partition-id={i} num-partitions=3"
            port = ["--port", str(free_port())]
            words = [config if word == "${NODE_CONFIG}" else word for word in command.split()]
            start(f"site-{i}", [*words, *port])
        done = subprocess.run(
            commands_of(folder, "run"), env=around, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert grpc_answer(f"127.0.0.1:{HEALTH_PORT}", "", 5.0)[0]
    finally:
        for program in programs[::-1]:
            program.stop()
    assert not left_of(folder)


def test_the_doctor_finds_what_is_wrong(tmp_path: Path) -> None:
    folder = made(tmp_path)
    settings = folder / "fedguard.toml"
    whole = settings.read_text()
    assert fedguard("doctor", folder, cwd=tmp_path).returncode == 0
    (folder / "keys" / "site-0").chmod(0o644)
    write_certificates(tmp_path / "other", ["localhost"])
    (tmp_path / "other" / "server.key").replace(folder / "certificates" / "server.key")
    settings.write_text(whole.replace("f = 1", "f = 4", 1).replace('app = "app"', 'app = "gone"'))
    done = fedguard("doctor", folder, cwd=tmp_path)
    assert done.returncode == 1
    for told in ("has mode 644", "belong together", "min_nodes must be 9", "gone/pyproject.toml"):
        assert told in done.stdout, done.stdout
    settings.write_text(whole.replace("quorum", "quorun"))
    done = fedguard("doctor", folder, cwd=tmp_path)
    assert "did you mean 'policy.quorum'" in done.stdout
    settings.write_text(
        whole.replace('store = "store"', 'store = "postgresql+psycopg://ann:secret@db/lab"')
    )
    assert "a password stands in" in fedguard("doctor", folder, cwd=tmp_path).stdout
