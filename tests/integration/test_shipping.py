"""Events on their way to a SIEM: nothing is lost while a receiver or the process is away."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from rounds import POLICY, cohort
from typer.testing import CliRunner

from fedguard import Action, Override, commit_round
from fedguard.cli import app
from fedguard.deploy.certificates import write_certificates
from fedguard.errors import ConfigError
from fedguard.state.opening import open_store, open_to_read
from fedguard.state.queries import events_since
from fedguard.telemetry.shipping import Line, NotShipped, ship, sink_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with open_store(str(tmp_path / "store"), "ward") as store:
        for number in range(1, 4):
            commit_round(store, cohort(number), POLICY)
    return tmp_path / "store"


def numbers(folder: Path) -> list[int]:
    with open_to_read(str(folder), "ward") as store:
        return [row.id for row in events_since(store)]


def uids(lines: list[str]) -> list[str]:
    return [json.loads(line)["metadata"]["uid"] for line in lines]


class Receiver:
    """A syslog server that takes octet-counted messages over TLS."""

    def __init__(self, certificates: Path, port: int = 0) -> None:
        self.got: list[bytes] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
        self._listening = socket.create_server(("127.0.0.1", port), reuse_port=True)
        self.port = self._listening.getsockname()[1]
        self._context, self._taken = context, list[ssl.SSLSocket]()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
                taken = self._context.wrap_socket(plain, server_side=True)
            except ssl.SSLError:
                plain.close()
                continue
            except OSError:
                return
            self._taken.append(taken)
            threading.Thread(target=self._read, args=(taken,), daemon=True).start()

    def _read(self, taken: ssl.SSLSocket) -> None:
        try:
            with taken.makefile("rb") as stream:
                while count := _count(stream):
                    self.got.append(stream.read(count))
        except (OSError, ValueError):
            return

    def stop(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for taken in self._taken:
            with suppress(OSError):
                taken.shutdown(socket.SHUT_RDWR)
            taken.close()
        self._thread.join(5)


def _count(stream: Any) -> int:
    digits = b""
    while (one := stream.read(1)) not in (b" ", b""):
        digits += one
    return int(digits or b"0")


@contextmanager
def receiver(certificates: Path, port: int = 0) -> Iterator[Receiver]:
    made = Receiver(certificates, port)
    try:
        yield made
    finally:
        made.stop()


def until(true: Any, patience: float = 10.0) -> None:
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_file_gets_every_event_once_over_restarts(folder: Path, tmp_path: Path) -> None:
    out, place = tmp_path / "events.jsonl", tmp_path / "place"
    command = ["ship", str(out), "-s", str(folder), "--federation", "ward", "--once"]
    run = lambda: CliRunner().invoke(app, [*command, "--remember", str(place)])  # noqa: E731
    assert run().exit_code == 0
    first = out.read_text().splitlines()
    assert uids(first) == [f"ward/{number}" for number in numbers(folder)]
    with open_store(str(folder), "ward") as store:
        store.override(Override("client-3", Action.BAN, 'why \u202e\n"quoted" \x00 <b>'))
    assert run().exit_code == 0
    whole = out.read_text().splitlines()
    assert whole[: len(first)] == first
    assert len(whole) == len(first) + 1
    assert json.loads(whole[-1])["metadata"]["event_code"] == "operator.ban"
    place.write_text("not a number")
    assert isinstance(run().exception, ConfigError)


def test_syslog_over_tls_waits_for_its_receiver_and_leaves_nothing_out(
    folder: Path, tmp_path: Path
) -> None:
    write_certificates(tmp_path, ["127.0.0.1"])
    told: list[str] = []
    with receiver(tmp_path) as one, open_to_read(str(folder), "ward") as store:
        where = f"syslog+tls://127.0.0.1:{one.port}"
        with sink_of(where, tmp_path / "ca.crt") as sink:
            last = ship(store, sink, "ocsf", tell=told.append, forever=False)
            until(lambda: len(one.got) == len(numbers(folder)))
            one.stop()
            with pytest.raises(NotShipped):
                sink.put(Line(9, "round.held", 0.0, "{}"))
            with open_store(str(folder), "ward") as writing:
                writing.override(Override("client-3", Action.NOTE, "more"))
            sending = threading.Thread(
                target=ship,
                args=(store, sink, "ocsf"),
                kwargs={"after": last, "tell": told.append, "forever": False},
            )
            sending.start()
            until(lambda: told)
            with receiver(tmp_path, one.port) as other:
                until(lambda: other.got)
                sending.join()
    assert last == numbers(folder)[-2]
    messages = [message.decode() for message in (*one.got, *other.got)]
    heads, bodies = zip(*(each.split(" - ", 2)[::2] for each in messages), strict=True)
    assert uids(list(bodies)) == [f"ward/{number}" for number in numbers(folder)]
    for message in messages:
        priority, rest = message[1:].split(">1 ", 1)
        assert int(priority) // 8 == 13
        at, host, name, process, kind, structured, _ = rest.split(" ", 6)
        assert at.endswith("Z")
        assert (host, name, process, structured) == (socket.gethostname(), "fedguard", "-", "-")
        assert "." in kind
    assert heads


def test_a_receiver_that_nobody_vouches_for_gets_nothing(folder: Path, tmp_path: Path) -> None:
    for name in ("own", "other"):
        write_certificates(tmp_path / name, ["127.0.0.1"])
    with receiver(tmp_path / "own") as one:
        where = f"syslog+tls://127.0.0.1:{one.port}"
        with (
            sink_of(where, tmp_path / "other" / "ca.crt") as sink,
            pytest.raises(NotShipped, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            sink.put(Line(1, "round.held", 0.0, "{}"))
        assert not one.got
    for wrong in ("http://somewhere", "syslog+tls://"):
        with pytest.raises(ConfigError, match="syslog"), sink_of(wrong):
            pass
    with pytest.raises(ConfigError, match="authority"), sink_of(where, tmp_path / "none"):
        pass


def test_it_follows_until_it_is_stopped(folder: Path) -> None:
    command = ["ship", "-", "-s", str(folder), "--federation", "ward", "--format", "ecs"]
    with subprocess.Popen(
        [sys.executable, "-m", "fedguard", *command], stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout
        first = [json.loads(running.stdout.readline()) for _ in numbers(folder)]
        with open_store(str(folder), "ward") as store:
            store.override(Override("client-3", Action.NOTE, "seen at once"))
        last = json.loads(running.stdout.readline())
        running.terminate()
    assert {each["observer"]["product"] for each in first} == {"fedguard"}
    assert (last["event"]["action"], last["user"]["id"]) == ("operator.note", "client-3")
