"""`fedguard events`: what happened, for people or as JSON lines; `fedguard ship`: to a SIEM."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedguard.cli.extras import extra
from fedguard.cli.stores import DEFAULT, HERE, Federation, Files, Store, to_read

__all__ = ["list_events", "ship_events"]


class Form(StrEnum):
    """How events are written as JSON."""

    OCSF = "ocsf"
    ECS = "ecs"


class Format(StrEnum):
    """How events are written."""

    TEXT = "text"
    OCSF = Form.OCSF.value
    ECS = Form.ECS.value


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
    opened, console = to_read(store, federation, files), Console(highlight=False)
    if form is not Format.TEXT:
        from fedguard.telemetry.shipping import lines_of

        for line in lines_of(opened, after, form.value):
            typer.echo(line.text)
        return
    from fedguard.state.queries import events_since

    for row in events_since(opened, after):
        told = Text(f"{row.id:>6}  round {row.round:<5} {row.kind:18} ")
        console.print(told + Text(f"{row.client or ''}  {row.message}"), soft_wrap=True)


def ship_events(
    to: Annotated[
        str,
        typer.Argument(help="- for stdout, a file to append to, or syslog+tls://HOST[:PORT]."),
    ] = "-",
    store: Store = HERE,
    federation: Federation = DEFAULT,
    files: Files = None,
    form: Annotated[
        Form, typer.Option("--format", help="OCSF 1.5 findings, or the Elastic Common Schema.")
    ] = Form.OCSF,
    remember: Annotated[
        Path | None,
        typer.Option(help="A file for the number of the last event sent, to go on from later."),
    ] = None,
    after: Annotated[int, typer.Option(min=0, help="Only events with a higher number.")] = 0,
    authority: Annotated[
        Path | None, typer.Option(help="Who signed the receiver's certificate, in PEM.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="End when all there are were sent.")] = False,
) -> None:
    """Send events to a SIEM as they are committed, until Ctrl-C: one line of JSON each.

    Syslog is RFC 5424 over TLS, octet-counted (RFC 5425). While the receiver or the store is away
    it is tried again, and nothing is left out; with --remember that holds over restarts, too.
    """
    with extra("shipping events", "server"):
        from fedguard.telemetry.shipping import ship, sink_of

    console = Console(stderr=True, highlight=False)
    opened = to_read(store, federation, files)  # a mistyped name is told now
    with opened, sink_of(to, authority) as sink:
        ship(
            opened,
            sink,
            form.value,
            remember,
            after,
            lambda told: console.print(told, style="yellow", markup=False, soft_wrap=True),
            forever=not once,
        )
