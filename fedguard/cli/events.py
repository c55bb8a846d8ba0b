"""`fedguard events`: what happened, for people or as JSON lines for a SIEM."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedguard import __version__
from fedguard.cli.stores import DEFAULT, HERE, Federation, Files, Store, to_read
from fedguard.events import Event, detection_finding, ecs_document

__all__ = ["list_events"]


class Format(StrEnum):
    """How events are written."""

    TEXT = "text"
    OCSF = "ocsf"
    ECS = "ecs"


def list_events(
    store: Store = HERE,
    federation: Federation = DEFAULT,
    files: Files = None,
    after: Annotated[int, typer.Option(min=0, help="Only events with a higher number.")] = 0,
    form: Annotated[
        Format, typer.Option("--format", help="text, or JSON lines: OCSF 1.5 findings, ECS.")
    ] = Format.TEXT,
) -> None:
    """Rounds held, updates refused, standings changed, the operator's decisions; oldest first."""
    from fedguard.state.queries import events_since

    opened, console = to_read(store, federation, files), Console(highlight=False)
    write = {Format.OCSF: detection_finding, Format.ECS: ecs_document}.get(form)
    for row in events_since(opened, after):
        event = Event(row.round, row.kind, row.client, row.message, row.data)
        if write:
            uid = f"{federation}/{row.id}"
            typer.echo(json.dumps(write(event, row.at, uid, federation, __version__)))
        else:
            told = Text(f"{row.id:>6}  round {row.round:<5} {row.kind:18} ")
            console.print(told + Text(f"{row.client or ''}  {row.message}"), soft_wrap=True)
