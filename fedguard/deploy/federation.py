"""A federation on this machine: a SuperLink with TLS and node keys, SuperNodes, an app's run."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from fedguard.blocks.threads import available_cores
from fedguard.deploy.certificates import public_key_of, write_certificates, write_node_key
from fedguard.deploy.processes import NotUp, Program, free_port, program_of

__all__ = [
    "Federation",
    "Node",
    "environment",
    "federation",
    "prepare",
    "register",
    "start_run",
    "stop_run",
    "write_connection",
]

CONNECTION = "lab"
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
KNOWN_ALREADY = "already in use"
"""What Flower says of a key that was registered before."""
SERVER = "flwr-serverapp"
Values = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Node:
    """A SuperNode to start: its name, its node config, and what its environment has besides."""

    name: str
    config: Values = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Federation:
    """What runs, and where: stop a program, start it again, run an app."""

    folder: Path
    port: int
    env: dict[str, str]
    superlink: Program
    nodes: dict[str, Program] = field(default_factory=dict)
    others: list[Program] = field(default_factory=list)

    def start(self, app: Path, config: Values, log: Path) -> Program:
        """Run an app; the program ends when the run does."""
        self.others.append(start_run(self.folder, app, config, log, self.env))
        return self.others[-1]

    def start_node(self, node: Node) -> Program:
        """A SuperNode whose key the SuperLink knows."""
        self.nodes[node.name] = _node(self.folder, self.port, node, self.env)
        return self.nodes[node.name]

    def kill_server(self) -> bool:
        """Kill the ServerApp, if there is one."""
        return self.superlink.kill_below(SERVER)

    def start_superlink(self) -> Program:
        """The SuperLink, again after it was stopped; it is up when this returns."""
        self.superlink = _superlink(self.folder, self.port, self.env)
        self.superlink.wait_for(self.port)
        return self.superlink

    def public_key(self, node: str) -> bytes:
        """A SuperNode's public key, by which the server knows it."""
        return public_key_of(self.folder / "keys" / f"{node}.pub")

    def stop(self) -> None:
        """End everything, the ServerApp first and the SuperLink, from which nodes sign off, last.

        A ServerApp that lived on would hold a round for want of nodes.
        """
        self.kill_server()
        first = [*self.others, *self.nodes.values()]
        with ThreadPoolExecutor(max(len(first), 1)) as pool:
            list(pool.map(Program.stop, first))
        self.superlink.stop()


def prepare(
    folder: Path,
    nodes: Sequence[str],
    port: int,
    names: Sequence[str] = ("127.0.0.1", "localhost"),
    address: str = "127.0.0.1",
) -> None:
    """Write what a federation needs and is not there: certificates, node keys, Flower's home."""
    certificates = folder / "certificates"
    if not (certificates / "ca.crt").exists():
        write_certificates(certificates, names)
    for name in nodes:
        if not (folder / "keys" / name).exists():
            write_node_key(folder / "keys" / name)
    write_connection(folder, address, port)


def write_connection(folder: Path, host: str, port: int) -> None:
    """Write Flower's home, whose one connection is the federation's SuperLink."""
    home = folder / "flower"
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "{CONNECTION}"\n[superlink.{CONNECTION}]\n'
        f'address = "{host}:{port}"\n'
        f'root-certificates = "{folder / "certificates" / "ca.crt"}"\n',
        encoding="utf8",
    )


def environment(folder: Path, more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of Flower's programs: their home in `folder`, and nothing sent elsewhere."""
    around = os.environ | QUIET | {"FLWR_HOME": str(folder / "flower")} | dict(more or {})
    around["PATH"] = f"{Path(program_of('flwr')).parent}{os.pathsep}{around['PATH']}"
    return around


@contextmanager
def federation(
    folder: Path,
    nodes: Sequence[Node],
    env: Mapping[str, str] | None = None,
    port: int | None = None,
) -> Iterator[Federation]:
    """Bring up a SuperLink that knows these nodes and no others, and the nodes; end all of it.

    Everything lies in `folder`: certificates, keys, Flower's home and database, logs. Raises
    `NotUp` when a program does not come up.
    """
    folder, port = folder.resolve(), port or free_port()
    prepare(folder, [node.name for node in nodes], port)
    around = environment(folder, env)
    lab = Federation(folder, port, around, _superlink(folder, port, around))
    try:
        lab.superlink.wait_for(port)
        with ThreadPoolExecutor(available_cores()) as pool:  # each starts a Python of its own
            list(pool.map(lambda node: register(folder, node.name, around), nodes))
        for node in nodes:
            lab.start_node(node)
        yield lab
    finally:
        lab.stop()


def start_run(
    folder: Path, app: Path, config: Values, log: Path, env: Mapping[str, str]
) -> Program:
    """Run an app on the SuperLink that Flower's home in `folder` names."""
    told = " ".join(f"{key}={_toml(value)}" for key, value in config.items())
    command = ["flwr", "run", str(app), CONNECTION, "--stream", *(["-c", told] if told else [])]
    return Program("flwr run", command, log, env, folder)


def stop_run(log: Path, env: Mapping[str, str]) -> None:
    """Stop the run that a log of `flwr run` tells of last: its ServerApp outlives the command."""
    begun = re.findall(r"Successfully started run (\d+)", log.read_text(encoding="utf8"))
    if begun:
        command = [program_of("flwr"), "stop", begun[-1], CONNECTION]
        with suppress(subprocess.TimeoutExpired):  # the SuperLink may be gone
            subprocess.run(command, env=dict(env), capture_output=True, check=False, timeout=60)


def register(folder: Path, name: str, env: Mapping[str, str]) -> None:
    """Tell the SuperLink of a node's key, if it does not know it. Raises `NotUp`."""
    key = folder / "keys" / f"{name}.pub"
    command = [program_of("flwr"), "supernode", "register", str(key), CONNECTION, "--name", name]
    done = subprocess.run(command, env=dict(env), capture_output=True, text=True, check=False)
    told = f"{done.stdout}{done.stderr}"
    if done.returncode and KNOWN_ALREADY not in told:
        raise NotUp(f"{name} cannot be registered: {told}")


def _superlink(folder: Path, port: int, env: Mapping[str, str]) -> Program:
    """A SuperLink with TLS and node authentication, whose state outlives it."""
    certificates = folder / "certificates"
    command = [
        "flower-superlink",
        *("--ssl-ca-certfile", str(certificates / "ca.crt")),
        *("--ssl-certfile", str(certificates / "server.pem")),
        *("--ssl-keyfile", str(certificates / "server.key")),
        "--enable-supernode-auth",
        *("--host", "127.0.0.1", "--port", str(port)),
        *("--database", str(folder / "flower" / "state.db")),
        "--disable-runtime-dependency-installation",
    ]
    return Program("the SuperLink", command, folder / "logs" / "superlink.log", env, folder)


def _node(folder: Path, port: int, node: Node, env: Mapping[str, str]) -> Program:
    config = " ".join(f"{name}={_toml(value)}" for name, value in node.config.items())
    command = [
        "flower-supernode",
        *("--root-certificates", str(folder / "certificates" / "ca.crt")),
        *("--superlink", f"127.0.0.1:{port}"),
        *("--host", "127.0.0.1", "--port", str(free_port())),
        *("--auth-supernode-private-key", str(folder / "keys" / node.name)),
        *("--node-config", config),
    ]
    log = folder / "logs" / f"{node.name}.log"
    return Program(node.name, command, log, {**env, **node.env}, folder)


def _toml(value: str | int | float) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
