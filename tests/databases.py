"""A PostgreSQL server of one's own, for as long as a test needs it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgresql() -> Iterator[str]:
    """Start a server on loopback with data of its own; yields the URL of an empty database."""
    binaries, port = _binaries(), free_port()
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        if os.getuid() == 0:
            shutil.chown(folder, ALONE)
        data, log = f"{folder}/data", f"{folder}/log"
        own = ["-A", "trust", "-U", "fedguard", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"]
        _run(str(binaries / "initdb"), "-D", data, *own)
        options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder} -c fsync=off"
        _run(str(binaries / "pg_ctl"), "-D", data, "-w", "-l", log, "-o", options, "start")
        try:
            where = ["-h", "127.0.0.1", "-p", str(port), "-U", "fedguard"]
            _run(str(binaries / "createdb"), *where, "fedguard")
            yield f"postgresql+psycopg://fedguard@127.0.0.1:{port}/fedguard"
        finally:
            _run(str(binaries / "pg_ctl"), "-D", data, "-m", "immediate", "stop")
