"""Programs started in groups of their own, so that stopping one leaves none of its children."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from fedguard.errors import FedguardError

__all__ = ["NotUp", "Program", "free_port", "listens", "program_of"]

GRACE = 15.0
"""Seconds that a program has to end by itself."""
MARK = "FEDGUARD_PROGRAM"
"""In the environment of a program and of all that come from it, orphans in other sessions, too."""


class NotUp(FedguardError):
    """A program did not come up, or ended early."""


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody listens on a port."""
    try:
        with socket.create_connection((host, port), timeout=2.0):
            return True
    except OSError:
        return False


def program_of(name: str) -> str:
    """The path of a command, beside this Python first. Raises `NotUp`."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")
    if not found:
        raise NotUp(f"{name} is neither beside {sys.executable} nor on the PATH")
    return found


class Program:
    """A running program with its output in a file."""

    def __init__(
        self, name: str, command: list[str], log: Path, env: Mapping[str, str], cwd: Path
    ) -> None:
        self.name, self.log = name, log
        self._mark = uuid.uuid4().hex
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [program_of(command[0]), *command[1:]],
                cwd=cwd,
                env={**env, MARK: self._mark},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def wait_for(self, port: int, patience: float = 60.0) -> None:
        """Until it listens on a port. Raises `NotUp` with the end of its output."""
        deadline = time.monotonic() + patience
        while self.running and time.monotonic() < deadline:
            if listens(port):
                return
            time.sleep(0.1)
        raise NotUp(f"{self.name} did not come up; {self.log} ends with:\n{self.tail()}")

    def tail(self, lines: int = 20) -> str:
        text = self.log.read_text(encoding="utf8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def signal(self, number: int) -> None:
        """Send a signal to it and all of its children."""
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return

    def kill(self) -> None:
        """End it and all that it started, in whatever group or session, at once."""
        below = self._below()
        self.signal(signal.SIGKILL)
        _killed(below)
        self.process.wait()

    def kill_below(self, word: str) -> bool:
        """Kill what comes from it and has a word in its command; whether there was any."""
        found = []
        for process in self._below():
            with suppress(psutil.Error):
                if any(word in part for part in process.cmdline()):
                    found.append(process)
        _killed(found)
        return bool(found)

    def stop(self) -> None:
        """Ask it to end, and end it and all that it started if they do not."""
        below = self._below()
        self.signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(GRACE)
        self.signal(signal.SIGKILL)
        _killed(below)
        self.process.wait()

    def _below(self) -> list[psutil.Process]:
        """All processes that come from it, whether their parents still live or not."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                own = process.pid != self.process.pid
                if own and process.environ().get(MARK) == self._mark:
                    found.append(process)
        return found


def _killed(processes: list[psutil.Process]) -> None:
    """End what is left of some processes; a number that another process has by now is let be."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=GRACE)
