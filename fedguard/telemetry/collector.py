"""A collector that looks at the store at every scrape, so that nothing shown is out of date."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fedguard import __version__
from fedguard.audit import Verifier
from fedguard.deploy.certificates import end_of
from fedguard.errors import FedguardError, NoStore, UnknownName
from fedguard.state.monitoring import Client, Monitor, Snapshot
from fedguard.state.opening import PUBLIC, federations_in, files_of, open_to_read
from fedguard.state.sql import SqlStore
from fedguard.telemetry.families import Clients, families

__all__ = ["StoreCollector"]


class StoreCollector(Collector):
    """One federation of a store, or all of them. A store that cannot be read is told as such.

    It is read in one consistent view and in this process, so a scrape never waits for a round nor
    a round for a scrape. Of `certificates`, by name, the ends are told.
    """

    def __init__(
        self,
        where: str,
        federation: str | None = None,
        files: Path | None = None,
        clients: Clients = Clients(),  # noqa: B008  (a tuple)
        certificates: Mapping[str, Path] | None = None,
    ) -> None:
        self._where, self._federation, self._files = where, federation, files
        self._clients, self._certificates = clients, certificates or {}
        self._open: dict[str, tuple[SqlStore, Monitor]] = {}
        self._shown: dict[str, tuple[Snapshot, list[Client]]] = {}
        self._lock = Lock()

    def collect(self) -> Iterator[Metric]:
        with self._lock:
            began = time.perf_counter()
            seen, able = self._looked()
            seconds = time.perf_counter() - began
            yield _gauge("build_info", "This fedguard.", 1.0, version=__version__)
            yield _gauge("store_up", "Whether the store can be read.", float(able))
            yield _gauge("store_read_seconds", "What reading it took just now.", seconds)
            yield from families([(each, self._chosen(each)) for each in seen])
        expiry = GaugeMetricFamily(
            "fedguard_certificate_expiry_timestamp_seconds",
            "When a certificate ends.",
            labels=["certificate"],
        )
        for name, path in self._certificates.items():
            with suppress(OSError, ValueError):  # not there, or not readable yet
                expiry.add_metric([name], end_of(path).timestamp())
        yield expiry

    def _looked(self) -> tuple[list[Snapshot], bool]:
        """What there is to see, and whether the store could be read."""
        try:
            own = self._federation
            names = [own] if own else federations_in(self._where)
            return [self._monitor(name).look() for name in names], True
        except (NoStore, UnknownName):
            return [], True  # the first run makes it
        except (FedguardError, OSError):
            self._close()
            return [], False

    def _monitor(self, name: str) -> Monitor:
        if name not in self._open:
            store = open_to_read(self._where, name, files=self._files)
            public = files_of(self._where, self._files) / PUBLIC
            verifier = Verifier(public.read_text(encoding="utf8")) if public.exists() else None
            self._open[name] = store, Monitor(store, verifier)
        return self._open[name][1]

    def _close(self) -> None:
        """Give connections back: the store may come back as another one."""
        for store, _ in self._open.values():
            store.close()

    def _chosen(self, seen: Snapshot) -> list[Client]:
        """Those to show: chosen anew after a round, with regard to those shown before."""
        last, shown = self._shown.get(seen.federation, (None, []))
        if last is None or last.clients is not seen.clients:
            before = frozenset(each.name for each in shown)
            shown = self._clients.shown(seen.clients, before)
            self._shown[seen.federation] = seen, shown
        return shown


def _gauge(name: str, told: str, value: float, **labels: str) -> Metric:
    family = GaugeMetricFamily(f"fedguard_{name}", told, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family
