"""A live federation with two attackers, watched by a real Prometheus and a real Alertmanager."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from monitoring_files import FILES
from typer.testing import CliRunner

from fedguard.cli import app
from fedguard.deploy.federation import Federation, Node, federation
from fedguard.deploy.folder import make_folder
from fedguard.deploy.processes import Program, free_port
from fedguard.deploy.settings import CONFIG
from fedguard.identity import name_of_key

ROOT, APP = Path(__file__).parents[2], Path(__file__).parents[1] / "watched_app"
BOARDS = sorted((FILES / "grafana" / "dashboards").glob("*.json"))
SITES, HOSTILE = 6, (4, 5)
QUARANTINED, HELD = "FedguardClientQuarantined", "FedguardRoundsHeld"
INSTALLED = shutil.which("prometheus") and shutil.which("prometheus-alertmanager")


def module(name: str) -> Any:
    """One of the programs beside the packages."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "monitoring" / f"{name}.py")
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    sys.modules[name] = made
    spec.loader.exec_module(made)
    return made


def test_the_dashboards_are_what_their_code_says() -> None:
    written = {each.name: each.read_text(encoding="utf8") for each in BOARDS}
    assert module("dashboards").generated() == written


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_grafanas_own_types_read_and_write_the_same(path: Path) -> None:
    """They drop what they do not know without a word."""
    register_default_plugins()
    told = json.loads(path.read_text(encoding="utf8"))
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(told)))
    assert again == told


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in board["panels"]:
        yield from panel.get("panels") or ()
        if panel["type"] != "row":
            yield panel


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_dashboard_fits_any_grafana(path: Path) -> None:
    board = json.loads(path.read_text(encoding="utf8"))
    assert board["uid"] == path.stem
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels(board):
        assert panel["title"]
        assert panel["description"]
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert target["expr"].count("(") == target["expr"].count(")")


