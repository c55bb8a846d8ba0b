"""`fedguard sweep`: a grid of scenarios, run once a cell, and the pages that show it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from fedguard.cli.extras import extra, find_own_code
from fedguard.cli.simulate import changes_of

__all__ = ["CacheFolder", "Ray", "Settings", "Which", "Workers", "run_grid"]

Which = Annotated[
    str,
    typer.Argument(
        help="A suite that ships with fedguard (smoke: under two minutes; standard: half an hour "
        "on two cores; default: auto against every attack; fractions: from one of twenty malicious "
        "to nine; sampled: half of the clients asked a round; full: everything) or a sweep of your "
        "own, a .toml file.",
        show_default=False,
    ),
]
Workers = Annotated[
    int, typer.Option(min=0, help="Cells at once; 0: one for each core, of Ray's with --ray.")
]
Ray = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Run the cells on the Ray cluster at this address (host:port, ray://host:port, or "
        "auto), whose nodes have the same fedguard and data.",
    ),
]
CacheFolder = Annotated[
    Path,
    typer.Option(
        "--cache", help="Folder with the result of every cell run before; it may be shared."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help=r"A key of \[base], or seeds=0,1,2, as key=value; repeatable."),
]


def run_grid(
    sweep: Which,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the pages; runs/NAME by default.", show_default=False),
    ] = None,
    runs: Annotated[
        bool,
        typer.Option(
            "--runs/--no-runs",
            help="Write a page for every cell's runs, too, and link to it; without: a page to "
            "commit.",
        ),
    ] = True,
    workers: Workers = 0,
    ray: Ray = None,
    cache: CacheFolder = Path("runs/cache"),
    settings: Settings = None,
) -> None:
    """Run every attack of a grid against every defence and write one page that compares them.

    A cell is run once: its result is kept in the cache by its scenario, data, code and library
    versions. A sweep that is killed goes on where it stopped and ends with the same tables.

    In the file, `base` has keys of a scenario, `grid` lists attacks, defences, partitions,
    malicious and seeds; {f} stands for the number of malicious clients. A defence is an expression
    of rules, a whole policy such as auto(f={f}), or your own code as module:callable.
    """
    with extra("a sweep"):
        from fedguard_simulations.sweeps.cache import Cache
        from fedguard_simulations.sweeps.grid import load_sweep
        from fedguard_simulations.sweeps.page import write_pages
        from fedguard_simulations.sweeps.running import run_sweep
        from fedguard_simulations.sweeps.summary import summary_of

    find_own_code()
    planned = load_sweep(sweep)
    if settings:
        planned = planned.evolve(changes_of(settings))
    kept = Cache(cache)
    found = run_sweep(planned, kept, workers, ray)
    command = ["fedguard", "sweep", sweep, *(f"--set={each}" for each in settings or ())]
    folder, summary = out or Path("runs") / planned.name, summary_of(planned, found)
    written = write_pages(summary, found, shlex.join(command), folder, kept if runs else None)
    console = Console()
    for what, group, came, asked in summary.missed():
        where = escape(f"{group.attack}, {group.setting}")
        told = f"{what} {100 * came:.3g} %, asked for {100 * asked:.3g} %: {where}"
        console.print(f"[bold red]missed[/]  {told}", highlight=False, soft_wrap=True)
    for path in written:
        console.print(f"written [cyan]{escape(str(path))}[/]", highlight=False, soft_wrap=True)
