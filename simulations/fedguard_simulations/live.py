"""The live view of a simulation: one line per run, updated every round."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from fedguard_simulations.data import resolve_dataset
from fedguard_simulations.federation import federation_of
from fedguard_simulations.scenario import Scenario
from fedguard_simulations.simulate import Tick

__all__ = ["LiveView"]

MOST_NAMES = 8


class LiveView:
    """Shows round, accuracy, attack success and suspects; on a pipe, a line at the end of a run."""

    def __init__(self, scenario: Scenario, runner: str, console: Console) -> None:
        self._scenario, self._console = scenario, console
        self._ticks: dict[str, Tick] = {}
        self._live = Live(console=console, refresh_per_second=8, transient=True)
        data = resolve_dataset(scenario.dataset)
        if scenario.dataset == "auto" and data == "digits":
            console.print(
                "Fashion-MNIST is not here, so this runs on digits "
                "(apt-get install dataset-fashion-mnist, or set FEDGUARD_DATA).",
                highlight=False,
            )
        console.print(
            f"[bold]{scenario.id}[/]: {scenario.clients} clients on {data}, "
            f"{scenario.partition}, {scenario.rounds} rounds, runner {runner}, "
            f"seed {scenario.seed}\n"
            f"  attack   {scenario.malicious} clients with {scenario.attack}\n"
            f"  defence  {scenario.defence}",
            highlight=False,
            soft_wrap=True,
        )

    def __enter__(self) -> LiveView:
        if self._console.is_terminal:
            self._live.start()
            self._live.update("loading data, splitting it, starting …")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()

    def on_tick(self, tick: Tick) -> None:
        """Take in a round."""
        self._ticks[tick.run.label] = tick
        if self._console.is_terminal:
            self._live.update(self._table())
        elif tick.round == self._scenario.rounds:
            self._console.print(
                f"{tick.run.title}: accuracy {tick.metrics['accuracy']:.1%} "
                f"after {tick.round} rounds",
                highlight=False,
            )

    def _table(self) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
        for head, width in (("Run", 22), ("", 12), ("Round", 7), ("Accuracy", 8), ("Success", 8)):
            table.add_column(head, no_wrap=True, min_width=width)
        table.add_column("Suspected", no_wrap=True)
        for tick in self._ticks.values():
            success = tick.metrics.get("attack_success")
            table.add_row(
                tick.run.title,
                ProgressBar(self._scenario.rounds, tick.round, width=12),
                f"{tick.round}/{self._scenario.rounds}",
                f"{tick.metrics['accuracy']:.1%}",
                "-" if success is None else f"{success:.1%}",
                self._suspects(tick),
            )
        return table

    def _suspects(self, tick: Tick) -> str:
        """Names, red if truly malicious, yellow if not."""
        if tick.report is None:
            return "-"
        federation = federation_of(self._scenario)
        bad = {federation.name(client) for client in federation.malicious if tick.run.attacked}
        named = [*tick.report.suspects, *(each.client for each in tick.report.refused)]
        shown = [
            f"[{'red' if name in bad else 'yellow'}]{name.removeprefix('client-')}[/]"
            for name in named[:MOST_NAMES]
        ]
        more = len(named) - MOST_NAMES
        return " ".join([*shown, *([f"and {more} more"] if more > 0 else [])]) or "nobody"
