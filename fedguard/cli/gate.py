"""`fedguard gate`: fail where a suite got worse than its baseline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fedguard.cli.extras import extra, find_own_code
from fedguard.cli.simulate import changes_of
from fedguard.cli.sweep import CacheFolder, Ray, Settings, Which, Workers

if TYPE_CHECKING:
    from fedguard_simulations.sweeps.baseline import Baseline
    from fedguard_simulations.sweeps.gate import Change, Comparison

__all__ = ["run_gate", "usual_baseline"]

WIDE = 160
"""Columns of a table that no terminal cuts off, as in the log of a CI."""


def run_gate(
    sweep: Which,
    baseline: Annotated[
        Path | None,
        typer.Option(
            help="The baseline to compare with; NAME.baseline.json by default, beside a file of "
            "yours, or here where your own defence or model is put to a shipped suite.",
            show_default=False,
        ),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Write the baseline anew instead of comparing.")
    ] = False,
    points: Annotated[
        float, typer.Option(min=0, help="Percentage points that a figure may get worse by.")
    ] = 2.0,
    defence: Annotated[
        str | None,
        typer.Option(help="Put this defence to the suite's attacks instead: your module:callable."),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Train this model instead: your module:callable.")
    ] = None,
    workers: Workers = 0,
    ray: Ray = None,
    cache: CacheFolder = Path("runs/cache"),
    settings: Settings = None,
) -> None:
    """Run a suite and fail when it got worse than a committed baseline, beyond noise.

    Compared are accuracy, attack success, and attackers and honest clients put away, cell by cell
    and seed by seed. A regression is larger than --points, and significant by a one-sided paired
    t-test over the seeds (at 5 % of all that are told), or over 10 points on two seeds. Unchanged
    code gives unchanged figures. Exit code 1 when there is a regression.

    Your own defence is a function of f that returns a defence or a policy, your own model one of
    (shape, classes) that returns a torch module; both are looked for in this folder, too.
    """
    with extra("the gate"):
        from fedguard_simulations.sweeps.baseline import baseline_of, read_baseline
        from fedguard_simulations.sweeps.cache import Cache
        from fedguard_simulations.sweeps.gate import check_baseline, compare
        from fedguard_simulations.sweeps.grid import load_sweep
        from fedguard_simulations.sweeps.running import run_sweep
        from fedguard_simulations.sweeps.summary import summary_of

    find_own_code()
    planned = load_sweep(sweep)
    changes = changes_of(settings or [], model=model)
    planned = planned.evolve(changes) if changes else planned
    planned = planned.only(defence) if defence else planned
    file = baseline or usual_baseline(sweep, own=bool(defence or model))
    known = None if update else read_baseline(file)
    if known:
        check_baseline(known, planned)
    summary = summary_of(planned, run_sweep(planned, Cache(cache), workers, ray))
    console = Console()
    console = console if console.is_terminal else Console(width=max(console.width, WIDE))
    if known is None:
        baseline_of(summary).write(file)
        console.print(f"written [cyan]{escape(str(file))}[/]", highlight=False, soft_wrap=True)
        return
    found = compare(known, summary, points)
    _tell(found, known, points, console)
    if found.regressions:
        raise typer.Exit(1)


def usual_baseline(sweep: str, own: bool) -> Path:
    """Where the baseline lies; that of a shipped suite is of fedguard's own defences."""
    from fedguard_simulations.sweeps.grid import suites, sweep_path

    path = sweep_path(sweep).with_suffix(".baseline.json")
    return Path(path.name) if own and sweep in suites() else path


def _tell(found: Comparison, known: Baseline, points: float, console: Console) -> None:
    from fedguard_simulations.sweeps.sources import environment

    for title, changes in (("Worse", found.regressions), ("Better", found.improvements)):
        if changes:
            console.print(_table(title, changes))
    for word, places in (("gone", found.gone), ("new", found.new)):
        for place in places:
            text = f"{word}, not compared: {escape(str(place))}"
            console.print(text, highlight=False, soft_wrap=True)
    for name, version in environment().items():
        if known.environment.get(name) != version:
            before = escape(str(known.environment.get(name)))
            console.print(f"the baseline was made with {name} {before}, here is {version}")
    count = len(found.regressions)
    mark = "[bold red]fails[/]" if count else "[green]holds[/]"
    console.print(
        f"{mark}  {found.compared} cells compared, {count} figure{'s' * (count != 1)} worse beyond "
        f"noise and by more than {points:g} points, {len(found.improvements)} better",
        highlight=False,
        soft_wrap=True,
    )


def _table(title: str, changes: Sequence[Change]) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    table.add_column("Figure", no_wrap=True)
    for head in ("Baseline", "Now", "Chance"):
        table.add_column(head, justify="right", no_wrap=True)
    for head in ("Attack", "Defence", "Setting"):
        table.add_column(head, overflow="fold")
    for each in changes:
        figures = (f"{each.before:.1%}", f"{each.after:.1%}", f"{each.chance:.2%}")
        place = (each.place.attack, each.place.defence, each.place.setting)
        table.add_row(each.measure, *figures, *map(escape, place))
    return table
