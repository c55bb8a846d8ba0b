"""What monitoring reads beside rounds: measurements on the model, and the server's heartbeat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite

from sqlalchemy import Connection, delete, insert

from fedguard.state.tables import heartbeats, measurements
from fedguard.state.types import Heartbeat

__all__ = ["write_heartbeat", "write_measurements"]

MOST_NAMES, LONGEST_NAME = 64, 100
"""Of measurements in one round: clients choose what they report."""


def write_measurements(
    connection: Connection, federation: int, number: int, source: str, values: Mapping[str, float]
) -> None:
    """Replace what a source measured after a round. Values that are not finite are left out."""
    own = (measurements.c.federation == federation) & (measurements.c.round == number)
    connection.execute(delete(measurements).where(own, measurements.c.source == source))
    able = {name: float(values[name]) for name in sorted(values) if len(name) <= LONGEST_NAME}
    kept = [(name, value) for name, value in able.items() if isfinite(value)][:MOST_NAMES]
    whose = {"federation": federation, "round": number, "source": source}
    if kept:
        rows = [whose | {"name": name, "value": value} for name, value in kept]
        connection.execute(insert(measurements), rows)


def write_heartbeat(connection: Connection, federation: int, at: float, beat: Heartbeat) -> None:
    """Overwrite the last one."""
    connection.execute(delete(heartbeats).where(heartbeats.c.federation == federation))
    told = asdict(beat)
    row = {"federation": federation, "at": at, "commit_seconds": told.pop("commit"), **told}
    connection.execute(insert(heartbeats).values(row))
