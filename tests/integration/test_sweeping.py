"""Sweeps and the gate on real data (digits): after a kill, on Ray, with a user's own code."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import tomli_w

from fedguard.errors import ConfigError, FedguardError
from fedguard.files import write_whole
from fedguard_simulations.sweeps.cache import Cache, key_of
from fedguard_simulations.sweeps.grid import Sweep, load_sweep
from fedguard_simulations.sweeps.running import measure, run_sweep
from fedguard_simulations.sweeps.sources import own_modules

PLAIN = {
    "summary": "tried",
    "base": {"dataset": "digits", "clients": 6, "rounds": 8, "steps": 3, "learning_rate": 0.5},
    "grid": {
        "attacks": ["none", "sign_flip()", "a_little_is_enough(f={f}, z=1.5)"],
        "defences": ["mean()", "standard_policy(f={f})"],
        "partitions": ["dirichlet(alpha=1.0)"],
        "malicious": [1],
        "seeds": [0, 1],
    },
}


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    path = tmp_path / "tried.toml"
    path.write_text(tomli_w.dumps(PLAIN), encoding="utf8")
    return path


def fedguard(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "fedguard", *arguments],
        cwd=folder,
        env={**os.environ, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=300)
    return process.returncode, output


def results(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in cache.rglob("*.json")}


def tables(out: Path) -> dict[str, str]:
    """What a sweep wrote, without what it cost."""
    markdown, plain, page = (
        (out / f"tried.{kind}").read_text(encoding="utf8") for kind in ("md", "json", "html")
    )
    return {
        "md": markdown.split("## Cost")[0],
        "json": plain.rpartition('"seconds"')[0],
        "html": page.split("<h2>Cost")[0],
        **{path.name: path.read_text(encoding="utf8") for path in (out / "runs").iterdir()},
    }


@pytest.mark.slow
def test_a_sweep_killed_goes_on_and_ends_with_the_same_table(sweep: Path, tmp_path: Path) -> None:
    cells = len(list(load_sweep(str(sweep)).cells())) - 2  # the clean ones are also mean() in peace
    cache = tmp_path / "cache"
    begun = fedguard(tmp_path, "sweep", "tried.toml", "--cache", "cache", "--workers", "1")
    while len(results(cache)) < 3 and begun.poll() is None:
        time.sleep(0.01)
    workers = psutil.Process(begun.pid).children(recursive=True)
    begun.send_signal(signal.SIGKILL)
    begun.communicate()
    kept = results(cache)
    assert 3 <= len(kept) < cells
    assert not psutil.wait_procs(workers, timeout=30)[1]
    code, told = ended(fedguard(tmp_path, "sweep", "tried.toml", "--cache", "cache"))
    assert code == 0, told
    assert kept.items() <= results(cache).items()
    assert len(results(cache)) == cells
    fresh = fedguard(tmp_path, "sweep", "tried.toml", "--cache", "other", "--out", "fresh")
    assert ended(fresh)[0] == 0
    assert results(tmp_path / "other") == results(cache)  # the same cell twice, the same bytes
    assert tables(tmp_path / "fresh") == tables(tmp_path / "runs" / "tried")
    again_by_hand(tmp_path / "fresh")


def again_by_hand(out: Path) -> None:
    """The command that a run's page shows makes a report, and comes to the same accuracy."""
    page = next(
        text
        for path in sorted((out / "runs").glob("*.html"))
        if "sign_flip" in (text := path.read_text(encoding="utf8"))
    )
    for link in re.findall(r'href="([^"]+)"', page):
        assert (out / "runs" / link).exists()
    shown = re.search(r"fedguard (simulate \w+\.toml --runs defended)", page)
    accuracy = re.search(r"final accuracy</dt><dd>([\d.]+) %", page)
    assert shown
    assert accuracy
    code, told = ended(fedguard(out / "runs", *shown[1].split()))
    assert code == 0, told
    assert f"{float(accuracy[1]):.1f}%" in told


CAREFUL = """
from fedguard import chain
from fedguard_strategies import mean, trimmed_mean, weak_dp
import beside

def careful(f):
    return {made}
"""
MODEL = """
from torch import nn

import inner

def small(shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(inner.count(shape), classes))
"""
INNER = "def count(shape): return shape[0] * shape[1]\n"


