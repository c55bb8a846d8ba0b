"""Metrics as text, in the form that a scraper asks for."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from fedguard.telemetry.collector import StoreCollector

__all__ = ["Metrics"]


class Metrics:
    """A collector's families, and those of this process, in a registry of their own."""

    def __init__(self, collector: StoreCollector) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(collector)
        ProcessCollector(registry=self._registry)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """The exposition and its content type: OpenMetrics, with exemplars, for who accepts it."""
        encoder, kind = choose_encoder(accept)
        return encoder(self._registry), kind
