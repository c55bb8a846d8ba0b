"""A PostgreSQL server of one's own, for as long as a test needs it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from fedguard.deploy.processes import free_port

ALONE = "postgres"
"""The server refuses to run as root."""


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    if not found and not on_path:
        pytest.skip("PostgreSQL is not installed: apt-get install postgresql")
    return found[-1].parent if found else Path(str(on_path)).parent


def _run(*command: str) -> None:
    alone = ["runuser", "-u", ALONE, "--"] if os.getuid() == 0 else []
    done = subprocess.run([*alone, *command], capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Database:
    """A server with data in `folder`."""

    folder: str
    port: int

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://fedguard@127.0.0.1:{self.port}/fedguard"

    def start(self) -> None:
        data, log = f"{self.folder}/data", f"{self.folder}/log"
        options = f"-c listen_addresses=127.0.0.1 -p {self.port} -k {self.folder} -c fsync=off"
        _run(str(_binaries() / "pg_ctl"), "-D", data, "-w", "-l", log, "-o", options, "start")

    def kill(self) -> None:
        """Kill -9 of the server and of all its processes."""
        first = Path(self.folder, "data", "postmaster.pid").read_text().split()[0]
        server = psutil.Process(int(first))
        processes = [server, *server.children(recursive=True)]
        for process in processes:
            process.kill()
        psutil.wait_procs(processes, timeout=10)

    def stop(self) -> None:
        _run(str(_binaries() / "pg_ctl"), "-D", f"{self.folder}/data", "-m", "immediate", "stop")


@contextmanager
def database() -> Iterator[Database]:
    """Start a server on loopback with data of its own and an empty database."""
    binaries = _binaries()
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        if os.getuid() == 0:
            shutil.chown(folder, ALONE)
        own = ["-A", "trust", "-U", "fedguard", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
        _run(str(binaries / "initdb"), "-D", f"{folder}/data", *own)
        server = Database(folder, free_port())
        server.start()
        try:
            where = ["-h", "127.0.0.1", "-p", str(server.port), "-U", "fedguard"]
            _run(str(binaries / "createdb"), *where, "fedguard")
            yield server
        finally:
            server.stop()


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of an empty database."""
    with database() as server:
        yield server.url
