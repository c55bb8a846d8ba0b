"""A federation on this machine: a SuperLink with TLS and node keys, SuperNodes, an app's run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fedguard.deploy.certificates import public_key_of, write_certificates, write_node_key
from fedguard.deploy.processes import NotUp, Program, free_port, program_of

__all__ = ["Federation", "Node", "federation"]

LAB = "lab"
QUIET = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@dataclass(frozen=True, slots=True)
class Node:
    """A SuperNode to start: its name, its node config, and what its environment has besides."""

    name: str
    config: Mapping[str, str | int | float] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Federation:
    """What runs, and where: stop a program, start it again, run an app."""

    folder: Path
    port: int
    env: dict[str, str]
    superlink: Program
    nodes: dict[str, Program]
    runs: list[Program] = field(default_factory=list)

    def start(self, app: Path, config: Mapping[str, str | int | float], log: Path) -> Program:
        """Run an app; the program ends when the run does."""
        told = " ".join(f"{key}={_toml(value)}" for key, value in config.items())
        command = ["flwr", "run", str(app), LAB, "--stream", "-c", told]
        self.runs.append(Program("flwr run", command, log, self.env, self.folder))
        return self.runs[-1]

    def public_key(self, node: str) -> bytes:
        """A SuperNode's public key, by which the server knows it."""
        return public_key_of(self.folder / "keys" / f"{node}.pub")


@contextmanager
def federation(
    folder: Path, nodes: Sequence[Node], env: Mapping[str, str] | None = None
) -> Iterator[Federation]:
    """Bring up a SuperLink that knows these nodes and no others, and the nodes; end all of it.

    Everything lies in `folder`: certificates, keys, Flower's home and database, logs. Raises
    `NotUp` when a program does not come up.
    """
    folder = folder.resolve()
    port, certificates = free_port(), folder / "certificates"
    write_certificates(certificates, ["127.0.0.1", "localhost"])
    home = folder / "flower"
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "{LAB}"\n[superlink.{LAB}]\naddress = "127.0.0.1:{port}"\n'
        f'root-certificates = "{certificates / "ca.crt"}"\n',
        encoding="utf8",
    )
    around = os.environ | QUIET | {"FLWR_HOME": str(home)} | dict(env or {})
    around["PATH"] = f"{Path(program_of('flwr')).parent}{os.pathsep}{around['PATH']}"
    superlink = start_superlink(folder, port, around)
    lab = Federation(folder, port, around, superlink, {})
    try:
        superlink.wait_for(port)
        for node in nodes:
            lab.nodes[node.name] = _start_node(folder, port, node, around)
        yield lab
    finally:
        for program in [*lab.runs, *lab.nodes.values(), lab.superlink]:
            program.stop()


def start_superlink(folder: Path, port: int, env: Mapping[str, str]) -> Program:
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


def _start_node(folder: Path, port: int, node: Node, env: Mapping[str, str]) -> Program:
    key = folder / "keys" / node.name
    write_node_key(key)
    register = ["supernode", "register", f"{key}.pub", LAB, "--name", node.name]
    done = subprocess.run(
        [program_of("flwr"), *register], env=dict(env), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise NotUp(f"{node.name} cannot be registered: {done.stdout}{done.stderr}")
    config = " ".join(f"{name}={_toml(value)}" for name, value in node.config.items())
    command = [
        "flower-supernode",
        *("--root-certificates", str(folder / "certificates" / "ca.crt")),
        *("--superlink", f"127.0.0.1:{port}"),
        *("--host", "127.0.0.1", "--port", str(free_port())),
        *("--auth-supernode-private-key", str(key)),
        *("--node-config", config),
    ]
    log = folder / "logs" / f"{node.name}.log"
    return Program(node.name, command, log, {**env, **node.env}, folder)


def _toml(value: str | int | float) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
