"""Events in the Elastic Common Schema."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from fedguard.events.of_reports import Event

__all__ = ["ECS_VERSION", "ecs_document"]

ECS_VERSION = "8.17.0"
SEVERITIES = {
    "round.held": 90,
    "client.banned": 73,
    "client.quarantine": 73,
    "client.probation": 47,
    "client.watch": 21,
    "update.refused": 21,
}
DENIED = ("round.held", "client.banned", "client.quarantine", "update.refused")


def ecs_document(
    event: Event, at: float, uid: str, federation: str, product_version: str
) -> dict[str, Any]:
    """The event as one document; plain data. `at` is in seconds since 1970.

    Source: Elastic Common Schema 8.17, field sets base, event, user and rule
    """
    document: dict[str, Any] = {
        "@timestamp": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds"),
        "ecs": {"version": ECS_VERSION},
        "message": event.message,
        "event": {
            "kind": "alert" if SEVERITIES.get(event.kind, 0) > 60 else "event",
            "category": ["intrusion_detection"],
            "type": ["denied" if event.kind in DENIED else "info"],
            "action": event.kind,
            "id": uid,
            "severity": SEVERITIES.get(event.kind, 0),
            "module": "fedguard",
            "dataset": "fedguard.events",
        },
        "observer": {"product": "fedguard", "vendor": "fedguard", "version": product_version},
        "fedguard": {"federation": federation, "round": event.round, **event.data},
    }
    if event.client:
        document["user"] = {"id": event.client, "domain": federation}
    return document
