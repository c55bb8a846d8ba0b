"""What monitoring scrapes: metrics by Prometheus's conventions, read from the store."""

from __future__ import annotations

from fedguard.telemetry.collector import StoreCollector
from fedguard.telemetry.exposition import Metrics
from fedguard.telemetry.families import Clients

__all__ = ["Clients", "Metrics", "StoreCollector"]