@pytest.mark.slow
def test_the_gate_fails_when_a_users_defence_gets_worse(sweep: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    (tmp_path / "beside.py").write_text(MODEL)
    (tmp_path / "inner.py").write_text(INNER)
    mine.write_text(CAREFUL.format(made="trimmed_mean(f)"))
    attacked = ["--set", "rounds=12", "--set", "seeds=0,1,2,3", "--cache", "cache"]
    words = ["gate", "tried.toml", "--defence", "mine:careful", "--model", "beside:small"]
    code, told = ended(fedguard(tmp_path, *words, *attacked, "--baseline", "mine.json"))
    assert (code, "make it with --update" in told) == (2, True), told
    code, told = ended(fedguard(tmp_path, *words, *attacked, "--baseline", "mine.json", "--update"))
    assert (code, "written mine.json" in told) == (0, True), told
    code, told = ended(fedguard(tmp_path, *words, *attacked, "--baseline", "mine.json"))
    assert (code, "holds" in told) == (0, True), told
    mine.write_text(CAREFUL.format(made="chain(weak_dp(sigma=1.0), mean())"))
    code, told = ended(fedguard(tmp_path, *words, *attacked, "--baseline", "mine.json"))
    assert (code, "fails" in told) == (1, True), told
    assert "mine:careful" in told
    mine.write_text(CAREFUL.format(made="weak_dp(sigm=1.0)"))
    code, told = ended(fedguard(tmp_path, *words, *attacked, "--baseline", "mine.json"))
    assert (code, "unexpected keyword argument" in told) == (2, True), told


def test_the_same_cell_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    planned = Sweep.from_dict("tried", PLAIN).evolve({"rounds": "2", "seeds": "0"})
    cell = next(each for each in planned.cells() if each.run == "defended")
    kept = [Cache(tmp_path / name) for name in ("one", "other")]
    for cache in kept:
        result, seconds = measure((cell, key_of(cell)))
        cache.put(cell, key_of(cell), result, seconds)
    assert results(kept[0].folder) == results(kept[1].folder)
    assert len(result.accuracy) == 3
    assert result.hostile == 1
    with pytest.raises(FedguardError, match="other code, data or libraries"):
        measure((cell, "another"))


def test_write_whole_leaves_what_was_there_when_it_fails(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    write_whole(path, b"one")
    with pytest.raises(TypeError):
        write_whole(path, "two")  # type: ignore[arg-type]
    assert path.read_bytes() == b"one"
    assert [each.name for each in path.parent.iterdir()] == ["b"]


def answers(port: int) -> None:
    """Wait until somebody listens."""
    for _ in range(600):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            time.sleep(5)  # its node registers after its port is open
            return
        time.sleep(0.1)


def test_no_cluster_is_told(tmp_path: Path) -> None:
    planned = Sweep.from_dict("tried", PLAIN)
    with pytest.raises(ConfigError, match=r"no Ray cluster answers at 127\.0\.0\.1:1"):
        run_sweep(planned, Cache(tmp_path), ray="127.0.0.1:1")


@pytest.mark.slow
def test_a_ray_cluster_comes_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    (tmp_path / "on_ray.py").write_text(MODEL)
    (tmp_path / "inner.py").write_text(INNER)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert own_modules("on_ray:small") == [tmp_path / "on_ray.py", tmp_path / "inner.py"]
    planned = Sweep.from_dict("tried", PLAIN).evolve({"seeds": "0", "model": "on_ray:small"})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = [str(Path(sys.executable).with_name("ray"))]
    own = tempfile.mkdtemp(prefix="ray")  # else later tests take its address for theirs; short
    head = ["start", "--head", "--block", f"--port={port}", "--num-cpus=2", f"--temp-dir={own}"]
    cluster = subprocess.Popen(
        [*program, *head, "--include-dashboard=false", "--disable-usage-stats"],
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        answers(port)
        run_sweep(planned, Cache(tmp_path / "ray"), ray=f"127.0.0.1:{port}")
        run_sweep(planned, Cache(tmp_path / "here"), workers=1)
        assert results(tmp_path / "ray") == results(tmp_path / "here")
    finally:
        ray.shutdown()
        cluster.terminate()
        cluster.wait(60)
        shutil.rmtree(own, ignore_errors=True)
