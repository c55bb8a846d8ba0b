"""What happened in a round, as events; OCSF and ECS are two ways to write them down."""

from __future__ import annotations

from fedguard.events.ecs import ecs_document
from fedguard.events.ocsf import detection_finding
from fedguard.events.of_reports import Event, events_of

__all__ = ["Event", "detection_finding", "ecs_document", "events_of"]
