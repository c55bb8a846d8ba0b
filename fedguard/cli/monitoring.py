"""`fedguard grafana export` and `fedguard prometheus export`: what monitoring is set up with."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import as_file, files
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from fedguard.errors import ConfigError

__all__ = ["grafana", "prometheus", "write_monitoring"]

grafana = typer.Typer(no_args_is_help=True, help="Dashboards for Grafana.")
prometheus = typer.Typer(
    no_args_is_help=True, help="Scraping, alert rules and routes for Prometheus and Alertmanager."
)
Folder = Annotated[Path, typer.Argument(help="Where to write; files of these names are replaced.")]
RUNBOOKS = "docs/runbooks"
PROMETHEUS = "http://127.0.0.1:9090"


@grafana.callback()
def _of_grafana() -> None:
    """Makes `export` a command of its own."""


@prometheus.callback()
def _of_prometheus() -> None:
    """Makes `export` a command of its own."""


@grafana.command("export")
def export_dashboards(
    folder: Folder,
    url: Annotated[
        str, typer.Option("--prometheus", help="Where Grafana finds Prometheus.")
    ] = PROMETHEUS,
    dashboards: Annotated[
        str | None,
        typer.Option(help="Where Grafana finds them; by default where they are written."),
    ] = None,
) -> None:
    """Write five dashboards, and the provisioning files by which Grafana loads them.

    Start Grafana with GF_PATHS_PROVISIONING=FOLDER/provisioning, or import the files by hand.
    """
    where = dashboards or str((folder / "dashboards").absolute())
    _tell(_write("grafana", folder, _grafana(where, url)))


@prometheus.command("export")
def export_rules(
    folder: Folder,
    target: Annotated[str, typer.Option(help="HOST:PORT of `fedguard serve`.")] = "127.0.0.1:9100",
    alertmanager: Annotated[
        str, typer.Option(help="HOST:PORT of Alertmanager.")
    ] = "127.0.0.1:9093",
    runbooks: Annotated[
        str, typer.Option(help="URL under which whoever is on call finds the runbooks.")
    ] = RUNBOOKS,
) -> None:
    """Write prometheus.yml, the recording and alert rules, and alertmanager.yml.

    Who has a Prometheus already takes the rules, and the scrape job from prometheus.yml.
    """
    changes = _prometheus(target) | {
        "[127.0.0.1:9093]": f"[{alertmanager}]",
        f"runbook_url: {RUNBOOKS}/": f"runbook_url: {runbooks.rstrip('/')}/",
    }
    for part in ("prometheus", "alertmanager"):
        _tell(_write(part, folder, changes))


def write_monitoring(folder: Path, target: str) -> None:
    """Write all of it for a federation whose `fedguard serve` is at a target."""
    for part in ("prometheus", "alertmanager"):
        _write(part, folder, _prometheus(target))
    grafana = folder / "grafana"
    _write("grafana", grafana, _grafana(str((grafana / "dashboards").absolute()), PROMETHEUS))


def _grafana(dashboards: str, url: str) -> dict[str, str]:
    return {PROMETHEUS: url, "/etc/grafana/dashboards/fedguard": dashboards}


def _prometheus(target: str) -> dict[str, str]:
    return {"[127.0.0.1:9100]": f"[{target}]"}


def _tell(written: list[Path]) -> None:
    console = Console(highlight=False)
    for path in written:
        console.print(f"written {escape(str(path))}", soft_wrap=True)


def _write(part: str, folder: Path, changes: Mapping[str, str]) -> list[Path]:
    """Write the package's files of a part, with some words put in place of others."""
    written = []
    with as_file(files("fedguard.telemetry") / "files" / part) as own:
        for source in sorted(path for path in own.rglob("*") if path.is_file()):
            text, path = source.read_text(encoding="utf8"), folder / source.relative_to(own)
            if source.suffix == ".yml":
                for word, other in changes.items():
                    text = text.replace(word, other)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf8")
            except OSError as error:
                raise ConfigError(f"{path} cannot be written: {error}") from None
            written.append(path)
    return written