class Prometheus:
    """Its HTTP API."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/api/v1"

    def asked(self, path: str, **given: Any) -> Any:
        told = httpx.get(f"{self.url}/{path}", params=given, timeout=20.0).json()
        assert told["status"] == "success", told
        return told["data"]

    def now(self, query: str) -> list[tuple[dict[str, str], float]]:
        found = self.asked("query", query=query)["result"]
        return [(each["metric"], float(each["value"][1])) for each in found]

    def over_time(self, query: str) -> int:
        """How many values of all series in the last minutes are numbers."""
        end = time.time()
        span = {"start": end - 240, "end": end, "step": 5}
        found = self.asked("query_range", query=query, **span)["result"]
        return sum(value != "NaN" for each in found for _, value in each["values"])


def until(true: Callable[[], Any], told: Callable[[], object], patience: float = 120.0) -> Any:
    """Wait for something to be so, and give what it is."""
    deadline = time.monotonic() + patience
    while not (found := true()):
        assert time.monotonic() < deadline, told()
        time.sleep(0.5)
    return found


@contextmanager
def receiver() -> Iterator[tuple[int, list[tuple[str, str, dict[str, Any]]]]]:
    """A port that takes notifications: where each went, its status, and the alert."""
    got: list[tuple[str, str, dict[str, Any]]] = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.extend((self.path, each["status"], each) for each in told["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Taking)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port, got
    finally:
        server.shutdown()
        server.server_close()


def replaced(path: Path, *pairs: tuple[str, str]) -> None:
    text = path.read_text(encoding="utf8")
    for word, other in pairs:
        assert word in text, word
        text = text.replace(word, other)
    path.write_text(text, encoding="utf8")


def prepared(folder: Path) -> tuple[int, int]:
    """A federation of digits, with a test set at the server."""
    ports = free_port(), free_port()
    make_folder(
        folder,
        {
            "federation": "ward",
            "policy.f": 2,
            "rounds.count": 10_000,
            "rounds.min_nodes": 3,
            "rounds.timeout": 20.0,
            "rounds.retries": None,
            "rounds.patience": 15.0,
            "rounds.fraction_evaluate": 1.0,
            "superlink.port": ports[0],
            "serve.http_port": ports[1],
            "serve.grpc_port": free_port(),
            "serve.token_file": "token",
            "trial_nodes": SITES,
        },
    )
    (folder / "token").write_text("of the operator\n")
    shutil.copytree(APP, folder / "app" / "starter", dirs_exist_ok=True)
    return ports


@contextmanager
def watched(folder: Path, exporter: int, simulated: int, hook: int) -> Iterator[tuple[int, int]]:
    """Prometheus and Alertmanager as `fedguard prometheus export` sets them up, only faster."""
    ports, where = (free_port(), free_port()), folder / "monitoring"
    told = ["--target", f"127.0.0.1:{exporter}", "--alertmanager", f"127.0.0.1:{ports[1]}"]
    done = CliRunner().invoke(app, ["prometheus", "export", str(where), *told])
    assert done.exit_code == 0, done.output
    replaced(
        where / "prometheus.yml",
        ("_interval: 15s", "_interval: 1s"),
        (
            "  - job_name: fedguard\n",
            "  - job_name: simulated\n"
            f"    static_configs: [{{targets: [127.0.0.1:{simulated}]}}]\n"
            "  - job_name: fedguard\n"
            f"    authorization: {{credentials_file: {folder / 'token'}}}\n",
        ),
    )
    replaced(
        where / "alertmanager.yml",
        ("127.0.0.1:9095", f"127.0.0.1:{hook}"),
        ("group_wait: 30s", "group_wait: 1s"),
        ("group_wait: 10s", "group_wait: 1s"),
        ("group_interval: 5m", "group_interval: 1s"),
    )
    commands = {
        "prometheus": (
            f"--config.file={where / 'prometheus.yml'}",
            f"--storage.tsdb.path={where / 'data'}",
            f"--web.listen-address=127.0.0.1:{ports[0]}",
        ),
        "prometheus-alertmanager": (
            f"--config.file={where / 'alertmanager.yml'}",
            f"--storage.path={where / 'alerts'}",
            f"--web.listen-address=127.0.0.1:{ports[1]}",
            "--cluster.listen-address=",
        ),
    }
    programs = list[Program]()
    try:
        for (name, options), port in zip(commands.items(), ports, strict=True):
            log = folder / "logs" / f"{name}.log"
            programs.append(Program(name, [name, *options], log, os.environ, folder))
            programs[-1].wait_for(port)
        yield ports
    finally:
        for program in programs:
            program.stop()


def filled(expression: str, client: str) -> str:
    """A query as Grafana would send it."""
    for word, value in (
        ("${federation}", ".*"),
        ("$federation", ".*"),
        ("$family", ".*"),
        ("$client", client),
        ("$__rate_interval", "1m"),
    ):
        expression = expression.replace(word, value)
    assert "$" not in expression
    return expression


def empty(prometheus: Prometheus, client: str) -> list[str]:
    """The panels and variables of all dashboards for which there is no data."""
    found = []
    for path in BOARDS:
        board = json.loads(path.read_text(encoding="utf8"))
        for panel in panels(board):
            found += [
                f"{board['title']}: {panel['title']}: {target['expr']}"
                for target in panel["targets"]
                if not prometheus.over_time(filled(target["expr"], client))
            ]
        for variable in board["templating"]["list"]:
            if variable["type"] != "query":
                continue
            query = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"])
            assert query
            series = prometheus.now(filled(query[1], client))
            if not any(query[2] in metric for metric, _ in series):
                found.append(f"{board['title']}: ${variable['name']}")
    return found


@pytest.mark.slow
@pytest.mark.skipif(not INSTALLED, reason="Debian's prometheus and prometheus-alertmanager")
def test_who_is_on_call_sees_it_and_is_woken(tmp_path: Path) -> None:
    folder, simulated = tmp_path / "ward", free_port()
    port, exporter = prepared(folder)
    env = {CONFIG: str(folder / "fedguard.toml")}
    nodes = [
        Node(
            f"site-{i}",
            {"partition-id": i, "num-partitions": SITES, "factor": -9 if i in HOSTILE else 1},
        )
        for i in range(SITES)
    ]
    with receiver() as (hook, got), federation(folder, nodes, env, port) as lab:
        started(lab, folder, simulated)
        lab.others[0].wait_for(exporter)
        refused = httpx.get(f"http://127.0.0.1:{exporter}/metrics")
        assert refused.status_code == 401
        with watched(folder, exporter, simulated, hook) as (prometheus_port, alerts_port):
            prometheus = Prometheus(prometheus_port)
            bad = {name_of_key(lab.public_key(f"site-{i}")) for i in HOSTILE}

            def notified(
                where: str, status: str, name: str, since: int = 0
            ) -> list[dict[str, str]]:
                return [
                    each["labels"]
                    for path, told, each in got[since:]
                    if (path, told) == (where, status) and each["labels"]["alertname"] == name
                ]

            def state() -> object:
                standing = prometheus.now("fedguard_client_standing")
                return standing, got[-5:], lab.others[-1].tail(15)

            until(
                lambda: (
                    {each["client"] for each in notified("/ticket", "firing", QUARANTINED)} >= bad
                ),
                state,
            )
            away = prometheus.now('fedguard_client_standing{federation="ward"} == 3')
            assert {metric["client"] for metric, _ in away} == bad
            (accuracy,) = prometheus.now(
                'fedguard_model_accuracy_ratio{federation="ward", source="server"}'
            )
            assert accuracy[1] > 0.8
            until(lambda: not empty(prometheus, min(bad)), lambda: empty(prometheus, min(bad)))

            if where := os.environ.get("FEDGUARD_PICTURES"):
                url = f"http://127.0.0.1:{prometheus_port}"
                module("pictures").pictures(url, Path(where), min(bad))
            whole = len(got)
            for name in list(lab.nodes)[:3]:  # too few are left: rounds are held
                lab.nodes[name].stop()
            until(lambda: notified("/page", "firing", HELD, whole), state)
            url = f"http://127.0.0.1:{alerts_port}/api/v2/alerts"

            def inhibited() -> set[str]:
                return {
                    each["labels"]["client"]
                    for each in httpx.get(url).json()
                    if each["labels"]["alertname"] == QUARANTINED and each["status"]["inhibitedBy"]
                }

            until(lambda: inhibited() >= bad, state)
            for node in nodes[:3]:
                lab.start_node(node)
            until(lambda: notified("/page", "resolved", HELD, whole), state)
            until(lambda: not inhibited(), state)  # else nobody is told what resolves meanwhile
            for client in bad:
                done = CliRunner().invoke(
                    app, ["ban", client, "-s", str(folder / "store"), "--federation", "ward"]
                )
                assert done.exit_code == 0, done.output
            until(
                lambda: (
                    {each["client"] for each in notified("/ticket", "resolved", QUARANTINED)} >= bad
                ),
                state,
            )
            leaked = [
                path
                for path in (folder / "logs").iterdir()
                if "of the operator" in path.read_text(encoding="utf8", errors="replace")
            ]
            assert not leaked


def started(lab: Federation, folder: Path, simulated: int) -> None:
    """The exporter, a red team's simulation, and the rounds."""
    python = [sys.executable, "-m", "fedguard"]
    simulate = ["simulate", "backdoor", "--rounds", "6", "--serve-metrics", str(simulated)]
    for name, command in (
        ("serve", ["serve"]),
        ("simulate", [*simulate, "--out", str(folder / "simulated")]),
    ):
        log = folder / "logs" / f"{name}.log"
        lab.others.append(Program(name, [*python, *command], log, lab.env, folder))
    lab.start(folder / "app", {}, folder / "logs" / "run.log")
