"""`fedguard clients`, `client` and `rounds`: what the store knows, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fedguard.cli.stores import DEFAULT, HERE, Federation, Files, Store, client_named, to_read
from fedguard.types import Standing

if TYPE_CHECKING:
    from fedguard.reputation import Override

__all__ = ["list_clients", "list_rounds", "show_client"]

BARS = "▁▂▃▄▅▆▇█"
COLOURS = {
    "trusted": "green",
    "watch": "yellow",
    "probation": "yellow",
    "quarantine": "red",
    "banned": "bold red",
}
NEWEST = 60
"""Rounds that a sparkline shows."""
MOST_FAMILIES = 3


def list_clients(
    store: Store = HERE,
    federation: Federation = DEFAULT,
    files: Files = None,
    standing: Annotated[
        Standing | None, typer.Option(help="Only clients of this standing.")
    ] = None,
) -> None:
    """Every client: standing, reputation, last scores, and why. The least reputed come first."""
    from fedguard.state.queries import clients_of, notes_of, orders_of

    opened = to_read(store, federation, files)
    orders, notes = orders_of(opened), notes_of(opened)
    heads = ("Client", "Standing", "Since", "Reputation", "Rounds", "Last scores", "Why")
    table = _table(*heads, *(["Note"] if notes else []))
    shown = [row for row in clients_of(opened) if standing in (None, row.standing)]
    for row in shown:
        why = [_order(orders[row.name])] if row.name in orders else []
        table.add_row(
            Text(row.name),
            _standing(row.standing),
            f"round {row.since}" if row.since else "start",
            f"{row.reputation:.2f}" if row.participations else "-",
            str(row.participations or "-"),
            _scores(row.scores or {}),
            Text("; ".join(filter(None, [*why, _why(row.evidence or {})]))),
            *([Text(notes.get(row.name, ""))] if notes else []),
        )
    console = Console()
    console.print(table if shown else "no such client")


def show_client(
    client: Annotated[str, typer.Argument(help="A client's name, or how it begins.")],
    store: Store = HERE,
    federation: Federation = DEFAULT,
    files: Files = None,
) -> None:
    """One client: its evidence in words, its scores over rounds, and what happened to it."""
    from fedguard.state.queries import history_of, orders_of

    opened = to_read(store, federation, files)
    row, past, told = history_of(opened, client_named(opened, client))
    console = Console(highlight=False)
    console.print(
        Text(row.name, "bold"), _standing(row.standing), f"reputation {row.reputation:.2f}"
    )
    console.print(
        f"took part in {row.participations or len(past)} rounds, from {row.first_round} to "
        f"{row.last_round}"
    )
    if row.name in (orders := orders_of(opened)):
        console.print(Text(_order(orders[row.name])))
    console.print(_words(past[-1].evidence if past else {}))
    shown = [each for each in past if each.scores][-NEWEST:]
    if shown:
        console.print(f"\nscores, rounds {shown[0].round} to {shown[-1].round}")
    for family in sorted({family for each in shown for family in each.scores}):
        values = [each.scores.get(family, 0.0) for each in shown]
        console.print(f"  {family:14}{_spark(values, 10.0)}  last {values[-1]:.1f}")
    if shown:
        weights = [each.weight or 0.0 for each in shown]
        console.print(
            f"  {'share':14}{_spark(weights, max(*weights, 1e-9))}  last {weights[-1]:.1%}"
        )
    if told:
        console.print("\nevents")
    for each in told:
        console.print(f"  round {each.round}  {each.kind}", Text(each.message), soft_wrap=True)


def list_rounds(
    store: Store = HERE,
    federation: Federation = DEFAULT,
    files: Files = None,
    last: Annotated[int, typer.Option(min=1, help="How many, from the newest.")] = 20,
) -> None:
    """The last rounds: who was admitted, who was refused, and which were held."""
    from fedguard.state.queries import rounds_of

    table = _table("Round", "Committed", "Admitted", "Refused", "Suspected", "Norm", "Held")
    for row in rounds_of(to_read(store, federation, files), last):
        at = datetime.fromtimestamp(row.committed_at, UTC).isoformat(" ", "seconds")
        counts = (str(row.admitted), str(row.refused), str(row.suspected))
        held = Text(row.held or "", "red")
        table.add_row(str(row.number), at.removesuffix("+00:00"), *counts, f"{row.norm:.3g}", held)
    Console().print(table)


def _table(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head)
    return table


def _standing(standing: str) -> Text:
    return Text(standing, COLOURS.get(standing, ""))


def _scores(scores: Mapping[str, float]) -> str:
    """The highest first."""
    ordered = sorted(scores.items(), key=lambda pair: -pair[1])
    return " ".join(f"{family[:4]} {score:.1f}" for family, score in ordered[:3])


def _order(order: Override) -> str:
    """What the operator ordered, until when, and why."""
    ends = [f"round {order.until_round}"] if order.until_round is not None else []
    if order.until_time is not None:
        at = datetime.fromtimestamp(order.until_time).astimezone()
        ends.append(at.isoformat(" ", "minutes"))
    until = f" until {' or '.join(ends)}" if ends else ""
    return f"the operator: {order.action}{until}{f' ({order.note})' if order.note else ''}"


def _why(evidence: Mapping[str, float]) -> str:
    """Families with evidence, as shares of an alarm."""
    ordered = sorted(evidence.items(), key=lambda pair: -pair[1])
    shown = [f"{family} {level:.0%}" for family, level in ordered if level >= 0.05]
    return ", ".join(shown[:MOST_FAMILIES])


def _words(evidence: Mapping[str, float]) -> str:
    """The evidence as a sentence."""
    alarms = [family for family, level in evidence.items() if level >= 1]
    some = [family for family, level in evidence.items() if 0.25 <= level < 1]
    if not alarms and not some:
        return "nothing is held against it"
    parts = []
    if alarms:
        parts.append(f"{' and '.join(sorted(alarms))} for so long that it is an alarm")
    if some:
        parts.append(f"{' and '.join(sorted(some))} more often than an honest client should")
    return f"it is strange in {'; in '.join(parts)}  ({_why(evidence)} of an alarm)"


def _spark(values: Sequence[Any], top: float) -> str:
    """Values from 0 to `top` and above as bars."""
    last = len(BARS) - 1
    return "".join(BARS[round(last * min(max(value / top, 0.0), 1.0))] for value in values)
