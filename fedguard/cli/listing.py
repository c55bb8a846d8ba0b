"""`fedguard rules`, `attacks` and `scenarios`: one line each, read off the docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fedguard.cli.extras import simulation_extra
from fedguard.defence import Chain, Stage, chain, passes

__all__ = ["describe", "list_attacks", "list_rules", "list_scenarios"]

EXAMPLES: dict[str, Any] = {"f": 1, "tau": 1.0, "max_norm": 1.0}


def describe(factory: Callable[..., Any]) -> dict[str, str]:
    """A factory's signature, first sentence and the labelled lines of its docstring."""
    text = inspect.getdoc(factory) or ""
    found = {"summary": text.split("\n\n")[0].replace("\n", " ")}
    label = ""
    for line in text.splitlines():
        head, colon, rest = line.partition(": ")
        if colon and head in ("Bound", "Source", "Knows"):
            label = head.lower()
            found[label] = rest.strip()
        elif label and line.startswith("    "):
            found[label] += f" {line.strip()}"
        else:
            label = ""
    parameters = inspect.signature(factory).parameters.values()
    shown = [
        each.name if each.default is each.empty else f"{each.name}={each.default}"
        for each in parameters
    ]
    return found | {"written": f"{factory.__name__}({', '.join(shown)})"}


def list_rules() -> None:
    """Rules and pre-aggregations: how each is written, its bound, cost in passes, and paper."""
    import fedguard_strategies as rules

    table = _table("Write", "What it does", "Bound", "Passes", "Paper")
    for name in rules.__all__:
        factory = getattr(rules, name)
        told = describe(factory)
        needed = {
            key: value
            for key, value in EXAMPLES.items()
            if key in inspect.signature(factory).parameters
        }
        cost = passes(chain(factory(**needed)))
        _row(table, told["written"], told["summary"], told["bound"], str(cost), told["source"])
    _print(table)
    Console().print(
        "Combine them left to right: [bold]chain(arc(f=4), nnm(f=4), trimmed_mean(f=4))[/]. "
        "A pass reads all updates once; consecutive stages share the passes of the chain.",
        highlight=False,
    )


def list_attacks() -> None:
    """Attacks: how each is written, what the attacker knows, and paper."""
    with simulation_extra("listing attacks"):
        from fedguard_clients import ATTACKS
        from fedguard_simulations.attacks import OMNISCIENT

    table = _table("Write", "What it does", "Runs in", "Knows", "Cost", "Paper")
    for factory in (*ATTACKS, *OMNISCIENT):
        told = describe(factory)
        omniscient = factory in OMNISCIENT
        made = factory(**({"f": 1} if omniscient else {}))
        cost = "no training" if not getattr(made, "trains", True) else "as an honest client"
        if isinstance(made, (Stage, Chain)):
            count = passes(made)
            cost = f"{count} pass{'es' if count > 1 else ''} over the updates"
        where = "the adversary" if omniscient else "the client"
        knows = told.get("knows", "its own data and the model")
        _row(table, told["written"], told["summary"], where, knows, cost, told["source"])
    _print(table)


def list_scenarios() -> None:
    """Scenarios that ship with fedguard; simulate one by its id, or your own TOML file by path."""
    with simulation_extra("listing scenarios"):
        from fedguard_simulations.scenario import load_scenario, scenarios

    table = _table("Id", "What happens", "Attack", "Defence", "Clients")
    for name in scenarios():
        scenario = load_scenario(name)
        who = f"{scenario.clients}, {scenario.malicious} malicious"
        _row(table, name, scenario.summary, scenario.attack, scenario.defence, who)
    _print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _row(table: Table, first: str, *rest: str) -> None:
    table.add_row(f"[cyan]{escape(first)}[/]", *map(escape, rest))


def _print(table: Table) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=220)  # a pipe gets whole lines
    console.print(table)
