"""`fedguard rules`, `attacks` and `scenarios`: one line each, read off the docstrings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fedguard.cli.extras import extra
from fedguard.defence import Chain, Stage, chain, passes
from fedguard.errors import UnknownName

__all__ = ["describe", "list_attacks", "list_rules", "list_scenarios"]

LEAST_SUMMARY = 30
SPARE = ("Knows", "Budget", "Cost", "Paper")
"""Columns that a narrow terminal does without, in this order: the NAME's own page has them."""
EXAMPLES: dict[str, Any] = {"f": 1, "tau": 1.0, "max_norm": 1.0, "sigma": 1.0, "threshold": 1}
Factory = Callable[..., Any]
Name = Annotated[str | None, typer.Argument(help="Show the whole description of this one.")]


def describe(factory: Factory) -> dict[str, str]:
    """A factory's required parameters, first sentence and the labelled lines of its docstring."""
    text = inspect.getdoc(factory) or ""
    needed = [name for name, each in _parameters(factory) if each.default is each.empty]
    found = {
        "written": f"{factory.__name__}({', '.join(needed)})",
        "summary": text.split("\n\n")[0].replace("\n", " "),
    }
    for label in ("Bound", "Source", "Knows", "Budget"):
        lines = re.search(rf"^{label}: (.*(?:\n    .*)*)", text, flags=re.MULTILINE)
        if lines:
            found[label.lower()] = re.sub(r"\s+", " ", lines[1])
    found["paper"] = re.split(
        r", (?:section|algorithm|definition|equation)|(?<=\d{4}),? [(\"]", found.get("source", "")
    )[0]
    return found


def list_rules(name: Name = None) -> None:
    """Rules and pre-aggregations: how each is written, its bound, cost in passes, and paper."""
    import fedguard_strategies as rules

    factories = {each: getattr(rules, each) for each in rules.__all__}
    if name is not None:
        _show("rule", name, factories)
        return
    table = _table("Write", "What it does", "Bound", "Passes", "Paper")
    for factory in factories.values():
        told = describe(factory)
        given = {key: EXAMPLES[key] for key, _ in _parameters(factory) if key in EXAMPLES}
        cost = str(passes(chain(factory(**given))))
        _row(table, told["written"], told["summary"], told["bound"], cost, told["paper"])
    _print(table, "fedguard rules NAME shows all of one. Combine them left to right, as in")
    Console().print("chain(arc(f=4), nnm(f=4), trimmed_mean(f=4)), which costs 2 passes together.")


def list_attacks(name: Name = None) -> None:
    """Attacks: how each is written, what the attacker knows and may change, cost, and paper."""
    with extra("listing attacks"):
        from fedguard_clients import ATTACKS
        from fedguard_simulations.attacks import DISGUISES, OMNISCIENT, WHITE_BOXES, WhiteBox

    every = (*ATTACKS, *OMNISCIENT, *DISGUISES, *WHITE_BOXES)
    factories = {each.__name__: each for each in every}
    if name is not None:
        _show("attack", name, factories)
        return
    table = _table("Write", "What it does", "Knows", "Budget", "Cost", "Paper")
    for factory in factories.values():
        told = describe(factory)
        made = factory(**{key: 1 for key, _ in _parameters(factory) if key == "f"})
        if isinstance(made, (Stage, Chain)):
            cost = f"{passes(made)} pass(es)"
        elif isinstance(made, WhiteBox):
            cost = "dozens of rounds a round"
        else:
            cost = "training" if made.trains else "none"
        own = told["written"], told["summary"], told["knows"], told["budget"]
        _row(table, *own, cost, told["paper"])
    _print(table, "fedguard attacks NAME shows all of one, its parameters included.")
    Console().print("Replies that break the protocol need no training: docs/hostile.md has them.")


def list_scenarios() -> None:
    """Scenarios that ship with fedguard; simulate one by its id, or your own TOML file by path."""
    with extra("listing scenarios"):
        from fedguard_simulations.scenario import load_scenario, scenarios

    table = _table("Id", "What happens", "Defence")
    for name in scenarios():
        scenario = load_scenario(name)
        _row(table, name, scenario.summary, scenario.defence)
    _print(table, "fedguard simulate ID runs one; --set key=value changes any of its keys.")


def _parameters(factory: Factory) -> list[tuple[str, inspect.Parameter]]:
    return list(inspect.signature(factory).parameters.items())


def _show(kind: str, name: str, factories: Mapping[str, Factory]) -> None:
    if name not in factories:
        raise UnknownName(kind, name, factories)
    shown = [str(each.replace(annotation=each.empty)) for _, each in _parameters(factories[name])]
    console = Console()
    console.print(f"[bold cyan]{escape(name)}[/]({escape(', '.join(shown))})", highlight=False)
    console.print(f"\n{escape(inspect.getdoc(factories[name]) or '')}", highlight=False)


def _table(first: str, summary: str, *rest: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column(first, no_wrap=True)
    table.add_column(summary, no_wrap=True, overflow="ellipsis")
    for column in rest:
        table.add_column(column, no_wrap=True)
    return table


def _row(table: Table, first: str, *rest: str) -> None:
    table.add_row(f"[cyan]{escape(first)}[/]", *map(escape, rest))


def _print(table: Table, hint: str) -> None:
    """One line a row; a terminal that is too narrow gets fewer columns, a pipe all of them."""
    console = Console()
    widths = _widths(table)
    if console.is_terminal:
        for head in SPARE:
            if _beside_summary(widths) + LEAST_SUMMARY > console.width:
                table.columns = [each for each in table.columns if each.header != head]
                widths = _widths(table)
        widths[1] = max(LEAST_SUMMARY, min(widths[1], console.width - _beside_summary(widths)))
    for column, width in zip(table.columns, widths, strict=True):
        column.width = width
    Console(width=max(console.width, _beside_summary(widths) + widths[1])).print(table)
    console.print(f"\n{hint}", highlight=False)


def _widths(table: Table) -> list[int]:
    return [
        max(Text.from_markup(str(each)).cell_len for each in (column.header, *column.cells))
        for column in table.columns
    ]


def _beside_summary(widths: list[int]) -> int:
    """What all columns but the second take, with the space between."""
    return sum(widths) - widths[1] + 2 * len(widths)
