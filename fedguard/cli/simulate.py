"""`fedguard simulate`: run a scenario with a live view, write results.json and report.html."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from math import isnan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from fedguard.cli.extras import extra, find_own_code
from fedguard.errors import ConfigError

__all__ = ["changes_of", "simulate_scenario"]


def simulate_scenario(
    scenario: Annotated[
        str, typer.Argument(help="A scenario's id (see `fedguard scenarios`) or a .toml file.")
    ],
    runner: Annotated[
        str,
        typer.Option(
            help="vectorised: one process, all clients as one batch. flower: real ServerApp and "
            "ClientApps on Flower's simulation runtime with Ray."
        ),
    ] = "vectorised",
    runs: Annotated[
        str,
        typer.Option(
            help="Which trainings to make, by comma: clean, attacked, defended, peace (the "
            "defence with no attack), oracle (honest clients only)."
        ),
    ] = "clean,attacked,defended",
    dataset: Annotated[
        str | None,
        typer.Option(
            help="fashion-mnist, mnist, digits (images), satimage (a table), fortunes (texts), or "
            "auto: fashion-mnist where it is found, else digits."
        ),
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds to train.")] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of split, model, batches and attack.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other key of the scenario, as key=value; repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for results; runs/ID-seedN by default.")
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            "-s",
            help="Also write every run into this store, as a federation ID/RUN/SEED for `fedguard "
            "clients` and the like.",
        ),
    ] = None,
    serve_metrics: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            metavar="PORT",
            help="Show the runs to Prometheus at http://127.0.0.1:PORT/metrics, for Grafana's Red "
            "team dashboard; it stays up after the runs until Ctrl-C.",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show Flower's own log.")
    ] = False,
) -> None:
    """Train a federation with and without attack and defence, and show what each costs.

    Exit code 1 when the scenario's own expectations do not hold. They are checked for the data
    set used and the runs made, and not at all when other settings are changed.
    """
    with extra("simulating"):
        from fedguard_simulations import simulate as engine
        from fedguard_simulations.live import LiveView
        from fedguard_simulations.scenario import load_scenario

    find_own_code()
    logging.getLogger("flwr").setLevel(logging.INFO if verbose else logging.CRITICAL)
    changes = changes_of(settings or [], dataset=dataset, rounds=rounds, seed=seed)
    planned = load_scenario(scenario)
    if changes:
        planned = planned.evolve(**changes)
    labels = [label.strip() for label in runs.split(",") if label.strip()]
    folder = out or Path("runs") / f"{planned.id}-seed{planned.seed}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"results cannot be written to {folder}: {error}") from None
    console = Console()
    with ExitStack() as stack:
        if serve_metrics:
            store = store or stack.enter_context(TemporaryDirectory(prefix="fedguard-simulated-"))
            stack.enter_context(_shown(store, serve_metrics, console))
        with LiveView(planned, runner, console) as view:
            stores = {} if store is None else {"store_of": _stores(store, planned)}
            outcome = engine.simulate(planned, runner, labels, view.on_tick, **stores)
        held = _told(outcome, planned, changes, folder, console)
        if serve_metrics:
            console.print("the metrics stay up; Ctrl-C ends it")
            _wait()
    if not held:
        raise typer.Exit(1)


@contextmanager
def _shown(store: str, port: int, console: Console) -> Iterator[None]:
    """Serve the metrics of all runs in a store."""
    with extra("serving metrics", "server"):
        from fedguard.control.health import Health, answering, http_app
        from fedguard.telemetry.collector import StoreCollector
        from fedguard.telemetry.exposition import Metrics

    metrics = Metrics(StoreCollector(store))
    with answering(http_app(lambda: Health(True), metrics), "127.0.0.1", port):
        console.print(f"metrics at http://127.0.0.1:{port}/metrics", highlight=False)
        yield


def _wait() -> None:
    with suppress(KeyboardInterrupt):
        threading.Event().wait()


def _told(
    outcome: Any, planned: Any, changes: dict[str, Any], folder: Path, console: Console
) -> bool:
    """Write and print what came of it; whether the scenario's own expectations hold."""
    from fedguard_simulations.report import write_report

    written = write_report(outcome, folder)
    console.print(_summary(outcome))
    for path in written:
        console.print(f"written [cyan]{escape(str(path))}[/]", highlight=False, soft_wrap=True)
    if changes.keys() - {"dataset"}:
        if planned.expect:
            console.print("expectations not checked: settings were changed", highlight=False)
        return True
    return _expectations_hold(outcome, console)


def changes_of(settings: list[str], **named: Any) -> dict[str, Any]:
    """Options by name, and those written as key=value."""
    changes = {name: value for name, value in named.items() if value is not None}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting!r}: write it as key=value")
        changes[name.strip()] = value.strip()
    return changes


def _stores(where: str, scenario: Any) -> Callable[[Any], Any]:
    from fedguard.state.opening import open_store

    def store_of(run: Any) -> Any:
        name = f"{scenario.id}/{run.label}/{scenario.seed}"
        opened = open_store(where, name)
        if opened.done:
            raise ConfigError(f"the store {where} already has {name}: take another store or seed")
        return opened

    return store_of


def _summary(outcome: Any) -> Table:
    aimed = any(run.attack_success for run in outcome.runs.values())
    padding = (0, 1 if aimed else 2, 0, 0)  # 80 columns hold either
    table = Table(box=None, pad_edge=False, header_style="bold", padding=padding)
    heads = ["Run", "Accuracy", *(["Success"] if aimed else [])]
    for head in [*heads, "Precision", "Recall", "False alarms", "Seconds"]:
        table.add_column(head, justify="left" if head == "Run" else "right", no_wrap=True)
    for run in outcome.runs.values():
        found = run.detection(frozenset(outcome.malicious))
        cells = [run.title, f"{run.accuracy[-1]:.1%}"]
        if aimed:
            cells.append(f"{run.attack_success[-1]:.1%}")
        named = ["-" if isnan(rate) else f"{rate:.1%}" for rate in (found.precision, found.recall)]
        table.add_row(*cells, *named, f"{found.false_positive_rate:.2%}", f"{run.seconds:.1f}")
    return table


def _expectations_hold(outcome: Any, console: Console) -> bool:
    checked = outcome.checked()
    own = [each for each in outcome.scenario.expect if each.dataset == outcome.dataset]
    for expectation in own:
        if expectation.metric not in outcome.metrics():
            console.print(f"not measured  {escape(expectation.metric)}", highlight=False)
    for expectation, measured, holds in checked:
        mark = "[green]holds[/]" if holds else "[bold red]fails[/]"
        wanted = f"{expectation.metric} {expectation.relation} {expectation.value:g}"
        console.print(f"{mark}  {escape(wanted)}  (measured {measured:.4f})", highlight=False)
    return all(holds for _, _, holds in checked)
