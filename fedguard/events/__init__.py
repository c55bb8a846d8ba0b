"""What happened in a round, as events; OCSF and ECS are two ways to write them down."""

from __future__ import annotations

from fedguard.events.of_reports import Event, events_of

__all__ = ["Event", "events_of"]
