"""Events as OCSF Detection Findings, for a SIEM that speaks it."""

from __future__ import annotations

from typing import Any, NamedTuple

from fedguard.events.of_reports import Event

__all__ = ["OCSF_VERSION", "detection_finding"]

OCSF_VERSION = "1.5.0"
FINDINGS, DETECTION_FINDING = 2, 2004
STATISTICAL, CLIENT = 3, "federated learning client"
"""The type of analytic, and what a resource of ours is."""


class _Kind(NamedTuple):
    """How a kind of event is told: caption, severity, activity, action and disposition."""

    title: str
    severity: int
    activity: int
    action: int
    disposition: int


CREATE, UPDATE, CLOSE = 1, 2, 3
INFORMATIONAL, LOW, MEDIUM, HIGH, CRITICAL = 1, 2, 3, 4, 5
OBSERVED, ALLOWED, DENIED = 3, 1, 2
NOTED, QUARANTINED, BLOCKED, DROPPED, RESTORED, DETECTED = 17, 3, 2, 6, 9, 15
KINDS = {
    "round.held": _Kind("Round held", CRITICAL, CREATE, DENIED, BLOCKED),
    "update.refused": _Kind("Update refused", LOW, CREATE, DENIED, DROPPED),
    "client.watch": _Kind("Client watched", LOW, CREATE, OBSERVED, DETECTED),
    "client.probation": _Kind("Client on probation", MEDIUM, CREATE, OBSERVED, DETECTED),
    "client.quarantine": _Kind("Client quarantined", HIGH, CREATE, DENIED, QUARANTINED),
    "client.banned": _Kind("Client banned", HIGH, CREATE, DENIED, BLOCKED),
    "client.trusted": _Kind("Client trusted", INFORMATIONAL, CLOSE, ALLOWED, RESTORED),
    "client.reinstated": _Kind("Client reinstated", INFORMATIONAL, CLOSE, ALLOWED, RESTORED),
}
OTHERS = _Kind("Operator's decision", INFORMATIONAL, UPDATE, OBSERVED, NOTED)


def detection_finding(
    event: Event, at: float, uid: str, federation: str, product_version: str
) -> dict[str, Any]:
    """The event as a Detection Finding with the security control profile; plain data.

    `at` is in seconds since 1970, `uid` unique to the event. Findings about one client share
    their `finding_info.uid`, so that what closes one finds it.

    Source: OCSF schema 1.5.0, class 2004, https://schema.ocsf.io/1.5.0/classes/detection_finding
    """
    kind = KINDS.get(event.kind, OTHERS)
    about = event.client or "round"
    finding: dict[str, Any] = {
        "activity_id": kind.activity,
        "category_uid": FINDINGS,
        "class_uid": DETECTION_FINDING,
        "type_uid": DETECTION_FINDING * 100 + kind.activity,
        "severity_id": kind.severity,
        "action_id": kind.action,
        "disposition_id": kind.disposition,
        "is_alert": kind.severity >= HIGH,
        "time": round(at * 1000),
        "message": event.message,
        "metadata": {
            "version": OCSF_VERSION,
            "profiles": ["security_control"],
            "uid": uid,
            "event_code": event.kind,
            "product": {
                "name": "fedguard",
                "vendor_name": "fedguard",
                "version": product_version,
            },
        },
        "finding_info": {
            "uid": f"{federation}/{about}",
            "title": kind.title,
            "desc": event.message,
            "analytic": {"name": "client reputation", "type_id": STATISTICAL},
        },
        "unmapped": {"round": event.round, "federation": federation, **event.data},
    }
    if event.client:
        finding["resources"] = [{"uid": event.client, "type": CLIENT, "namespace": federation}]
    return finding
