"""Events to a SIEM as they are committed: lines in a file, on stdout, or syslog over TLS."""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from fedguard import __version__
from fedguard.errors import ConfigError, StoreUnavailable
from fedguard.events import Event, detection_finding, ecs_document
from fedguard.state.queries import events_since
from fedguard.state.sql import SqlStore

__all__ = ["FORMATS", "Line", "NotShipped", "Sink", "lines_of", "ship", "sink_of"]

FORMATS = {"ocsf": detection_finding, "ecs": ecs_document}
AUDIT = 13
"""The syslog facility "log audit"."""
SEVERITIES = {"round.held": 2, "client.quarantine": 3, "client.banned": 3, "client.probation": 4}
"""Of syslog: 2 critical, 3 error, 4 warning; all else is 5, notice."""
TLS_PORT = 6514
LOOK_EVERY = 1.0
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0


class NotShipped(OSError):
    """The receiver is away; what was not taken is sent again."""


class Line(NamedTuple):
    """One event: its number in the store, its kind, when it was (seconds since 1970), its JSON."""

    number: int
    kind: str
    at: float
    text: str


class Sink(Protocol):
    """Where lines go; when `put` returns, they are there. Raises `NotShipped`."""

    def put(self, line: Line) -> None: ...


def lines_of(store: SqlStore, after: int, form: str) -> Iterator[Line]:
    """Events with a number above `after`, as one line of JSON each."""
    write, federation = FORMATS[form], store.name
    for row in events_since(store, after):
        event = Event(row.round, row.kind, row.client, row.message, row.data)
        told = write(event, row.at, f"{federation}/{row.id}", federation, __version__)
        yield Line(row.id, row.kind, row.at, json.dumps(told))


@contextmanager
def sink_of(where: str, authority: Path | None = None) -> Iterator[Sink]:
    """The sink that a word names: `-`, a file, or `syslog+tls://HOST[:PORT]`.

    The receiver's certificate must be signed by `authority`, or by one that the system trusts.
    Raises `ConfigError`.
    """
    parts = urlsplit(where)
    if where == "-":
        yield _Stdout()
    elif parts.scheme == "syslog+tls" and parts.hostname:
        sink = _Syslog(parts.hostname, parts.port or TLS_PORT, _context(authority))
        try:
            yield sink
        finally:
            sink.close()
    elif "://" in where:
        raise ConfigError(f"events go to -, to a file, or to syslog+tls://HOST:PORT, not {where}")
    else:
        yield _File(Path(where))


def ship(
    store: SqlStore,
    sink: Sink,
    form: str,
    place: Path | None = None,
    after: int = 0,
    tell: Callable[[str], None] = lambda _: None,
    forever: bool = True,
) -> int:
    """Send every event once it is committed, in order, at least once; the number of the last.

    `place` is a file that remembers the last one sent. While the store or the receiver is away it
    is tried again, later and later.
    """
    number, pause = max(after, _remembered(place)), FIRST_PAUSE
    while True:
        try:
            for line in lines_of(store, number, form):
                sink.put(line)
                number, pause = line.number, FIRST_PAUSE
                if place:
                    _remember(place, number)
        except (StoreUnavailable, NotShipped) as error:
            tell(f"{error}; tried again in {pause:.0f} s")
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            continue
        if not forever:
            return number
        time.sleep(LOOK_EVERY)


def _remembered(place: Path | None) -> int:
    if place is None or not place.exists():
        return 0
    try:
        return int(place.read_text(encoding="ascii"))
    except (OSError, ValueError):
        raise ConfigError(f"{place} does not hold the number of an event") from None


def _remember(place: Path, number: int) -> None:
    new = place.with_name(f".{place.name}.new")
    new.write_text(f"{number}\n", encoding="ascii")
    os.replace(new, place)


class _Stdout:
    def put(self, line: Line) -> None:
        print(line.text, flush=True, file=sys.stdout)


class _File:
    """Lines at the end of a file, which may be moved away and is then begun anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, line: Line) -> None:
        try:
            with self._path.open("ab") as file:
                file.write(line.text.encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise NotShipped(f"{self._path}: {error.strerror}") from error


class _Syslog:
    """RFC 5424 messages, counted in octets, over TLS.

    Source: RFC 5424, section 6, and RFC 5425, section 4.3
    """

    def __init__(self, host: str, port: int, context: ssl.SSLContext) -> None:
        self._where, self._context = (host, port), context
        self._socket: ssl.SSLSocket | None = None
        self._own = socket.gethostname()[:255] or "-"

    def put(self, line: Line) -> None:
        message = self._message(line)
        try:
            self._connected().sendall(f"{len(message)} ".encode() + message)
        except OSError as error:
            self.close()
            raise NotShipped(f"syslog at {self._where[0]}:{self._where[1]}: {error}") from error

    def close(self) -> None:
        if self._socket:
            with suppress(OSError):
                self._socket.close()
        self._socket = None

    def _connected(self) -> ssl.SSLSocket:
        """The connection, made anew if the receiver has closed it: it sends nothing else."""
        if self._socket and self._ended(self._socket):
            self.close()
        if not self._socket:
            plain = socket.create_connection(self._where, timeout=10.0)
            self._socket = self._context.wrap_socket(plain, server_hostname=self._where[0])
        return self._socket

    def _ended(self, connection: ssl.SSLSocket) -> bool:
        connection.settimeout(0.0)
        try:
            return not connection.recv(1)
        except (ssl.SSLWantReadError, BlockingIOError):
            return False
        except OSError:
            return True
        finally:
            connection.settimeout(10.0)

    def _message(self, line: Line) -> bytes:
        level = AUDIT * 8 + SEVERITIES.get(line.kind, 5)
        at = datetime.fromtimestamp(line.at, UTC).isoformat(timespec="microseconds")
        head = f"<{level}>1 {at.replace('+00:00', 'Z')} {self._own} fedguard - {line.kind[:32]} - "
        return head.encode("ascii", "replace") + line.text.encode()


def _context(authority: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=authority)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"the authority {authority} cannot be read: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
